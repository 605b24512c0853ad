"""The steps of a response: what to send, when to wait, how to end.

Faults are generators around generators, so that an answer may be endless and each event is made when it is sent.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from anthropix_actors.emulator._model.tokens import tokens
from anthropix_actors.emulator.faults import Cut, Drop, Pace, Reset, Stall

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Head:
    """Send the status and the headers; always before the first bytes of the body."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WaitForRelease:
    """Send nothing, or pings, until released."""

    ping_every: float | None


@dataclass(frozen=True, slots=True)
class SleepUntil:
    """Wait until `seconds` after the head: counted from there, the delays of waits do not add up."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForMore:
    """Wait until there is more to send: until `more` is set."""

    more: asyncio.Event


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection, or reset it. Always the last step."""

    reset: bool


class Finish:
    """End the body properly. Always the last step."""


Step: TypeAlias = Head | bytes | WaitForRelease | SleepUntil | WaitForMore | Hangup | Finish
"""One step; bytes are one event of a stream, or a whole body."""


def with_fault(fault: Drop | Reset | Stall | Pace | Cut, steps: Iterator[Step]) -> Iterator[Step]:
    """Wrap steps in a fault."""
    match fault:
        case Drop() | Reset():
            return insert(steps, Hangup(isinstance(fault, Reset)), events=fault.after_events, size=fault.after_bytes)
        case Stall():
            return insert(steps, WaitForRelease(fault.ping_every), events=fault.after_events, size=fault.after_bytes)
        case Pace():
            return paced(steps, fault.tokens_per_second)
        case _:
            return rechunked(steps, itertools.repeat(fault.every) if fault.every else iter(fault.sizes))


def insert(steps: Iterator[Step], *acts: Step, events: int | None = None, size: int | None = None) -> Iterator[Step]:
    """Insert `acts` after `events` or `size` bytes, or before everything; at the end if the answer is shorter.

    Example:
        >>> list(insert(iter([Head(200, {}), b"one", b"two"]), WaitForRelease(None), events=1))
        [Head(status=200, headers={}), b'one', WaitForRelease(ping_every=None), b'two']
    """
    left = events if events is not None else size
    while left is not None and (step := next(steps, None)) is not None:
        if isinstance(step, bytes):
            if size is not None and len(step) > left:
                yield step[:left]
                steps = itertools.chain([step[left:]], steps)
                break
            left -= len(step) if events is None else 1
        yield step
        if left <= 0 and isinstance(step, Head | bytes):  # steps that an inner fault put before the head do not count
            break
    yield from acts
    yield from steps


def paced(steps: Iterator[Step], tokens_per_second: float) -> Iterator[Step]:
    """Insert a wait before each delta: until a model at `tokens_per_second` would have written it."""
    sent = 0
    for step in steps:
        if isinstance(step, bytes) and b"content_block_delta" in step:
            sent += max(1, len(tokens(_delta(step))))
            yield SleepUntil(sent / tokens_per_second)
        yield step


def metered(steps: Iterator[Step], spend: Callable[[int], None]) -> Iterator[Step]:
    """Call `spend` with output tokens as they are sent: of each delta; without a stream, those of the usage."""
    for step in steps:
        if isinstance(step, bytes):
            if b"content_block_delta" in step:
                spend(max(1, len(tokens(_delta(step)))))
            elif not step.startswith(b"event:"):
                spend(_output_tokens(step))
        yield step


def _output_tokens(body: bytes) -> int:
    try:
        usage: dict[str, int] = json.loads(body)["usage"]
        return usage["output_tokens"]
    except (ValueError, KeyError, TypeError):
        return 0


def _delta(event: bytes) -> str:
    """Return the text of a delta, of its thinking or JSON; empty for other events."""
    try:
        delta: dict[str, str] = json.loads(event.partition(b"data: ")[2])["delta"]
        return next((delta[key] for key in ("text", "thinking", "partial_json") if key in delta), "")
    except (ValueError, KeyError, TypeError):
        return ""


def rechunked(steps: Iterator[Step], sizes: Iterator[int]) -> Iterator[Step]:
    """Split the bytes into chunks of `sizes`; after the last size, the rest is unchanged.

    Example:
        >>> list(rechunked(iter([b"one", b"two", b"three"]), iter([1, 4])))
        [b'o', b'netw', b'o', b'three']
    """
    size = next(sizes, None)
    held = bytearray()  # deleting at the front of a bytearray is cheap
    for step in steps:
        if isinstance(step, bytes):
            held += step
            while size is not None and len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
                size = next(sizes, None)
        if held and (size is None or not isinstance(step, bytes)):
            yield bytes(held)
            held.clear()
        if not isinstance(step, bytes):
            yield step
    if held:
        yield bytes(held)
