"""
Runs a panel of probes on one agent: several at a time, each once, and within a spending limit.

Also defines the answer of an agent, and converts it to an event.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from monitor.clock import Clock
from monitor.errors import DependencyUnreachable, MonitorError, UsageError
from monitor.output.plain import Json, iso_time
from monitor.probes.journal import Journal
from monitor.probes.panel import PanelRequest, as_asked, request_json
from monitor.trace.decode import decode
from monitor.trace.labels import clean_label
from monitor.trace.model import PROBES_ENVIRONMENT, InvalidRecord, hash_of
from monitor.trace.outcome_policy import JUDGE
from monitor.trace.settings import Limits

_MOST_BROKEN = 5
_MOST_UNANSWERED = 5
_ROUNDING_USD = 1e-9
_COUNTS = ("passed", "failed", "unlabelled", "unanswered", "ungraded")

_USE = ("usage", "tool_calls", "steps", "budget")

_Answered = tuple[Json, float | None, str]  # event, cost in USD, and how the answer is broken (empty if it is not)


class Unanswered(DependencyUnreachable):
    """
    The agent cannot answer now, for a reason that is not a failure: the next run asks again.

    Attributes:
        cost_usd: Cost of the failed attempt, in USD; None if unknown.
        ungraded: The answer, if only its grade is missing.
    """

    cost_usd: float | None = 0.0
    ungraded: Json | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One answer of an agent or a grader.

    Attributes:
        result: The JSON object that it returned; empty if the answer is broken.
        broken: Failure class of a broken answer, such as `timeout`; empty if there is a result.
        detail: Details of a broken answer, for a person.
    """

    result: Json = field(default_factory=dict)
    broken: str = ""
    detail: str = ""

    @property
    def cost_usd(self) -> float | None:
        """Its cost in US dollars, if it reports one."""
        usage = self.result.get("usage")
        cost = _number(usage.get("cost_usd")) if isinstance(usage, dict) else None
        return cost if cost is not None and cost >= 0 else None


def question(probe: PanelRequest, model: str) -> Json:
    """The question to an agent for *probe*, without its difficulty and its expected answer."""
    features = probe.candidate.features
    request = {} if probe.request is None else request_json(probe.request)
    return {"request_id": features.item, "capability": features.capability, "model": model, "request": request}


def outcome(result: Json, success_field: str) -> Json | None:
    """
    The outcome that *result* reports in its field *success_field*; None if it reports none.

    Only true, false, 1 and 0 count; any other value means that the outcome is unknown.
    """
    success = result.get(success_field)
    if not isinstance(success, bool | int | float) or success not in {0, 1}:
        return None
    failure_class = None if success else clean_label(str(result.get("failure_class") or ""))
    details = {"failure_class": failure_class, "score": _number(result.get("score"))}
    known = {name: value for name, value in details.items() if value is not None}
    return {"success": bool(success), "source": JUDGE, **known}


def event(asked: Json, labels: Json, result: Json, label: Json | None, *, started_at: float, ended_at: float) -> Json:
    """
    The native event of one answer, without its text.

    Args:
        asked: The question.
        labels: `service` and `model_version`.
        result: The agent's result; its usage is left out if it breaks the event contract.
        label: The outcome, if it is known.
        started_at: Time of the question, Unix seconds.
        ended_at: Time of the answer, Unix seconds.

    Raises:
        UsageError: the panel's request itself breaks the contract.
    """
    required = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": hash_of(json.dumps([labels, asked["request_id"], started_at]), size=16),
        "environment": PROBES_ENVIRONMENT,
        **labels,
        **{name: asked[name] for name in ("capability", "request_id", "request")},
        "started_at": iso_time(started_at),
        "ended_at": iso_time(ended_at),
        **({} if label is None else {"outcome": label}),
    }
    for candidate in (required | {name: result[name] for name in _USE if name in result}, required):
        with suppress(InvalidRecord):
            if decode(json.dumps(candidate).encode(), Limits()).traces:
                return candidate
    raise UsageError(f"Probe {asked['request_id']} breaks the event contract; check its line in the panel.")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


Ask = Callable[[Json], Answer]
"""Returns the answer to a question; raises `Unanswered`, or another error to stop the run."""


@dataclass(slots=True)
class Progress:
    """
    Progress of a run.

    Attributes:
        probes: Number of probes in the panel.
        resumed: Probes that an earlier run answered.
        spent_usd: Cost of all runs of the file together.
        counts: Answers that passed, failed or are unlabelled; probes that got no answer; and answers that wait for a
            grade.
        failures: Failed probes by failure class.
        grade_problem: Why the last grade is missing; empty if none is.
        is_spent: Whether the rest of the limit is too small for another probe.
    """

    probes: int
    resumed: int
    spent_usd: float
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_COUNTS, 0)))
    failures: Counter[str] = field(default_factory=Counter)
    grade_problem: str = ""
    is_spent: bool = False

    @property
    def answered(self) -> int:
        """Probes with an event."""
        return self.resumed + self.counts["passed"] + self.counts["failed"] + self.counts["unlabelled"]

    def count(self, label: Json | None) -> None:
        """Count one answer with the outcome *label*."""
        self.counts["unlabelled" if label is None else "passed" if label["success"] else "failed"] += 1
        if label is not None and not label["success"]:
            self.failures[label.get("failure_class", "unknown")] += 1


@dataclass(frozen=True, slots=True)
class Limit:
    """
    A spending limit.

    Before each question, its possible cost is reserved: *each_usd*, or the highest cost so far if that is more. While
    neither is known, only one question is asked at a time.
    """

    total_usd: float | None = None
    each_usd: float = 0.0

    def reserve(self, journal: Journal) -> float:
        """Amount to reserve for the next question, US dollars."""
        return max(self.each_usd, journal.highest_usd)

    def allows(self, journal: Journal, running: int) -> bool:
        """Whether another question may be asked while *running* ones are unanswered."""
        if self.total_usd is None:
            return True
        reserved = self.reserve(journal)
        if not reserved and running:
            return False
        return journal.spent_usd + reserved * (running + 1) <= self.total_usd + _ROUNDING_USD and self.total_usd > 0


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of a panel.

    Attributes:
        ask: The agent.
        grade: The grader, which gets the question with `probe` (the panel's line) and `result`; None if the result
            itself says whether it passed.
        success_field: Field of the agent's result that says whether it passed.
        labels: `service` and `model_version` of the events.
        journal: Saves events and costs.
        clock: Gives the times of the events.
        stop: Set when the run ends, to stop the agent.
        limit: Spending limit.
        parallel: Most probes to ask at a time.
    """

    ask: Ask
    grade: Ask | None
    success_field: str
    labels: Json
    journal: Journal
    clock: Clock
    stop: Event
    limit: Limit
    parallel: int
    _unsaved: list[Json] = field(default_factory=list)

    def of(self, panel: Sequence[PanelRequest], shown: Callable[[Progress], None]) -> Progress:
        """
        Ask the probes of *panel* that have no answer yet.

        Raises:
            Unanswered: the agent cannot answer any probe now.
            MonitorError: the agent raised it; or its first answers are all broken, so the agent itself must be.
        """
        journal = self.journal
        waiting = [probe for probe in reversed(panel) if probe.candidate.features.item not in journal.answered]
        waiting.sort(key=self._is_paid)  # a stack: answers that only need a grade come first
        progress = Progress(len(panel), len(panel) - len(waiting), journal.spent_usd)
        running: dict[Future[_Answered], int] = {}
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                while progress.counts["unanswered"] < _MOST_UNANSWERED:
                    shown(progress)
                    while waiting and len(running) < self.parallel:
                        is_paid = self._is_paid(waiting[-1])
                        if not is_paid and not self.limit.allows(journal, len(running)):
                            break
                        reserved = 0.0 if is_paid else self.limit.reserve(journal)
                        number = journal.ask(reserved)  # on disk before any money is spent
                        running[pool.submit(self._answered, waiting.pop())] = number
                    if not running:
                        progress.is_spent = bool(waiting)
                        break
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        self._settle(done, running.pop(done), progress)
            finally:
                self.stop.set()
        return progress

    def _is_paid(self, probe: PanelRequest) -> bool:
        """Whether an earlier run got the answer to *probe*, so that only its grade is missing."""
        return probe.candidate.features.item in self.journal.ungraded

    def _answered(self, probe: PanelRequest) -> _Answered:
        asked = question(probe, self.labels["model_version"])
        paid = self.journal.ungraded.get(asked["request_id"])
        answer, cost_usd, times = self._asked(asked) if paid is None else (Answer(paid["result"]), 0.0, paid["times"])
        label = outcome(answer.result, self.success_field)
        if answer.broken:
            label = {"success": False, "failure_class": answer.broken, "source": JUDGE}
        elif self.grade is not None:
            try:
                label = _grade(self.grade({**asked, "probe": probe.line, "result": answer.result}))
            except Unanswered as later:  # save the agent's answer, which has been paid for
                later.cost_usd = cost_usd
                later.ungraded = {"request_id": asked["request_id"], "result": answer.result, "times": times}
                raise
        native = event(asked, self.labels, answer.result, label, **times)
        return native, cost_usd, f"{answer.broken}: {answer.detail}" if answer.broken else ""

    def _asked(self, asked: Json) -> tuple[Answer, float | None, Mapping[str, float]]:
        started_at = self.clock.time()
        answer = self.ask(asked)
        return answer, answer.cost_usd, {"started_at": started_at, "ended_at": max(self.clock.time(), started_at)}

    def _settle(self, done: Future[_Answered], number: int, progress: Progress) -> None:
        try:
            native, cost_usd, broken = done.result()
        except Unanswered as later:
            self._postpone(number, later, progress)
            return
        self._save(native, progress, broken=broken)
        if cost_usd is None and self.limit.total_usd is not None and not self.limit.reserve(self.journal):
            raise UsageError(
                "An answer does not say what it cost (usage.cost_usd), so --max-cost cannot hold: "
                "let the agent say it, or set --max-probe-cost."
            )
        self.journal.pay(number, cost_usd)
        progress.spent_usd = self.journal.spent_usd

    def _postpone(self, number: int, later: Unanswered, progress: Progress) -> None:
        """Save the cost, and an answer that waits for its grade; raise *later* if nothing gets through at all."""
        ungraded, kind = later.ungraded, "unanswered"
        if ungraded is not None:
            kind, progress.grade_problem = "ungraded", str(later)
        is_new = ungraded is None or ungraded["request_id"] not in self.journal.ungraded
        self.journal.pay(number, later.cost_usd, ungraded if is_new else None)
        progress.spent_usd = self.journal.spent_usd
        progress.counts[kind] += 1
        most = min(_MOST_UNANSWERED, progress.probes - progress.resumed)
        if is_new and progress.counts[kind] >= most and progress.answered == progress.resumed:
            raise later

    def _save(self, native: Json, progress: Progress, *, broken: str) -> None:
        """
        Save an answer; broken ones are not saved until one is whole.

        If none is, the agent itself is broken, and its failures would make every probe look hard.
        """
        self._unsaved.append(native)
        if not broken or self.journal.answered:
            for answered in self._unsaved:
                self.journal.save(answered)
                progress.count(answered.get("outcome"))
            self._unsaved.clear()
        elif len(self._unsaved) == min(_MOST_BROKEN + self.parallel, progress.probes):
            raise MonitorError(
                f"None of the first {len(self._unsaved)} answers can be used, and none was kept; the last: {broken}. "
                "Try the agent by hand, then run the same command again."
            )


def _grade(answer: Answer) -> Json | None:
    """The outcome in a grader's *answer*."""
    if answer.broken:
        raise Unanswered(f"The grader fails ({answer.broken}: {answer.detail}); try it by hand.")
    return outcome(answer.result, "success")


def rewordings(case: PanelRequest, ask: Ask, *, count: int, seed: int, lost: list[str]) -> Iterator[Json]:
    """Ask a paraphraser *count* times to reword *case*; for an answer without `text`, add the reason to *lost*."""
    document = {**case.line, **as_asked(case), "request_id": case.candidate.features.item, "seed": seed}
    for number in range(1, count + 1):
        try:
            answer = ask({**document, "variant": number})
        except Unanswered as later:
            answer = Answer(broken="later", detail=str(later))
        if isinstance(answer.result.get("text"), str):
            yield answer.result
        else:
            lost.append(f"{answer.broken or 'no_text'} ({answer.detail or 'it has no `text`'})")
