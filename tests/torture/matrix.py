"""The fault matrix: each fault, in each of the three ways to chat, alone, with another attempt, and with a cancel."""

from __future__ import annotations

import gc
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from anthropix_actors import (
    AnthropixError,
    APIError,
    CancelledError,
    CancelToken,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatRetrying,
    Client,
    Timeout,
)

from actors import Inbox, Reader
from torture import worlds
from torture.before import before
from torture.during import during
from torture.faults import LARGE_PROMPT, LARGEST_ANSWER, LARGEST_EVENT, Case
from torture.habits import habits
from torture.truth import MESSAGE, SNAPSHOTS, TOLD
from torture.watch import KEY, Leftovers, Memory, collecting_here, everything_logged, name_of, names_the_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torture.worlds import World

SILENCE = 1.0
"""Seconds of silence that the clients put up with; long, as many cases run at once."""

SLOWEST = 60.0
"""Seconds after which a chat has hung.

Most take a hundredth of that. But eight run at once, and the servers take their time to send megabytes over TLS, or a
record for each byte, through a proxy: on a slow machine 20 s.
"""

AT_ONCE = 8

BUG = "an error of its own"
"""What the package says of an exception that it did not expect."""

MEMORY = 1 << 30
"""Bytes of memory that no fault may get beyond, servers included: what has no end would."""


@dataclass
class Outcome:
    """What came of a chat.

    Attributes:
        told: The events, as far as whoever asked is told of events.
        retries: How many times it was sent again.
        error: What it ended with, or None.
        message: The Message, if it is whole.
        ends: How many terminal messages there were, and whether the last message was one.
        seconds: How long it took.
        things: All that could give the key away.
    """

    told: list[Any] = field(default_factory=list)
    retries: int = 0
    error: AnthropixError | None = None
    message: Any = None
    ends: tuple[int, bool] = (1, True)
    seconds: float = 0.0
    things: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One chat with one fault.

    Attributes:
        case: The fault.
        way: How the chat is asked for: "call", "loop" or "actor".
        retries: How many more attempts it may make; they are answered.
        cancel: The seconds after which it is cancelled, or None.
    """

    case: Case
    way: str
    retries: int = 0
    cancel: float | None = None

    def __str__(self) -> str:
        """Name it."""
        more = f", {self.retries} more" if self.retries else ""
        cancelled = "" if self.cancel is None else f", cancelled after {self.cancel * 1000:.1f} ms"
        return f"{self.case} ({self.way}{more}{cancelled})"


def runs(seed: int, *, short: bool) -> Iterator[Run]:
    """Get what is tried. In the short form each case gets one way, and every third a cancel or another attempt."""
    dice = random.Random(seed)
    cases = [*before(), *during(), *habits()]
    for number, case in enumerate(cases):
        longest = SILENCE if case.waits else 0.02
        if short:
            if not case.waits or dice.random() < 0.3:
                moment = dice.uniform(0, longest) if number % 3 == 0 else None
                yield Run(case, dice.choice(list(WAYS)), retries=int(number % 3 == 1), cancel=moment)
            continue
        for way in WAYS:
            yield Run(case, way)
            yield Run(case, way, retries=1)
            for _ in range(2):
                yield Run(case, way, cancel=dice.uniform(0, longest))
        yield Run(case, dice.choice(list(WAYS)), retries=1, cancel=dice.uniform(0, longest + 1))


@dataclass
class Report:
    """What a matrix showed."""

    runs: int = 0
    cases: int = 0
    events: int = 0
    checks: int = 0
    cancelled: int = 0
    slowest: tuple[float, str] = (0.0, "")
    failures: list[str] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    most: int = 0


def torture(seed: int, *, short: bool = False, say: Callable[[str], object] = print) -> Report:
    """Try every fault."""
    return tortured(runs(seed, short=short), say)


def tortured(runs: Iterable[Run], say: Callable[[str], object] = print) -> Report:
    """Try these."""
    report = Report()
    with everything_logged() as logged, Memory() as memory, collecting_here():
        for phase, group in groupby(runs, lambda run: run.case.phase):
            chosen = list(group)
            leftovers = Leftovers()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for each in pool.map(tried, chosen):
                    _count(report, each)
                    gc.collect(1 if report.runs % 50 else 2)
            report.cases += len({str(run.case) for run in chosen})
            report.failures += [f"{phase}: left behind: {left}" for left in leftovers.find()]
            report.checks += 1
            say(f"  {phase}: {len(chosen)} chats, {len(report.failures)} failures so far")
        report.most = memory.most
        if memory.most > MEMORY:
            report.failures.append(f"{memory.most} bytes of memory")
        if BUG in logged.getvalue():
            report.failures.append(f"a bug was logged: {logged.getvalue().partition(BUG)[2]:.2000}")
        if KEY in logged.getvalue():
            report.failures.append("the key is in what was logged")
    return report


def alone(seed: int, cases: Iterable[Case]) -> Iterator[Tried]:
    """Try each case once, in a way that is chosen."""
    dice = random.Random(seed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(tried, [Run(case, dice.choice(list(WAYS))) for case in cases])


def _count(report: Report, tried: Tried) -> None:
    report.runs += 1
    report.events += tried.told
    report.checks += len(CHECKS)
    report.cancelled += tried.ended == CancelledError.__name__
    report.slowest = max(report.slowest, (tried.seconds, str(tried.run)))
    report.ended[tried.ended] = report.ended.get(tried.ended, 0) + 1
    report.failures += [f"{tried.run}: {text}" for text in tried.found]


@dataclass(frozen=True)
class Tried:
    """What came of a run, in short; the errors themselves would keep its requests in memory.

    Attributes:
        run: The run.
        found: What did not hold.
        ended: What it ended with.
        told: How many events were told.
        seconds: How long it took.
    """

    run: Run
    found: list[str]
    ended: str
    told: int
    seconds: float


def tried(run: Run) -> Tried:
    """Have one chat, and look at all that came of it."""
    case = run.case
    with case.world(case.script, again=bool(run.retries)) as world, _client(world, run) as client:
        start = time.monotonic()
        outcome = WAYS[run.way](client, run)
        outcome.seconds = time.monotonic() - start
        if case.besides is not None:
            _leave_out(case.besides, outcome.told)
        outcome.things.append(client)
    found = [text for check in CHECKS if (text := check(run, outcome))]
    return Tried(run, found, name_of(outcome.error), len(outcome.told), outcome.seconds)


def _leave_out(event: Any, told: list[Any]) -> None:
    """Take out what was told besides the answer's own events, which must be there if the answer got so far."""
    told[:] = [each for number, each in enumerate(told) if each != event or (number == 0 and event == TOLD[0])]


def _client(world: World, run: Run) -> Client:
    silence = SILENCE if run.case.waits else SLOWEST
    to_read_it = silence * (10 if run.case.prompt == LARGE_PROMPT else 2)
    return Client(
        KEY,
        base_url=world.url,
        verify=world.verify,
        proxy=world.proxy,
        timeout=Timeout(connect=silence, read=silence, idle=2 * silence, total=SLOWEST, first_byte=to_read_it),
        max_retries=run.retries,
        max_event_bytes=LARGEST_EVENT,
        max_answer_bytes=LARGEST_ANSWER,
    )


# The three ways


def _ask(run: Run) -> dict[str, Any]:
    prompt = "Hello" if run.case.prompt == len("Hello") else "x" * run.case.prompt
    return {"model": "claude-test", "messages": [{"role": "user", "content": prompt}]}


def _after(moment: float | None, cancel: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(moment or 0, cancel)
    if moment is not None:
        timer.start()
    return timer


def _call(client: Client, run: Run) -> Outcome:
    outcome = Outcome()
    token = CancelToken()
    timer = _after(run.cancel, token.cancel)
    try:
        outcome.message = client.chat(**_ask(run), cancel=token)
    except AnthropixError as error:
        outcome.error = error
    _joined(timer)
    outcome.things = [outcome.error, outcome.message, token]
    return outcome


def _loop(client: Client, run: Run) -> Outcome:
    outcome = Outcome()
    stream = client.chat(**_ask(run), stream=True)
    timer = _after(run.cancel, stream.chat.cancel)
    try:
        outcome.told.extend(stream)
        outcome.message = stream.message()
    except AnthropixError as error:
        outcome.error = error
    _joined(timer)
    outcome.things = [outcome.error, outcome.message, stream, stream.chat]
    return outcome


def _actor(client: Client, run: Run) -> Outcome:
    inbox = Inbox()
    reader = Reader.start(inbox)
    chat = client.chat(**_ask(run), stream=reader)
    timer = _after(run.cancel, chat.cancel)
    chat.actor_stopped.wait(SLOWEST)
    reader.stop(timeout=SLOWEST)  # it has handled all that it was told
    _joined(timer)
    messages = [inbox.next() for _ in range(inbox.queue.qsize())]
    ends = [message for message in messages if isinstance(message, (ChatDone, ChatFailed, ChatCancelled))]
    outcome = Outcome(
        told=[message.data for message in messages if isinstance(message, ChatEvent)],
        retries=sum(isinstance(message, ChatRetrying) for message in messages),
        ends=(len(ends), bool(ends) and messages[-1] is ends[-1]),
        things=[*messages, chat, reader],
    )
    match ends:
        case [ChatDone(message=message)]:
            outcome.message = message
        case [ChatFailed(error=error)]:
            outcome.error = error
        case [ChatCancelled(reason=reason, partial=partial)]:
            outcome.error = CancelledError(reason)
            outcome.error.partial = partial
    return outcome


def _joined(timer: threading.Timer) -> None:
    timer.cancel()
    if timer.ident is not None:
        timer.join()


WAYS: dict[str, Callable[[Client, Run], Outcome]] = {"call": _call, "loop": _loop, "actor": _actor}


# What must hold; each check gets what is wrong, or nothing


def _ends_once(_: Run, outcome: Outcome) -> str:
    return "" if outcome.ends == (1, True) else f"{outcome.ends[0]} ends, the last message is one: {outcome.ends[1]}"


def _in_order(run: Run, outcome: Outcome) -> str:
    """What was told is how the answer begins, without a gap."""
    if run.case.reworded:
        return ""
    return "" if outcome.told == TOLD[: len(outcome.told)] else f"told {outcome.told}"


def _as_expected(run: Run, outcome: Outcome) -> str:
    """The end is the right one, and a whole answer is the whole answer."""
    case, error = run.case, outcome.error
    if isinstance(error, CancelledError) and run.cancel is not None:
        return ""
    expected = case.ends
    saved = run.retries and case.retryable and case.world not in UNREACHABLE and _nothing_told(outcome)
    if expected is None or saved:
        return "" if error is None and outcome.message == MESSAGE else f"expected a whole answer, got {error!r}"
    if type(error) is not expected:
        return f"expected {expected.__name__}, got {error!r}"
    if isinstance(error, APIError) and error.retryable != case.retryable:
        return f"expected retryable={case.retryable} of {error!r}"
    return ""


def _nothing_told(outcome: Outcome) -> bool:
    """Whether an error, if there is one, came before the first content: then another attempt must have followed."""
    return outcome.error is None or outcome.error.partial in SNAPSHOTS[:2]


def _honest(run: Run, outcome: Outcome) -> str:
    """`partial` is a state of the true answer, and neither what was told nor what had arrived is missing from it."""
    error = outcome.error
    if error is None or run.case.reworded:
        return ""
    known = len(outcome.told)
    if not isinstance(error, CancelledError) and run.case.arrived > 1:  # a `message_start` alone is held back
        known = max(known, run.case.arrived)
    if error.partial not in SNAPSHOTS[known:]:
        return f"partial after {known} events: {error.partial}"
    if isinstance(error, APIError) and not 1 <= error.attempts <= 1 + run.retries:
        return f"{error.attempts} attempts"
    return ""


def _keeps_the_key(_: Run, outcome: Outcome) -> str:
    return "the key is in a text" if names_the_key(*outcome.things) else ""


def _in_time(_: Run, outcome: Outcome) -> str:
    return "" if outcome.seconds < SLOWEST else f"took {outcome.seconds:.1f} s"


CHECKS = (_ends_once, _in_order, _as_expected, _honest, _keeps_the_key, _in_time)
UNREACHABLE = (worlds.nameless, worlds.closed, worlds.crowded)
