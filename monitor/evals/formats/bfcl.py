"""BFCL: a score file names only the cases that failed, so the result file beside it says which there were."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from monitor.evals.formats.reading import Options, ResultFileInvalid

_FILE_NAME = re.compile(r"^BFCL_(?:v\d+_)?(?P<category>.+)_score\.jsonl?$")


def is_scores(row: Mapping[str, Any]) -> bool:
    """Whether *row* is the first line of a score file."""
    return {"accuracy", "correct_count", "total_count"} <= set(row)


def result_files(path: PurePath) -> Sequence[PurePath]:
    """Where the result file that belongs to the score file *path* may be."""
    name = path.name.replace("_score.", "_result.")
    beside = [PurePath(*("result" if part == "score" else part for part in path.parent.parts))]
    return [folder / name for folder in (path.parent, *beside)]


def case_rows(name: str, rows: Sequence[Mapping[str, Any]], options: Options) -> Sequence[Mapping[str, Any]]:
    """
    One row per case of a score file.

    Args:
        name: The file; its name tells the category, its folder the model.
        rows: Its lines, the totals first.
        options: Which cases the result file names.

    Raises:
        ResultFileInvalid: the totals and the cases do not agree.
    """
    totals, failed = rows[0], {str(row.get("id")): row for row in rows[1:]}
    path = PurePath(name)
    told = _FILE_NAME.match(path.name)
    category = told["category"] if told else ""
    ids = list(dict.fromkeys([*options.case_ids, *failed]))
    if len(ids) != totals["total_count"]:
        raise ResultFileInvalid(
            f"{name} counts {totals['total_count']:,} cases and {len(ids):,} of them have a name; put the result file "
            f"({result_files(path)[0].name}) beside it."
        )
    model = next((str(row["model_name"]) for row in failed.values() if row.get("model_name")), path.parent.name)
    about = {"task": category, "category": category, "model": model}
    return [
        {"id": each, "passed": each not in failed, "failure": str(failed.get(each, {}).get("error") or ""), **about}
        for each in ids
    ]
