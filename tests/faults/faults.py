"""A plan of faults over the length of a stream, and the hands that carry it out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from random import Random
from typing import Any

from tests.faults.events import OUTCOMES, TRACES
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, wait_until

_RECOVERY_SECONDS = 300.0
_LEAVE_SECONDS = 60.0


class Fault(StrEnum):
    """What goes wrong."""

    KILL = "replica killed"
    PAUSE = "replica stopped past its session timeout"
    BROKER = "broker restarted"
    DATABASE = "database restarted"
    JOIN = "replica joined"
    LEAVE = "replica left"


@dataclass(frozen=True)
class Plan:
    """How many of each, over how many events; the same seed gives the same plan."""

    seed: int
    events: int
    replicas: int
    faults: Mapping[Fault, int]

    @classmethod
    def from_environment(cls, *, replicas: int, faults: Mapping[Fault, int], events: int) -> Plan:
        """The plan as given, unless CLIFFWATCH_FAULTS_* asks for another size, pace or seed."""
        names = {Fault.KILL: "KILLS", Fault.PAUSE: "PAUSES", Fault.BROKER: "BROKER_RESTARTS"}
        names |= {Fault.DATABASE: "DATABASE_RESTARTS", Fault.JOIN: "JOINS", Fault.LEAVE: "LEAVES"}
        return cls(
            seed=_number("SEED", Random().randrange(10**6)),
            events=_number("EVENTS", events),
            replicas=replicas,
            faults={fault: _number(names[fault], default) for fault, default in faults.items()},
        )

    def moments(self) -> Sequence[tuple[float, Fault]]:
        """At which share of the stream each fault comes, in order; all of them before its end."""
        dice = Random(self.seed)
        faults = [fault for fault, times in sorted(self.faults.items()) for _ in range(times)]
        moments = sorted((dice.uniform(0.01, 0.97), fault) for fault in faults)
        # Joins and leaves in turn, so that there is always room for one more.
        turns = cycle((Fault.JOIN, Fault.LEAVE)) if self.faults.get(Fault.JOIN) else cycle((Fault.LEAVE,))
        return [(share, next(turns) if fault in {Fault.JOIN, Fault.LEAVE} else fault) for share, fault in moments]


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"CLIFFWATCH_FAULTS_{name}", default))


def replica_settings(kafka: KafkaServer, url: str | None, *, quiet_seconds: float) -> dict[str, dict[str, Any]]:
    """Sections of a replica's config: quick to notice what is lost, patient with spans."""
    return {
        "kafka": {
            "bootstrap_servers": kafka.bootstrap_servers,
            "topics": [TRACES, OUTCOMES],
            "group_id": "faults",
            "session_timeout_seconds": 6.0,
            "request_timeout_seconds": 5.0,
        },
        "service": {
            "poll_timeout_seconds": 0.2,
            "snapshot_interval_seconds": 1.0,
            "review_interval_seconds": 10.0,
            "max_retry_seconds": 2.0,
        },
        "traces": {"assembly": {"quiet_seconds": quiet_seconds, "idle_seconds": 1e6, "max_age_seconds": 1e7}},
    } | ({} if url is None else {"ledger": {"url": url}})


@dataclass
class Replicas:
    """
    Replicas that are kept running, as an orchestrator does, and one more place for those that join and leave.

    Attributes:
        places: Every replica that may run; the first *least* do, unless a fault has just hit them.
        least: How many have to run.
    """

    places: Sequence[MonitorProcess]
    least: int
    dice: Random
    exit_codes: Counter[int] = field(default_factory=Counter)

    def running(self) -> Sequence[MonitorProcess]:
        """Those that have a process now; one that ended by itself is started again, and its exit code kept."""
        for place in self.places:
            if place.process is not None and (code := place.process.poll()) is not None:
                self.exit_codes[code] += 1
                place.process = None
                place.start(wait=False)
        return [place for place in self.places if place.process is not None]

    def kill(self) -> None:
        """End one at any moment, and start it again."""
        victim = self.dice.choice(self.running())
        victim.kill()
        victim.start(wait=False)

    def join(self) -> None:
        """Start one more, or the least needed again."""
        idle = [place for place in self.places if place.process is None]
        self.dice.choice(idle).start(wait=False)

    def leave(self) -> None:
        """Ask one to end, and wait until it has."""
        # One that is still starting has nothing to leave.
        ready = wait_until(lambda: [place for place in self.running() if place.is_ready()], 120, "a replica is ready")
        leaver = self.dice.choice(ready)
        process = leaver.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        self.exit_codes[process.wait(_LEAVE_SECONDS)] += 1
        leaver.process = None
        if len(self.running()) < self.least:
            leaver.start(wait=False)

    def pause(self, seconds: float) -> threading.Thread:
        """Let one stand still for *seconds* while the others go on; the thread that wakes it."""
        process = self.dice.choice(self.running()).process
        assert process is not None
        os.killpg(process.pid, signal.SIGSTOP)

        def wake() -> None:
            time.sleep(seconds)
            with suppress(ProcessLookupError):  # killed meanwhile
                os.killpg(process.pid, signal.SIGCONT)

        waker = threading.Thread(target=wake, daemon=True)
        waker.start()
        return waker


@dataclass
class Chaos:
    """
    Carries out a plan while a stream is read.

    Attributes:
        plan: What, and at which share of the stream.
        progress: Share of the stream that is recorded; None while the ledger cannot be asked.
        broker_lock: Held while the broker is away, so that nothing is produced meanwhile.
        done: What was really done.
    """

    plan: Plan
    replicas: Replicas
    kafka: KafkaServer
    postgres: PostgresServer | None
    progress: Callable[[], float | None]
    broker_lock: threading.Lock
    done: Counter[Fault] = field(default_factory=Counter)

    def run(self) -> None:
        """Every fault of the plan in its order, each when its share of the stream is recorded."""
        dice = Random(self.plan.seed + 1)
        wakers = []
        for share, fault in self.plan.moments():
            self._wait_for(share)
            time.sleep(dice.random() * 0.3)  # not always right after a commit
            if fault is Fault.PAUSE:
                wakers.append(self.replicas.pause(8.0))
            else:
                self._do(fault, dice)
            self.done[fault] += 1
        for waker in wakers:
            waker.join()

    def _wait_for(self, share: float) -> None:
        def is_there() -> bool:
            self.replicas.running()
            return (self.progress() or 0.0) >= share

        wait_until(is_there, _RECOVERY_SECONDS, f"{share:.1%} of the stream is recorded", interval_seconds=0.05)

    def _do(self, fault: Fault, dice: Random) -> None:
        match fault:
            case Fault.KILL:
                self.replicas.kill()
            case Fault.JOIN:
                self.replicas.join()
            case Fault.LEAVE:
                self.replicas.leave()
            case Fault.BROKER:
                with self.broker_lock:
                    _bounce(self.kafka, dice)
            case Fault.DATABASE if self.postgres is not None:
                _bounce(self.postgres, dice)


def _bounce(server: KafkaServer | PostgresServer, dice: Random) -> None:
    """In good order, or at once as by a power cut; away for up to two seconds."""
    if dice.random() < 0.5:
        server.kill()
    else:
        server.stop()
    time.sleep(dice.random() * 2.0)
    server.start()


def slices(lines: Iterator[Any], size: int) -> Iterator[Sequence[Any]]:
    """*lines* in pieces of *size*."""
    piece = []
    for line in lines:
        piece.append(line)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece
