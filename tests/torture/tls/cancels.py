"""How soon a cancel ends a chat, in each phase of an encrypted connection; one at a time, as it is measured."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from anthropix_actors import AnthropixError, CancelledError, CancelToken, Client, Timeout

from actors import ASK, Inbox
from records import Keys12, Keys13
from servers import DEADLINE, PING, Peer, acquire, chunk, head, sse, wait
from torture.during import POINTS
from torture.faults import LARGE_PROMPT, forever, reads, stall, wait_unread
from torture.tls.handshake import PHASES, flight, serving
from torture.tls.stream import end_of
from torture.tls.wire import ROUTES, VERSIONS, Bare, Wire
from torture.truth import WHOLE
from torture.watch import KEY, Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torture.worlds import Script

    Then = Callable[[Script], Script]
    """Makes a script that gets somewhere, and then runs another."""

LIMIT = 0.05
"""Seconds within which a cancelled chat has ended."""

TRIES = 3
"""How often one that was late is tried in all: others use this machine, too."""

BEGUN = (head(), chunk(WHOLE[: POINTS["after text_delta"]]))


@dataclass(frozen=True)
class Moment:
    """When a chat is cancelled.

    Attributes:
        phase: Its name.
        world: Where the script runs.
        gets_there: Makes the script.
        after: What the server does from then on.
        prompt: How many characters the request has.
    """

    phase: str
    world: Wire | Bare
    gets_there: Then
    after: Script = stall
    prompt: int = 5


def moments() -> Iterator[Moment]:
    for version, route in product(VERSIONS, ROUTES):
        wire = Wire(version, route=route)
        for phase, part in PHASES.items():
            yield Moment(f"{phase} of TLS {version}", Bare(route), partial(flight, partial(serving, version), part))
        yield Moment("before the answer", wire, _answers())
        yield Moment("in the head", wire, _answers(head()[:40]))
        yield Moment("in the answer", wire, _answers(*BEGUN))
        for where, size in (("in a record's head", 3), ("in a record", 30)):
            yield Moment(where, wire, _answers(*BEGUN, torn=size))
        ping = chunk(sse(PING))
        yield Moment("in a flood of small records", wire, _answers(*BEGUN), forever(ping))
        yield Moment("in a flood of full records", wire, _answers(*BEGUN), forever(ping * 500))
        yield Moment("new keys", wire, _answers(*BEGUN), _news)
        yield Moment("sending", wire, partial(reads, LARGE_PROMPT // 4), wait_unread, LARGE_PROMPT)


def _answers(*pieces: bytes, torn: int = 0) -> Then:
    def gets_there(then: Script) -> Script:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(*pieces)
            if torn:
                end = end_of(peer)
                end.put(end.keys.record(chunk(WHOLE))[:torn])
            then(peer)

        return script

    return gets_there


def _news(peer: Peer) -> None:
    """Ask for what the client must answer, and read none of its answers."""
    end = end_of(peer)
    if isinstance(end.keys, Keys12):
        end.put(end.keys.ask_anew())
        wait_unread(peer)
    while isinstance(end.keys, Keys13):
        end.put(b"".join(end.keys.update(asked=True) for _ in range(50)))


@dataclass
class Report:
    """What the cancels showed.

    Attributes:
        cases: How many there were.
        again: How many were tried again.
        worst: The longest that counts, in seconds, and which it was.
        failures: What did not hold.
    """

    cases: int = 0
    again: int = 0
    worst: tuple[float, str] = (0.0, "")
    failures: list[str] = field(default_factory=list)


def torture(*, short: bool = False) -> Report:
    """Cancel in each phase, in each way to chat; in the short form, in one way."""
    report = Report()
    leftovers = Leftovers()
    for number, moment in enumerate(moments()):
        names = list(WAYS)
        for name in [names[number % len(names)]] if short else names:
            case = f"cancelled {moment.phase}, {moment.world} ({name})"
            tries = [cancelled(moment, WAYS[name])]
            while tries[-1][0] > LIMIT and len(tries) < TRIES:
                tries.append(cancelled(moment, WAYS[name]))
            seconds, found = tries[-1]
            report.cases += 1
            report.again += len(tries) - 1
            report.worst = max(report.worst, (seconds, case))
            report.failures += [f"{case}: {found}"] if found else []
            report.failures += [f"{case}: {seconds * 1000:.0f} ms"] if seconds > LIMIT else []
    report.failures += [f"left behind: {left}" for left in leftovers.find()]
    return report


def cancelled(moment: Moment, way: Callable[[Client, Any, Callable[[], None]], tuple[float, Any]]) -> tuple[float, str]:
    """Cancel a chat; get how long that took, and what is wrong, if anything."""
    there = threading.Semaphore(0)

    def after(peer: Peer) -> None:
        there.release()
        moment.after(peer)

    never = Timeout(connect=60, read=60, idle=60, first_byte=60)
    ask = (
        ASK
        if moment.prompt == len("Hello")
        else {**ASK, "messages": [{"role": "user", "content": "x" * moment.prompt}]}
    )
    with (
        moment.world(moment.gets_there(after), again=False) as world,
        Client(KEY, base_url=world.url, verify=world.verify, proxy=world.proxy, timeout=never, max_retries=0) as client,
    ):
        seconds, ended = way(client, ask, partial(acquire, there))
    return seconds, "" if isinstance(ended, CancelledError) else f"ended with {ended!r}"


def _call(client: Client, ask: Any, until_there: Callable[[], None]) -> tuple[float, Any]:
    token = CancelToken()
    return _timed(partial(client.chat, **ask, cancel=token), until_there, token.cancel)


def _loop(client: Client, ask: Any, until_there: Callable[[], None]) -> tuple[float, Any]:
    stream = client.chat(**ask, stream=True)
    return _timed(partial(list[Any], stream), until_there, stream.chat.cancel)


def _actor(client: Client, ask: Any, until_there: Callable[[], None]) -> tuple[float, Any]:
    chat = client.chat(**ask, stream=Inbox())

    def stopped() -> Any:
        wait(chat.actor_stopped)
        return chat.result(0)

    return _timed(stopped, until_there, chat.cancel)


WAYS = {"call": _call, "loop": _loop, "actor": _actor}


def _timed(chat: Callable[[], Any], until_there: Callable[[], None], cancel: Callable[[], object]) -> tuple[float, Any]:
    """Chat on another thread, and cancel; get how long its end took, and what it was."""
    ended: list[Any] = []

    def chatting() -> None:
        try:
            ended.append(chat())
        except AnthropixError as error:
            ended.append(error)

    thread = threading.Thread(target=chatting, name="torture-cancelled")
    thread.start()
    until_there()
    start = time.monotonic()
    cancel()
    thread.join(DEADLINE)
    return time.monotonic() - start, ended[0] if ended else None
