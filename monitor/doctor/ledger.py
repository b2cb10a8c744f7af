"""Checks of the ledger, and of the labels, versions and tiers in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitor.difficulty.trust import TierPromise, Trust
from monitor.doctor.finding import Check, Finding
from monitor.labels.delay import slowest
from monitor.ledger.inspection import LabelFlow, LedgerFacts, TierCoverage
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import VersionActivity, is_floating_alias
from monitor.rollout.wording import delay_words, duration
from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.model import REFERENCE_ENVIRONMENT

_GIGABYTE = 1e9
_SKEW_SECONDS = 5.0
_LOW_COVERAGE = 0.2
_MANY_ORPHANS = 0.05
_STALE_GROWTH = 1.5
_DELAYS_SHOWN = 4
_LEAST_AGREEMENT = 0.7


def judge_ledger(facts: LedgerFacts) -> Iterator[Finding]:
    """Schema, write access, free space and clock."""
    schema, writing, room, clock = (Check("ledger", name) for name in ("schema", "writing", "room", "clock"))
    if facts.schema.found is None:
        yield schema.ok("The database is empty; `cliffwatch run` creates the tables.")
    elif facts.schema.is_current:
        yield schema.ok(f"The tables are those of this version ({facts.schema.found}).")
    else:
        yield schema.warning(
            f"The tables are of revision {facts.schema.found}, this version works with {facts.schema.wanted}.",
            "`cliffwatch run` updates older ones; newer ones need the version that created them.",
        )
    refused = writing.problem(f"It cannot be written: {facts.write_problem}.", "Allow its user to write.")
    yield refused if facts.write_problem else writing.ok("It can be written.")
    if facts.free_bytes is not None:
        free = f"{facts.free_bytes / _GIGABYTE:.1f} GB are free on its disk."
        report = room.problem if facts.free_bytes < _GIGABYTE / 10 else room.warning
        yield room.ok(free) if facts.free_bytes >= _GIGABYTE else report(free, "Make room, or move it.")
    if facts.clock_skew_seconds is not None:
        skew = abs(facts.clock_skew_seconds)
        sentence = f"The database's clock is {duration(skew)} from ours."
        yield clock.ok_if(skew <= _SKEW_SECONDS, sentence, "Set both by NTP.")


def judge_labels(labels: LabelFlow, policy: Policy) -> Iterator[Finding]:
    """Share of requests with an outcome, sources and delay of outcomes, and outcomes without a trace."""
    coverage = Check("labels", "coverage")
    if not labels.requests:
        yield coverage.problem("No request was counted yet.", "Start `cliffwatch run`, or wait for traffic.")
        return
    share = labels.labelled / labels.requests
    sentence = f"{share:.0%} of {labels.requests:,} requests have an outcome"
    if labels.sources:
        sentence += " (" + ", ".join(f"{name} {count:,}" for name, count in sorted(labels.sources.items())) + ")"
    if not labels.labelled:
        yield coverage.problem(f"{sentence}.", "Send outcomes (docs/traces.md); without them there is no verdict.")
    elif share < _LOW_COVERAGE:
        yield coverage.warning(f"{sentence}.", "Let a judge look at more of the traffic.")
    elif set(labels.sources) == {"status"}:
        yield coverage.warning(
            f"{sentence}: nothing but the end of each run.",
            "Every silent failure counts as a success; send evaluations or outcomes.",
        )
    else:
        yield coverage.ok(f"{sentence}.")
    yield from _delays(labels, policy)
    orphans = f"{labels.without_trace:,} outcomes name a trace that never came."
    are_few = labels.without_trace <= _MANY_ORPHANS * max(1, labels.labelled)
    advice = "Check that traces and outcomes share their trace ids and topics."
    yield Check("labels", "orphans").ok_if(are_few, orphans, advice)


def _delays(labels: LabelFlow, policy: Policy) -> Iterator[Finding]:
    for service, delays in labels.delays.items():
        latest = slowest(delays)
        if latest is None:
            continue
        longest = [delay_words(delay) for delay in sorted(delays, key=lambda delay: -delay.seconds)[:_DELAYS_SHOWN]]
        judged_after = policy.judged_after(latest)
        sentence = f"{service}: {'; '.join(longest)}. Requests are judged after {duration(judged_after)}."
        advice = "Raise rollout.maturity_seconds above it, or leave it at null."
        yield Check("labels", "delay").ok_if(latest.seconds <= judged_after, sentence, advice)


def judge_versions(activity: Sequence[VersionActivity]) -> Iterator[Finding]:
    """Whether versions are pinned."""
    names = {version.model_version for version in activity if version.environment != REFERENCE_ENVIRONMENT}
    floating, aliases = sorted(filter(is_floating_alias, names)), Check("versions", "aliases")
    if floating:
        yield aliases.warning(
            f"Traffic is counted under {', '.join(floating)}, which may mean another model tomorrow.",
            "Pin the version in the request, or let the response's model be recorded.",
        )
    elif names:
        yield aliases.ok(f"Versions that serve: {len(names)}, all pinned.")


def judge_promises(promises: Sequence[TierPromise]) -> Iterator[Finding]:
    """Whether the reference version's failure rate in each tier lies in the range of that tier."""
    broken, check = [promise for promise in promises if promise.is_kept is False], Check("tiers", "promise")
    for promise in broken:
        yield check.warning(
            f"The reference version fails {promise.failures} of {promise.requests} requests tagged {promise.tier}; "
            f"the tier promises {promise.least:.0%} to {promise.most:.0%}.",
            "Replay the probe panel on more models like those in use, then `cliffwatch calibrate`.",
        )
    if promises and not broken:
        yield check.ok("The reference version fails as often in each tier as the tier promises.")


def judge_services(services: Sequence[TierCoverage], *, min_class_labels: int, has_learnt: bool) -> Iterator[Finding]:
    """The verdicts that each service gets today, and the cheapest way to more detailed ones."""
    for service in services:
        labelled, classes = sum(service.labels.values()), service.labels.keys() - {UNCLASSIFIED}
        share = labelled / max(1, service.requests)
        sentence = f"{service.service}: {service.requests:,} requests, {share:.0%} with an outcome"
        check = Check("services", service.service)
        if not labelled:
            yield check.problem(f"{sentence}.", "Send outcomes (docs/traces.md): without them there is no verdict.")
            continue
        kinds = {
            "declared": service.declared > 0,
            "by class": any(service.labels[name] >= min_class_labels for name in classes),
            "learnt": has_learnt and service.known > 0,
        }
        tiers = [name for name, is_available in kinds.items() if is_available]
        verdicts = ["all requests", *([f"{len(classes)} classes"] if classes else ())]
        verdicts += [f"tiers {' and '.join(tiers)}"] if tiers else []
        sentence += f". Verdicts today: {', '.join(verdicts)}."
        wait = f"Wait for {min_class_labels} outcomes in a class (no work, no cost): tiers by class follow."
        send = "Send a `capability` with each trace (one line of code): a verdict then names the class."
        yield check.ok_if(bool(tiers), sentence, wait if classes else send)


def judge_coverage(services: Sequence[TierCoverage]) -> Iterator[Finding]:
    """Whether declared tiers cover all requests of a service, and how often they agree with learnt ones."""
    for of in services:
        if not of.declared:
            continue
        sentence = f"{of.service}: {of.declared / of.requests:.0%} of the requests have a declared tier"
        if of.both:
            sentence += f"; {of.agreeing / of.both:.0%} of {of.both:,} with a learnt tier too agree on hard or easier"
        is_fine = of.declared >= of.requests and of.agreeing >= _LEAST_AGREEMENT * of.both
        advice = "Let the last rule of traces.tiers match all requests, and check those whose tiers differ."
        yield Check("tiers", "declared").ok_if(is_fine, f"{sentence}.", advice)


def judge_tiers(trust: Trust | None, *, reference_versions: int, labels: tuple[int, int] = (0, 0)) -> Iterator[Finding]:
    """
    Whether tiers are available, and what is missing if not.

    Args:
        trust: Trust of the calibration in force; None if there is none.
        reference_versions: Number of model versions in the reference history.
        labels: Number of labels in the history when the calibration was frozen, and now.
    """
    frozen, now = labels
    tiers, history, hard_rate = (Check("tiers", name) for name in ("calibration", "history", "hard rate"))
    if trust is not None and now > _STALE_GROWTH * frozen:
        yield history.warning(
            f"The calibration in force learnt from {frozen:,} labels; by now the history holds {now:,}.",
            "Run `cliffwatch calibrate`, and promote what it freezes (`cliffwatch calibrations promote --force ID`).",
        )
    if trust is None:
        yield tiers.warning(
            f"No tiers are learnt: the history has {reference_versions} versions. Verdicts do without them.",
            "Run 300 requests on a dozen cheap models (some hours, a few dollars), then `cliffwatch calibrate`.",
        )
    elif not trust.is_trusted:
        yield tiers.warning(
            f"Learnt tiers are not trusted, and verdicts do without them: {' '.join(trust.reasons)}",
            "Replay the probe panel on more models (some hours, a few dollars), then `cliffwatch calibrate`.",
        )
    else:
        auc = "" if trust.auc is None else f", AUC {trust.auc:.2f}"
        yield tiers.ok(f"Tiers are trusted: {trust.versions} versions of history{auc}.")
        if trust.hard_rate_reasons:
            yield hard_rate.warning(
                f"The hard tier's own rate is not trusted: {' '.join(trust.hard_rate_reasons)}",
                "Replay the probe panel on more models, and on more of the traffic.",
            )
