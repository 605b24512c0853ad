"""Flow control between a chat and those who follow it.

One `Delivery` per subscriber. `tell` may wait until there is room, `tell_last` never does. The rules:

- a subscriber has at most `window` messages told and not yet handled; then the chat waits, reads nothing, and the
  server waits;
- every wait goes through the chat's scope;
- how much an actor has handled is measured with a probe, a message that pykka itself answers, in its turn, so any actor
  can subscribe and none has to know;
- who is gone (`Gone`) is told nothing more.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import ProxyGetAttr

from anthropix_actors._accumulate import GROWING
from anthropix_actors._hints import no_subscriber
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.messages import ChatEvent, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anthropix_actors._chat import ChatRef
    from anthropix_actors._scope import CancelScope
    from anthropix_actors.messages import ChatMessage, Terminal
    from anthropix_actors.types import Event

WINDOW = 256
"""How many messages a subscriber may be behind, unless told otherwise."""

COALESCED_CHARS = 1 << 16
"""How much text waits for a slow subscriber before the chat waits, too."""

_PROBE = ProxyGetAttr(attr_path=("actor_urn",))
_PROBES_PER_WINDOW = 4

_logger = logging.getLogger("anthropix_actors")


class Gone(Exception):  # noqa: N818 - a message between two modules, no error
    """The subscriber will take no more messages."""


class Delivery:
    """Messages to a subscriber that is no actor: its `tell` is called, and by returning says that there is room.

    Attributes:
        subscriber: Who is told.
        left: It does not follow the chat any more.
    """

    def __init__(self, subscriber: Subscriber, scope: CancelScope) -> None:
        """Hold the subscriber, and the scope of the chat that it follows."""
        self.subscriber = subscriber
        self.left = False
        self._scope = scope

    def tell(self, message: ChatMessage) -> None:
        """Tell it; wait for room if need be. Only the chat's thread.

        Raises:
            Gone: it will take no more.
            CancelledError: the chat was cancelled while it waited.
        """
        self.tell_last(message)

    def tell_events(self, chat: ChatRef, events: list[Event]) -> None:
        """Tell it events, as long as it follows; wait for room if need be.

        Raises:
            Gone: it will take no more.
            CancelledError: the chat was cancelled before the last of them.
        """
        self.tell_all([ChatEvent(chat, event) for event in events])

    def tell_all(self, messages: Sequence[Any]) -> None:
        """Tell it several messages, as long as it follows; wait for room if need be. Raises as `tell_events`."""
        for message in messages:
            self._scope.check()
            if self.left:
                return
            self.tell(message)

    def tell_last(self, message: ChatMessage) -> None:
        """Tell it without waiting for room.

        Raises:
            Gone: it will take no more.
        """
        try:
            self.subscriber.tell(message)
        except BaseException as exc:  # whatever it is, it is the subscriber's: a SystemExit would stop every actor
            raise self._gone(exc) from exc

    def _gone(self, exc: BaseException) -> Gone:
        if not isinstance(exc, pykka.ActorDeadError):
            _logger.error("%r failed to take a message and is told nothing more", self.subscriber, exc_info=exc)
        return Gone()

    def _wait_for(self, has_room: Callable[[], bool]) -> None:
        """Wait for room, or until it follows no more: then nobody may ever make room."""
        self._scope.wait(lambda: self.left or has_room())

    def settle(self, timeout: float) -> None:
        """Wait until it has handled what it was told, for `timeout` seconds at most."""

    def is_alive(self) -> bool:
        """Whether it can still be told something. A subscriber says so by an `is_alive()`, if it has one."""
        is_alive = getattr(self.subscriber, "is_alive", None)
        return bool(is_alive()) if callable(is_alive) else True


class _ToActor(Delivery):
    """What both kinds of mailbox have in common."""

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, on_answer: Callable[[], None]) -> None:
        super().__init__(ref, scope)
        self._ref = ref
        self._prober = _prober(ref, on_answer)

    def settle(self, timeout: float) -> None:
        with contextlib.suppress(pykka.Timeout, pykka.ActorDeadError):
            self._ref.ask(_PROBE, timeout=timeout)

    def _probe(self) -> None:
        self._prober.ask(_PROBE, block=False)


class Mailbox(_ToActor):
    """Messages to an actor, at most `window` of them not yet handled."""

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int) -> None:
        """Measure with four probes per window: one would wait for an empty mailbox."""
        super().__init__(ref, scope, self._answered)
        self._every = max(1, window // _PROBES_PER_WINDOW)
        self._allowed = max(0, window // self._every - 1)  # unanswered probes
        self._unprobed = 0
        self._unanswered = 0

    def tell(self, message: ChatMessage) -> None:
        """Tell it; after each quarter of the window, wait until it is less than a window behind."""
        self.tell_last(message)
        self._unprobed += 1
        if self._unprobed >= self._every:
            self._measure()

    def tell_all(self, messages: Sequence[Any]) -> None:
        """Tell it several messages; the same in one loop, as this is where the time goes."""
        scope, tell, every = self._scope, self._ref.tell, self._every
        for message in messages:
            if scope.cause is not None:
                scope.check()
            if self.left:
                return
            try:
                tell(message)
            except BaseException as exc:  # as in `tell_last`
                raise self._gone(exc) from exc
            self._unprobed += 1
            if self._unprobed >= every:
                self._measure()

    def _measure(self) -> None:
        """Ask for a sign of life, and wait while too many of them are missing."""
        self._unprobed = 0
        with self._scope.changed:
            self._unanswered += 1
        self._probe()
        if self._unanswered > self._allowed:
            self._wait_for(self._has_room)

    def _has_room(self) -> bool:
        return self._unanswered <= self._allowed or not self._ref.is_alive()

    def _answered(self) -> None:
        # In the subscriber's thread, or in the chat's when the subscriber is dead.
        with self._scope.changed:
            self._unanswered -= 1
            self._scope.notify()


class CoalescingMailbox(_ToActor):
    """Messages to an actor that is told more only when it has handled what it was told; meanwhile, deltas merge.

    For those who repaint: a slow subscriber gets few large deltas instead of many small ones, and loses nothing.
    """

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int) -> None:
        """Keep at most `window` messages, or 64 Ki characters, for later."""
        super().__init__(ref, scope, self._answered)
        self._window = window
        self._lock = threading.RLock()  # a dead actor answers a probe at once, in the thread that asks
        self._busy = False
        self._kept: collections.deque[ChatMessage | _Merged] = collections.deque()
        self._chars = 0

    def tell(self, message: ChatMessage) -> None:
        """Tell it, or keep it for later; wait while there is too much to keep."""
        with self._lock:
            if self._busy:
                self._keep(message)
            else:
                self._tell_now(message)
        if not self._has_room():
            self._wait_for(self._has_room)

    def tell_last(self, message: ChatMessage) -> None:
        """Tell it all that was kept, and then this."""
        with self._lock:
            for kept in self._take():
                super().tell_last(kept)
            super().tell_last(message)

    def _tell_now(self, *messages: ChatMessage) -> None:
        for message in messages:
            super().tell_last(message)
        self._busy = True
        self._probe()

    def _keep(self, message: ChatMessage) -> None:
        kind, piece = _growth(message)
        if not kind:
            self._kept.append(message)
            return
        last = self._kept[-1] if self._kept else None
        if not isinstance(last, _Merged) or last.kind != kind:
            last = _Merged(message, kind)
            self._kept.append(last)
        last.pieces.append(piece)
        self._chars += len(piece)

    def _take(self) -> list[ChatMessage]:
        taken = [kept.message() if isinstance(kept, _Merged) else kept for kept in self._kept]
        self._kept.clear()
        self._chars = 0
        return taken

    def _has_room(self) -> bool:
        room = len(self._kept) < self._window and self._chars < COALESCED_CHARS
        return room or not self._ref.is_alive()

    def _answered(self) -> None:
        # In the subscriber's thread, which pykka would end if anything was raised here.
        with self._lock:
            self._busy = False
            if self._kept:
                with contextlib.suppress(Gone):
                    self._tell_now(*self._take())
        self._scope.notify()


class _Merged:
    """Neighbouring deltas of one kind, as one."""

    __slots__ = ("first", "kind", "pieces")

    def __init__(self, first: Any, kind: tuple[Any, ...]) -> None:
        self.first = first
        self.kind = kind
        self.pieces: list[str] = []

    def message(self) -> ChatEvent:
        event = self.first.data
        merged: Any = {**event, "delta": {**event["delta"], self.kind[-1]: "".join(self.pieces)}}
        return ChatEvent(self.first.chat, merged)


def _growth(message: Any) -> tuple[tuple[Any, ...], str]:
    """Get what makes deltas mergeable (block, type, key of the piece) and the piece; nothing for other messages."""
    if isinstance(message, ChatEvent) and message.data["type"] == "content_block_delta":
        delta: Any = message.data["delta"]
        key = GROWING.get(delta["type"])
        if key is not None:
            return (message.data["index"], delta["type"], key), delta[key]
    return (), ""


class _Iterator:
    """Stands for whoever iterates: a channel that held itself would be left to the garbage collector."""

    def tell(self, message: Any, /) -> None:
        """Take nothing: it is the channel that is told."""


_ITERATOR = _Iterator()


class Channel(Delivery):
    """Events to those who iterate, in other threads: a bounded queue with an end."""

    def __init__(self, scope: CancelScope, size: int) -> None:
        """Hold at most `size` events."""
        super().__init__(_ITERATOR, scope)
        self._size = size
        self._queue: queue.SimpleQueue[Event | Terminal] = queue.SimpleQueue()
        self._end: dict[str, Terminal] = {}  # a dict, as its setdefault is atomic
        self._full = False

    def tell(self, message: Any) -> None:
        """Do nothing: those who iterate get events and are not told of retries."""

    def tell_events(self, chat: ChatRef, events: list[Event]) -> None:  # noqa: ARG002 - they know their chat
        """Queue events; wait while the queue is full."""
        put, qsize, size = self._queue.put, self._queue.qsize, self._size
        for event in events:
            put(event)
            if qsize() >= size:
                self._full = True
                self._wait_for(self._has_room)
                self._full = False
                if self.left:
                    return

    def tell_last(self, message: Any) -> None:
        """Queue it, however full the queue is."""
        if isinstance(message, ChatEvent):
            self._queue.put(message.data)
        else:
            self.close(message)

    def close(self, terminal: Terminal) -> None:
        """End the queue with `terminal`, unless it has an end."""
        if self._end.setdefault("end", terminal) is terminal:
            self._queue.put(terminal)

    def get(self) -> Event | Terminal:
        """Get the next event; after the last, the terminal message, again and again. Any thread."""
        item = self._queue.get()
        if isinstance(item, dict):
            if self._full and self._has_room():
                self._scope.notify()
        else:
            self._queue.put(item)
        return item

    def is_alive(self) -> bool:
        """Whether somebody may still iterate."""
        return not self._end

    def _has_room(self) -> bool:
        # Half of it, so that the two threads do not wake each other for every single event.
        return self._queue.qsize() <= self._size // 2 or bool(self._end)


class _Answer(pykka.ThreadingFuture[Any]):
    """What a probe is answered to. Nobody gets it; the answer itself is the news."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        super().__init__()
        self._on_answer = on_answer

    def set(self, value: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()

    def set_exception(self, exc_info: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()


class _Asker:
    """Stands for an actor class where pykka asks it to make a future."""

    __name__ = "Subscriber"

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer

    def _create_future(self) -> _Answer:
        return _Answer(self._on_answer)


def _prober(ref: pykka.ActorRef[Any], on_answer: Callable[[], None]) -> pykka.ActorRef[Any]:
    """Get a ref to the same actor whose `ask` calls `on_answer` once, in the answerer's thread, instead of waiting."""
    prober = copy.copy(ref)
    prober.actor_class = _Asker(on_answer)  # type: ignore[assignment]
    return prober


def delivery_to(subscriber: Subscriber, scope: CancelScope, *, window: int, coalesce: bool) -> Delivery:
    """Get the delivery that fits a subscriber.

    Raises:
        ParameterError: the options do not fit it.
    """
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise ParameterError([Problem("window", f"expected an integer from 1, got {window!r}")])
    if coalesce and not isinstance(subscriber, pykka.ActorRef):
        what = f"expected an ActorRef as subscriber, got {type(subscriber).__name__}: only a mailbox can be behind"
        raise ParameterError([Problem("coalesce", what)])
    if isinstance(subscriber, pykka.ActorRef):
        return (CoalescingMailbox if coalesce else Mailbox)(subscriber, scope, window)
    return Delivery(subscriber, scope)


def subscriber_problems(
    subscriber: object, place: str, expected: str = "something with a tell method"
) -> list[Problem]:
    """Find what is wrong with somebody who is to be told.

    Args:
        subscriber: Who.
        place: The parameter, for the error.
        expected: What else may be given.
    """
    if (what := no_subscriber(subscriber)) is not None:
        return [Problem(place, f"expected {expected}, got {what}")]
    if isinstance(subscriber, pykka.ActorRef) and not subscriber.is_alive():
        return [Problem(place, f"expected an actor that is alive, got {subscriber}, which has stopped")]
    return []
