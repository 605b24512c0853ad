"""The cost of many chats, by model and by tag, in tokens and in dollars.

A `Ledger` is a subscriber: it follows chats and batches besides the subscriber that reads the answers. Each is counted
once, at its end, even if it fails or is cancelled in the middle of its answer: that is billed as well.

Prices are the caller's: they change, and depend on contracts. A price that the table lacks is named, not guessed.

Example:
    >>> ledger = Ledger({"claude-haiku-4-5": Price(input=1.00, output=5.00)})
    >>> usage = {"input_tokens": 400_000, "output_tokens": 20_000}
    >>> ledger.add({"model": "claude-haiku-4-5-20251001", "stop_reason": "end_turn", "usage": usage}, "nightly")
    >>> ledger.cost()
    Cost(amount=0.5, unpriced=(), estimate=False)
    >>> ledger.by_tag()["nightly"].total_tokens
    420000
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Hashable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from anthropix_actors._checks.call_errors import ExplainedStruct
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._tasks.ledger_sums import Books
from anthropix_actors.errors import AnthropixError, CancelledError, ParameterError, Problem
from anthropix_actors.messages import BatchResult, ChatCancelled, ChatDone, ChatFailed
from anthropix_actors.usage import UNKNOWN_MODEL, Usage, is_refusal, lost, per_model, was_sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors._wire.message import Message

PriceKey: TypeAlias = "str | tuple[str, str]"
"""A model; or a model and the service tier of its answers, if that is not the standard one.

Tiers are those of `usage.service_tier`, "batch" and "priority", and "fast" where `usage.speed` says so.
"""

STANDARD = "standard"
"""The tier of answers that name none."""

_MILLION = 1_000_000
_PAID = (
    ("input_tokens", "input", _MILLION),
    ("output_tokens", "output", _MILLION),
    ("cache_creation_5m_input_tokens", "cache_write_5m", _MILLION),
    ("cache_creation_1h_input_tokens", "cache_write_1h", _MILLION),
    ("cache_read_input_tokens", "cache_read", _MILLION),
    ("web_search_requests", "web_search", 1),
)
"""A count of `Usage`, its field of `Price`, and the units that this price is for. Other counts are parts of these."""
_DATE = re.compile(r"[-@]\d{8}$")

_DEAREST = 10**12  # dollars: every price is below this
_Ending: TypeAlias = Literal["done", "failed", "cancelled"]
_Share: TypeAlias = "tuple[str, str, Usage]"
"""A model, a tier, and the usage of an answer there."""
_Entry: TypeAlias = "tuple[str | None, str, str]"
"""A tag, a model and a tier."""


class Price(ExplainedStruct, frozen=True):
    """The prices of a model. None is unknown: tokens of that kind are not priced, and `Cost.unpriced` says so.

    Attributes:
        input: Dollars for a million tokens read, apart from the cache.
        output: Dollars for a million tokens written.
        cache_write_5m: Dollars for a million tokens put in the cache for five minutes.
        cache_write_1h: Dollars for a million tokens put in the cache for an hour.
        cache_read: Dollars for a million tokens read from the cache.
        web_search: Dollars for one search.
    """

    input: float
    output: float
    cache_write_5m: float | None = None
    cache_write_1h: float | None = None
    cache_read: float | None = None
    web_search: float | None = None


class Cost(msgspec.Struct, frozen=True):
    """The cost of chats and batches.

    Attributes:
        amount: Dollars, for all tokens and searches that have a price.
        unpriced: The keys that the table lacks, or whose price is incomplete; their tokens are in `Ledger.by_model`.
        estimate: True if some of the tokens were estimated, or may be missing.
    """

    amount: float
    unpriced: tuple[PriceKey, ...]
    estimate: bool


class Ended(msgspec.Struct, frozen=True):
    """How many chats ended, and how.

    Attributes:
        done: With a complete answer, including results of batches.
        failed: With an error.
        cancelled: By `cancel()`, or because the last subscriber was gone.
    """

    done: int = 0
    failed: int = 0
    cancelled: int = 0


class Ledger:
    """Totals over many chats. It takes the messages that they send to subscribers, from any number of threads.

    An actor can keep one for itself: `ledger.tell(message)` in its `on_receive` takes any message, and ignores those
    that end nothing. As `Client(ledger=...)`, it is told of all that the client does and keeps no chat alive; as the
    subscriber of a chat, it does keep that chat alive.

    Example:
        >>> ledger = Ledger()
        >>> chat = client.chat(model="claude-opus-5", messages=hello, stream=ledger)
        >>> answer = chat.result(timeout=60)
    """

    def __init__(self, prices: Mapping[PriceKey, Price] | None = None) -> None:
        """Start at zero.

        Args:
            prices: The prices of models. A model that is not there has the price of its name without the date:
                `claude-haiku-4-5-20251001` that of `claude-haiku-4-5`.

        Raises:
            ParameterError: a key or a price is invalid.

        Example:
            >>> half = Price(input=0.50, output=2.50)
            >>> ledger = Ledger({"claude-haiku-4-5": Price(input=1, output=5), ("claude-haiku-4-5", "batch"): half})
        """
        if not isinstance(prices, (Mapping, NoneType)):
            raise ParameterError([Problem("prices", f"expected a mapping of models to prices, got {shown(prices)}")])
        self._prices = dict(prices or {})
        problems = [problem for key, price in self._prices.items() for problem in _problems(key, price)]
        if problems:
            raise ParameterError(problems)
        self._books = Books()

    def tell(self, message: Any, /) -> None:
        """Count the chat that a message ends, or the request of a batch. Any other message changes nothing. Any thread.

        A batch that is followed a second time delivers its results a second time, and they count a second time.
        """
        try:
            self._take(message)
        except Exception as exc:  # noqa: BLE001 - one odd message must not keep others from being counted
            log(logging.ERROR, "a ledger could not count a %s", type(message).__name__, exc_info=exc)

    def _take(self, message: Any) -> None:
        match message:
            case ChatDone(chat=ref, message=answer, resumed=resumed):
                unsure, shares = Usage(estimate=bool(resumed)), _shares(answer, complete=True)
                self._book("done", [(model, tier, used + unsure) for model, tier, used in shares], ref)
            case ChatFailed(chat=ref, error=error):
                self._book(*_failure(error), ref)
            case ChatCancelled(chat=ref, partial=partial):
                self._book("cancelled", _unfinished(partial, billed=getattr(ref, "attempts", None) != 0), ref)
            case BatchResult(batch=ref, result={"type": "succeeded", "message": answer}):
                self._book("done", _shares(answer, complete=True, tier="batch"), ref)

    def add(self, answer: Message | Mapping[str, Any] | AnthropixError, tag: str | None = None) -> None:
        """Count the Message that a blocking chat returned, or the error that it raised.

        Args:
            answer: The Message; without a `stop_reason`, it counts as cut off. Or the error: its `partial` is counted.
            tag: The tag to count it under.

        Example:
            >>> ledger = Ledger()
            >>> try:
            ...     answer = client.chat(model="claude-opus-5", messages=hello)
            ... except AnthropixError as error:
            ...     ledger.add(error, "greetings")
            ... else:
            ...     ledger.add(answer, "greetings")
        """
        if isinstance(answer, AnthropixError):
            self._book(*_failure(answer), tag=tag)
        else:
            self._book("done", _shares(answer), tag=tag)

    @property
    def chats(self) -> Ended:
        """How many chats ended, and how."""
        books = self._books.now()
        return Ended(**{ending: books.get(ending, 0) for ending in Ended.__struct_fields__})

    def total(self) -> Usage:
        """Return the usage of all chats, in tokens."""
        return sum(self._entries().values(), Usage())

    def by_model(self) -> dict[str, Usage]:
        """Return the usage of each model, under its name in the answers; "unknown" if an answer has none.

        An answer of which nothing arrived, and that may be billed, is "unknown", with no tokens and `estimate` set.
        """
        return self._grouped(lambda entry: entry[1])

    def by_tag(self) -> dict[str | None, Usage]:
        """Return the usage of each tag; None for chats without one."""
        return self._grouped(lambda entry: entry[0])

    def cost(self) -> Cost:
        """Return the cost in dollars, by the prices that the ledger was given.

        Charges that are not by token or search are not included, nor surcharges for where the model runs.
        """
        amounts, unpriced = list[float](), dict[PriceKey, None]()
        entries = self._entries()
        for (_, model, tier), usage in entries.items():
            price = self._price(model, tier)
            for counted, priced, units in _PAID:
                count, each = getattr(usage, counted), getattr(price, priced, None)
                if each is not None:
                    amounts.append(count * each / units)
                elif count:
                    unpriced[model if tier == STANDARD else (model, tier)] = None
        estimate = any(usage.estimate for usage in entries.values())
        return Cost(math.fsum(amounts), tuple(sorted(unpriced, key=str)), estimate)

    def _book(self, ending: _Ending, shares: list[_Share], ref: Any = None, tag: str | None = None) -> None:
        shares = [*shares, *(share for begun in lost(ref) for share in _shares(begun))]
        word: Any = getattr(ref, "tag", tag)
        word = word if isinstance(word, Hashable) else shown(word)
        self._books.add([(ending, 1), *(((word, model, tier), usage) for model, tier, usage in shares)])

    def _entries(self) -> dict[_Entry, Usage]:
        return {entry: used for entry, used in self._books.now().items() if isinstance(entry, tuple)}

    def _grouped(self, group: Callable[[_Entry], Any]) -> dict[Any, Usage]:
        groups: dict[Any, Usage] = {}
        for entry, usage in self._entries().items():
            groups[group(entry)] = groups.get(group(entry), Usage()) + usage
        return groups

    def _price(self, model: str, tier: str) -> Price | None:
        for name in (model, _DATE.sub("", model)):
            keys: list[PriceKey] = [(name, tier)] if tier != STANDARD else [name, (name, tier)]
            for key in keys:
                if key in self._prices:
                    return self._prices[key]
        return None


def _shares(message: Any, *, complete: bool = False, tier: str = STANDARD) -> list[_Share]:
    """Return the usage of an answer, by model and tier."""
    if not isinstance(message, Mapping):
        return []
    usage = message.get("usage")
    wire = usage if isinstance(usage, Mapping) else {}
    tier = told if isinstance(told := wire.get("service_tier"), str) and told else tier
    own = "fast" if wire.get("speed") == "fast" else tier
    # `speed` does not apply to an advisor. The answer's own model is the first.
    return [
        (model, tier if index else own, used)
        for index, (model, used) in enumerate(per_model(message, complete=complete).items())
    ]


def _failure(error: AnthropixError) -> tuple[_Ending, list[_Share]]:
    """Return how an error ended a chat, and the usage of the chat."""
    ending: _Ending = "cancelled" if isinstance(error, CancelledError) else "failed"
    return ending, [] if is_refusal(error) else _unfinished(error.partial, billed=was_sent(error))


def _unfinished(partial: Any, *, billed: bool) -> list[_Share]:
    """Return the usage of a chat that was cut off."""
    if partial is None and billed:  # the API may have read the request; how much it bills is not known
        return [(UNKNOWN_MODEL, STANDARD, Usage(estimate=True))]
    return _shares(partial)


def _problems(key: Any, price: Any) -> Iterator[Problem]:
    """Yield the problems of a line of a price table."""
    place = f"prices[{shown(key)}]"
    parts = key if isinstance(key, tuple) and len(key) == 2 else (key,)  # noqa: PLR2004 - a model and a tier
    if not all(isinstance(part, str) and part for part in parts):
        yield Problem(place, "expected a model, or a model and a tier, as the key")
    if not isinstance(price, Price):
        yield Problem(place, f"expected a Price, got {type(price).__name__}")
        return
    for name in price.__struct_fields__:
        value = getattr(price, name)
        known = value is not None or name in {"input", "output"}
        if known and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _DEAREST):
            yield Problem(f"{place}.{name}", f"expected dollars, 0 or more, got {value!r}")
