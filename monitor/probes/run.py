"""
Asks a panel of one agent: several probes at a time, each once, and never for more than was allowed.

Also what an agent answers, and the event that it becomes.
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

_Answered = tuple[Json, float | None, str]  # its event, its cost, and how it or its grade is broken


class Unanswered(DependencyUnreachable):
    """
    The agent cannot answer now, through no fault of its own: ask again with the next run.

    Attributes:
        cost_usd: What the failed attempt cost, in USD; None if unknown.
        ungraded: The answer, where only its grade is missing; None where there is none.
    """

    cost_usd: float | None = 0.0
    ungraded: Json | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One answer of an agent or a grader.

    Attributes:
        result: The JSON object that it gave; empty where it is broken.
        broken: Failure class where there is no result, such as `timeout`; empty where there is one.
        detail: What a person should know of a broken one.
    """

    result: Json = field(default_factory=dict)
    broken: str = ""
    detail: str = ""

    @property
    def cost_usd(self) -> float | None:
        """What it cost, as far as it says so."""
        usage = self.result.get("usage")
        cost = _number(usage.get("cost_usd")) if isinstance(usage, dict) else None
        return cost if cost is not None and cost >= 0 else None


def question(probe: PanelRequest, model: str) -> Json:
    """What an agent is given of *probe*: nothing that is known of its difficulty or its right answer."""
    features = probe.candidate.features
    asked = {} if probe.request is None else request_json(probe.request)
    return {"request_id": features.item, "capability": features.capability, "model": model, "request": asked}


def outcome(result: Json, success_field: str) -> Json | None:
    """
    The outcome that *result* tells in its field *success_field*; None where it does not.

    Only true, false, 1 and 0 are answers: whatever else is there is unknown, which is no success.
    """
    success = result.get(success_field)
    if not isinstance(success, bool | int | float) or success not in {0, 1}:
        return None
    failure_class = None if success else clean_label(str(result.get("failure_class") or ""))
    told = {"failure_class": failure_class, "score": _number(result.get("score"))}
    known = {name: each for name, each in told.items() if each is not None}
    return {"success": bool(success), "source": JUDGE, **known}


def event(asked: Json, labels: Json, result: Json, told: Json | None, *, started_at: float, ended_at: float) -> Json:
    """
    The native event of one answer, without its text.

    Args:
        asked: The question.
        labels: `service` and `model_version`.
        result: What was answered; what it says of its use is left out where the contract does not allow it.
        told: The outcome, if anybody knows it.
        started_at: When it was asked, Unix seconds.
        ended_at: When the answer was there, Unix seconds.

    Raises:
        UsageError: the panel's request itself breaks the contract.
    """
    needed = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": hash_of(json.dumps([labels, asked["request_id"], started_at]), size=16),
        "environment": PROBES_ENVIRONMENT,
        **labels,
        **{name: asked[name] for name in ("capability", "request_id", "request")},
        "started_at": iso_time(started_at),
        "ended_at": iso_time(ended_at),
        **({} if told is None else {"outcome": told}),
    }
    for each in (needed | {name: result[name] for name in _USE if name in result}, needed):
        with suppress(InvalidRecord):
            if decode(json.dumps(each).encode(), Limits()).traces:
                return each
    raise UsageError(f"Probe {asked['request_id']} breaks the event contract; check its line in the panel.")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


Ask = Callable[[Json], Answer]
"""Gives the answer to a question; raises `Unanswered`, or what stops the run."""


@dataclass(slots=True)
class Progress:
    """
    How far a run is.

    Attributes:
        probes: Probes of the panel.
        resumed: Those that an earlier run answered.
        spent_usd: Of all runs of the file together.
        counts: Answers that passed, failed, or are unlabelled as nobody said so; what was asked in vain; and answers
            that wait for a grade.
        failures: Failed probes by failure class.
        grade_problem: Why the last grade is missing; empty where none is.
        is_spent: Whether what is left of the limit does not pay for one more probe.
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

    def count(self, told: Json | None) -> None:
        """Add one answer."""
        self.counts["unlabelled" if told is None else "passed" if told["success"] else "failed"] += 1
        if told is not None and not told["success"]:
            self.failures[told.get("failure_class", "unknown")] += 1


@dataclass(frozen=True, slots=True)
class Limit:
    """
    A spending limit.

    Before a question is asked, what it may cost is set aside: *each_usd*, or what the dearest one so far did cost if
    that is more. While neither is known, one question is asked alone.
    """

    total_usd: float | None = None
    each_usd: float = 0.0

    def set_aside(self, journal: Journal) -> float:
        """What the next question may cost, US dollars."""
        return max(self.each_usd, journal.dearest_usd)

    def allows(self, journal: Journal, running: int) -> bool:
        """Whether one more question may be asked beside *running* others."""
        if self.total_usd is None:
            return True
        most = self.set_aside(journal)
        if not most and running:
            return False
        return journal.spent_usd + most * (running + 1) <= self.total_usd + _ROUNDING_USD and self.total_usd > 0


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of a panel.

    Attributes:
        ask: The agent.
        grade: The grader, which is given the question with `probe` (the panel's line) and `result`; None where the
            result says it itself.
        success_field: Field of the agent's result that says whether it passed.
        labels: `service` and `model_version` of the events.
        journal: Where they are kept.
        clock: What answers are dated by.
        stop: Set when the run ends, so that the agent stops too.
        limit: What it may spend.
        parallel: Probes that are asked at a time.
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
    _held: list[Json] = field(default_factory=list)

    def of(self, panel: Sequence[PanelRequest], shown: Callable[[Progress], None]) -> Progress:
        """
        Ask what is not answered yet.

        Raises:
            Unanswered: the agent cannot answer a single probe now.
            MonitorError: what the agent raised; or none of its first answers can be used, and it must be broken.
        """
        journal = self.journal
        waiting = [probe for probe in reversed(panel) if probe.candidate.features.item not in journal.answered]
        waiting.sort(key=self._is_paid)  # the last one is the next
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
                        aside = 0.0 if is_paid else self.limit.set_aside(journal)
                        number = journal.ask(aside)  # before anything is spent
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
        """Whether an earlier run has the answer to *probe*, and only its grade is missing."""
        return probe.candidate.features.item in self.journal.ungraded

    def _answered(self, probe: PanelRequest) -> _Answered:
        asked = question(probe, self.labels["model_version"])
        kept = self.journal.ungraded.get(asked["request_id"])
        answer, cost_usd, times = self._asked(asked) if kept is None else (Answer(kept["result"]), 0.0, kept["times"])
        told = outcome(answer.result, self.success_field)
        if answer.broken:
            told = {"success": False, "failure_class": answer.broken, "source": JUDGE}
        elif self.grade is not None:
            try:
                told = _grade(self.grade({**asked, "probe": probe.line, "result": answer.result}))
            except Unanswered as later:  # the agent's answer was paid for
                later.cost_usd = cost_usd
                later.ungraded = {"request_id": asked["request_id"], "result": answer.result, "times": times}
                raise
        native = event(asked, self.labels, answer.result, told, **times)
        return native, cost_usd, f"{answer.broken}: {answer.detail}" if answer.broken else ""

    def _asked(self, asked: Json) -> tuple[Answer, float | None, Mapping[str, float]]:
        started_at = self.clock.time()
        answer = self.ask(asked)
        return answer, answer.cost_usd, {"started_at": started_at, "ended_at": max(self.clock.time(), started_at)}

    def _settle(self, done: Future[_Answered], number: int, progress: Progress) -> None:
        try:
            native, cost_usd, broken = done.result()
        except Unanswered as later:
            self._put_off(number, later, progress)
            return
        self._keep(native, progress, broken=broken)
        if cost_usd is None and self.limit.total_usd is not None and not self.limit.set_aside(self.journal):
            raise UsageError(
                "An answer does not say what it cost (usage.cost_usd), so --max-cost cannot hold: "
                "let the agent say it, or set --max-probe-cost."
            )
        self.journal.pay(number, cost_usd)
        progress.spent_usd = self.journal.spent_usd

    def _put_off(self, number: int, later: Unanswered, progress: Progress) -> None:
        """Keep what was spent, and an answer that waits for its grade; raise *later* where nothing gets through."""
        kept, kind = later.ungraded, "unanswered"
        if kept is not None:
            kind, progress.grade_problem = "ungraded", str(later)
        is_new = kept is None or kept["request_id"] not in self.journal.ungraded
        self.journal.pay(number, later.cost_usd, kept if is_new else None)
        progress.spent_usd = self.journal.spent_usd
        progress.counts[kind] += 1
        most = min(_MOST_UNANSWERED, progress.probes - progress.resumed)
        if is_new and progress.counts[kind] >= most and progress.answered == progress.resumed:
            raise later

    def _keep(self, native: Json, progress: Progress, *, broken: str) -> None:
        """
        Keep an answer; broken ones wait until one is whole, since an agent that answers nothing is broken itself.

        They would teach that every probe is hard.
        """
        self._held.append(native)
        if not broken or self.journal.answered:
            for each in self._held:
                self.journal.keep(each)
                progress.count(each.get("outcome"))
            self._held.clear()
        elif len(self._held) == min(_MOST_BROKEN + self.parallel, progress.probes):
            raise MonitorError(
                f"None of the first {len(self._held)} answers can be used, and none was kept; the last: {broken}. "
                "Try the agent by hand, then run the same command again."
            )


def _grade(answer: Answer) -> Json | None:
    """The outcome that a grader's *answer* tells."""
    if answer.broken:
        raise Unanswered(f"The grader fails ({answer.broken}: {answer.detail}); try it by hand.")
    return outcome(answer.result, "success")


def rewordings(case: PanelRequest, ask: Ask, *, count: int, seed: int, lost: list[str]) -> Iterator[Json]:
    """What a paraphraser makes of *case*, asked *count* times; why an answer has no `text` is added to *lost*."""
    told = {**case.line, **as_asked(case), "request_id": case.candidate.features.item, "seed": seed}
    for number in range(1, count + 1):
        try:
            answer = ask({**told, "variant": number})
        except Unanswered as later:
            answer = Answer(broken="later", detail=str(later))
        if isinstance(answer.result.get("text"), str):
            yield answer.result
        else:
            lost.append(f"{answer.broken or 'no_text'} ({answer.detail or 'it has no `text`'})")
