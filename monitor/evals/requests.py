"""A case as the request that it is: what difficulty is told from, and what the ledger and a probe panel know it by."""

from __future__ import annotations

from monitor.evals.cases import CaseKey
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.labels import clean_label
from monitor.trace.model import Request


def request_of(key: CaseKey, capability: str, text: str | None) -> Request:
    """
    The request that a case asks, the same whichever tool ran it.

    Metadata is left out: nobody can tell what was known before the model answered from what was measured afterwards.
    """
    return Request(capability=clean_label(capability) or UNCLASSIFIED, request_id=str(key), text=text)
