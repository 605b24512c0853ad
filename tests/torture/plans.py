"""What happens to one chat of a random schedule: all of it follows from a seed and the chat's number."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anthropix_actors import APIConnectionError, APITimeoutError, InternalServerError, OverloadedError, TruncatedError

from servers import STOP, block_start, block_stop, message_delta, start, text_delta
from torture.truth import message_after, wire

if TYPE_CHECKING:
    from anthropix_actors import APIError

SUBSCRIBERS = (
    "actor",
    "inbox",
    "slow actor",
    "coalescing actor",
    "actor that raises",
    "actor that stops",
    "actor that leaves",
    "actor that cancels twice",
    "actor that stops the chat",
    "loop",
    "loop that is left",
    "call",
)

OUTSIDERS = ("cancel", "cancel twice", "stop", "result", "snapshot", "join", "join and leave")

FAULTS: dict[str, type[APIError] | None] = {
    "none": None,
    "reset": APIConnectionError,
    "close": TruncatedError,
    "end": TruncatedError,
    "overloaded": OverloadedError,
    "broken": InternalServerError,
    "stall": APITimeoutError,
}
"""What may happen to an answer, and the error it ends with."""


@dataclass(frozen=True)
class Plan:
    """One chat.

    Attributes:
        number: Its number; every piece of its text has it.
        texts: The pieces of its answer.
        fault: What happens to the answer that begins.
        at: After how many events.
        refused: How many attempts are refused with a 529 before that.
        cuts: Where the bytes of the answer are cut.
        paces: Whether the server takes a breath between two pieces.
        subscriber: What is subscribed from the start.
        after: After how many messages the subscriber does what it does.
        outsiders: What another thread does, and after how many seconds.
    """

    number: int
    texts: tuple[str, ...]
    fault: str
    at: int
    refused: int
    cuts: int
    paces: bool
    subscriber: str
    after: int
    outsiders: tuple[tuple[float, str], ...]

    def events(self) -> list[dict[str, Any]]:
        """Get the events of the whole answer."""
        half = len(self.texts) // 2
        first, second = self.texts[:half], self.texts[half:]
        return [
            start(),
            *([block_start(0), *(text_delta(text) for text in first), block_stop(0)]),
            *([block_start(1), *(text_delta(text, 1) for text in second), block_stop(1)]),
            message_delta(),
            STOP,
        ]

    def message(self) -> Any:
        """Get the whole Message."""
        return message_after(self.events())

    def pieces(self) -> list[bytes]:
        """Get what is sent of the answer, cut somewhere."""
        events = self.events()
        sent = b"".join(wire(event) for event in (events if self.fault == "none" else events[: self.at]))
        dice = random.Random(self.number)
        places = sorted(dice.randrange(len(sent) + 1) for _ in range(self.cuts)) if sent else []
        return [sent[i:j] for i, j in zip([0, *places], [*places, len(sent)], strict=True) if i < j]

    def error(self) -> type[APIError] | None:
        """Get the class of the error that it ends with when nobody cancels it; None when the answer is whole.

        What is refused, or goes wrong before the first content, is tried again; and goes wrong again.
        """
        return FAULTS[self.fault]


def plan(seed: int, number: int) -> Plan:
    """Get the plan of one chat."""
    dice = random.Random(f"{seed}-{number}")
    texts = tuple(f"{number}.{place} " for place in range(dice.choice((0, 1, 5, 40, 300))))
    fault = dice.choice(["none"] * 6 + list(FAULTS)[1:])
    return Plan(
        number=number,
        texts=texts,
        fault=fault,
        at=dice.randint(2, 6 + len(texts)),
        refused=dice.choice((0, 0, 0, 0, 1)),
        cuts=dice.choice((0, 1, 7, 50)),
        paces=dice.random() < 0.3,
        subscriber=dice.choice(SUBSCRIBERS),
        after=dice.randint(1, 10),
        outsiders=tuple(
            (dice.expovariate(1 / 0.01), dice.choice(OUTSIDERS)) for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 3)))
        ),
    )
