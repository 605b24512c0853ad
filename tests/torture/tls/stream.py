"""Faults of TLS in the middle of an answer, and after it; and what only looks like one."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors import APIConnectionError, APITimeoutError, StalledError, TruncatedError

from records import ALERT, CLOSE_NOTIFY, FATAL, HANDSHAKE, LARGEST, WARNING, Encrypted, Keys12, Keys13
from servers import Peer, chunk, head, sse
from torture import worlds
from torture.before import heads, sending, statuses
from torture.during import POINTS, SAMPLE, during
from torture.faults import AGAIN, NEVER, Case, close, reset, stall
from torture.habits import habits
from torture.tls.wire import VERSIONS, Wire
from torture.truth import EVENTS, TOLD, WHOLE, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors import APIError

    from torture.worlds import Script

    Says: TypeAlias = Callable[[Encrypted], bytes]

INTERNAL_ERROR, USER_CANCELED = 80, 90

LAST_CHUNK = b"0\r\n\r\n"
NEWS = {"type": "news", "text": "x" * (2 * LARGEST)}
"""More than fits into one record."""

NEXT = chunk(wire(EVENTS[-2]))
"""What might come."""

DIGEST = b"\x14\0\0\x20" + bytes(32)
"""A Finished, which belongs to a handshake, and is wrong."""


def answers() -> Iterator[Case]:
    """Get all that goes wrong in the answer, and not in TLS: over TLS it must end the same."""
    for case in (*sending(), *heads(), *statuses(), *during(), *habits()):
        if case.world is worlds.plain:
            yield case


def records() -> Iterator[Case]:
    """Get what goes wrong in TLS, at a point of an answer; and what belongs to TLS, and may come anywhere."""
    for version in VERSIONS:
        for point in SAMPLE:
            for fault, ends, script in (*_ends(), *_spoilt(), *_torn()):
                yield _case(version, point, fault, ends, script)
            for fault, script in _harmless(version, point):
                yield _case(version, point, fault, None, script)
        yield from _endless(version)
    yield _large()


def _ends() -> Iterator[tuple[str, type[APIError], Script]]:
    """The connection ends, in TLS or below it."""
    yield "a close_notify, then the end", TruncatedError, _puts(_farewell)
    yield "a close_notify, then a reset", TruncatedError, _puts(_farewell, then=reset)
    yield "a close_notify, then silence", TruncatedError, _puts(_farewell, then=stall)
    yield "a close_notify, then more", TruncatedError, _puts(_farewell, _data(chunk(WHOLE)), then=stall)
    yield "an end without a close_notify", TruncatedError, close
    yield "a reset", APIConnectionError, reset
    for then in (close, reset, stall):
        yield f"a fatal alert, then {then.__name__}", APIConnectionError, _puts(_alert, then=then)


def _spoilt() -> Iterator[tuple[str, type[APIError], Script]]:
    """What is between two records, or in one, is not what it should be."""
    spoilt: tuple[tuple[str, Says], ...] = (
        ("garbage", lambda _: b"\x00\xff" * 100),
        ("plain HTTP", lambda _: head() + chunk(WHOLE)),
        ("a record that was changed", lambda end: _changed(end.keys.record(NEXT))),
        ("a record whose length was changed", lambda end: _longer(end.keys.record(NEXT))),
        ("a record that is sent twice", lambda end: end.keys.record(b"") * 2),
        ("a record that was left out", lambda end: (end.keys.record(b""), end.keys.record(b""))[1]),
        ("a record that is too long", lambda end: end.keys.record(bytes(LARGEST + 1))),
        ("a length that is too long", lambda _: b"\x17\x03\x03\xff\xff"),
        ("a record of no known kind", lambda end: end.keys.record(b"x", 99)),
        ("a Finished out of place", lambda end: end.keys.record(DIGEST, HANDSHAKE)),
        ("an alert that is none", lambda end: end.keys.record(b"\x09", ALERT)),
    )
    for fault, says in spoilt:
        yield fault, APIConnectionError, _puts(says, then=stall)


def _torn() -> Iterator[tuple[str, type[APIError], Script]]:
    """A record is not whole."""
    ends: tuple[tuple[Script, type[APIError]], ...] = (
        (close, TruncatedError),
        (reset, APIConnectionError),
        (stall, APITimeoutError),
    )
    for then, kind in ends:
        for where, size in (("in a record's head", 3), ("after a record's head", 5), ("in a record", 30)):
            yield f"{then.__name__} {where}", kind, _puts(_torn_after(size), then=then)


def _harmless(version: str, point: str) -> Iterator[tuple[str, Script]]:
    """The answer goes on after it, and is whole."""
    rest = chunk(WHOLE[POINTS[point] :]) + LAST_CHUNK if point != "after message_stop" else LAST_CHUNK
    for name, says in (*HARMLESS["both"], *HARMLESS[version]):
        yield f"{name}, and on it goes", _puts(says, then=_sends(rest))
        yield f"{name}, in one packet with the rest", _puts(says, _data(rest), then=stall)


def _endless(version: str) -> Iterator[Case]:
    """It goes on for ever: at some point it is too much for OpenSSL, or `idle` has run out: it is no progress."""
    for fault, ends, says in (*ENDLESS["both"], *ENDLESS[version]):
        yield _case(version, "after text_delta", fault, ends, _for_ever(says))


def _large() -> Case:
    """An event that takes more than one full record, before the answer is cut."""
    case = _case("1.3", "after text_delta", "a large event before the end", TruncatedError, _sends(chunk(sse(NEWS))))
    return replace(case, besides=NEWS)


# What a server says


HARMLESS: dict[str, tuple[tuple[str, Says], ...]] = {
    "both": (
        ("an empty record", lambda end: end.keys.record(b"")),
        ("thirty empty records", lambda end: b"".join(end.keys.record(b"") for _ in range(30))),
        ("a warning", lambda end: end.keys.record(bytes([WARNING, USER_CANCELED]), ALERT)),
    ),
    "1.2": (("a handshake anew is asked for", lambda end: _twelve(end).ask_anew()),),
    "1.3": (
        ("a ticket", lambda end: _thirteen(end).ticket()),
        ("many tickets", lambda end: b"".join(_thirteen(end).ticket() for _ in range(100))),
        ("new keys", lambda end: _thirteen(end).update()),
        ("new keys, asked for in return", lambda end: _thirteen(end).update(asked=True)),
        ("new keys, many times", lambda end: b"".join(_thirteen(end).update(asked=True) for _ in range(30))),
    ),
}
ENDLESS: dict[str, tuple[tuple[str, type[APIError], Says], ...]] = {
    "both": (("endless empty records", APIConnectionError, lambda end: end.keys.record(b"")),),
    "1.2": (),
    "1.3": (
        ("endless tickets", StalledError, lambda end: _thirteen(end).ticket()),
        ("endless new keys", StalledError, lambda end: _thirteen(end).update()),
        ("endless questions for new keys", StalledError, lambda end: _thirteen(end).update(asked=True)),
    ),
}

# What a script does


def end_of(peer: Peer) -> Encrypted:
    end: Any = peer.sock
    assert isinstance(end, Encrypted)
    return end


def _puts(*says: Says, then: Script = close) -> Script:
    def script(peer: Peer) -> None:
        end = end_of(peer)
        end.put(b"".join(each(end) for each in says))
        then(peer)

    return script


def _sends(*pieces: bytes) -> Script:
    return lambda peer: peer.send(*pieces)


def _for_ever(says: Says) -> Script:
    def script(peer: Peer) -> None:
        end, breath = end_of(peer), threading.Event()
        while not breath.wait(0.001):  # or others that run at once get nothing done
            end.put(b"".join(says(end) for _ in range(10)))

    return script


def _data(data: bytes) -> Says:
    return lambda end: end.keys.record(data)


def _torn_after(size: int) -> Says:
    return lambda end: end.keys.record(NEXT)[:size]


def _farewell(end: Encrypted) -> bytes:
    return end.keys.record(bytes([WARNING, CLOSE_NOTIFY]), ALERT)


def _alert(end: Encrypted) -> bytes:
    return end.keys.record(bytes([FATAL, INTERNAL_ERROR]), ALERT)


def _changed(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


def _longer(record: bytes) -> bytes:
    """The next bytes that come are part of it, too."""
    return record[:3] + (int.from_bytes(record[3:5], "big") + 9).to_bytes(2, "big") + record[5:] + bytes(9)


def _thirteen(end: Encrypted) -> Keys13:
    assert isinstance(end.keys, Keys13)
    return end.keys


def _twelve(end: Encrypted) -> Keys12:
    assert isinstance(end.keys, Keys12)
    return end.keys


def _case(version: str, point: str, fault: str, ends: type[APIError] | None, script: Script) -> Case:
    """Get a case that must end with all that arrived before the fault; what comes after the answer spoils nothing."""
    at = POINTS[point]
    whole = point == "after message_stop"
    if whole:
        ends = None

    def sends(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunk(WHOLE[:at]))
        script(peer)

    waits = ends in (APITimeoutError, StalledError)
    ends_at = [len(b"".join(map(wire, EVENTS[: number + 1]))) for number in range(len(EVENTS))]
    arrived = sum(event in TOLD and end <= at for event, end in zip(EVENTS, ends_at, strict=True))
    retryable = AGAIN if ends else NEVER
    case = Case(f"TLS, {point}", f"{fault}, {version}", ends, retryable, sends, Wire(version), waits=waits)
    return replace(case, arrived=arrived)
