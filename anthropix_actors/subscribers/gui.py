"""The core of all subscribers for windows: messages cross over to the thread that draws, a few times a second.

A chat's thread tells; the thread of the toolkit handles. In between lies one queue, in which neighbouring deltas merge,
and one flag, `_armed`: whether a flush is under way. The rules:

- the first message after a pause wakes the loop at once; then a flush follows each `interval`, until one finds nothing;
- so an idle window has no timer, and many messages cost one wake-up;
- a flush works for a bounded time, then the window gets to draw;
- what waits is bounded: a window that is frozen makes the chat, and so the server, wait (`Window`).
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from anthropix_actors._checks.call_errors import unknown_problems
from anthropix_actors._checks.handler_methods import meant_by
from anthropix_actors._checks.subscriber_hints import A_GENERATOR, no_function, only_made_by
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.subscriber import OwnSubscriber
from anthropix_actors._tasks.window import Window
from anthropix_actors.chat.merging import MergingQueue
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.subscribers.handlers import METHODS, Handlers
from anthropix_actors.subscribers.told import TERMINAL, ref_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Unpack

    from anthropix_actors.subscribers.toolkit import GuiLoop

Handler: TypeAlias = "Callable[[Any], object] | Handlers"
"""What takes a message, in the thread that draws: a function, or an object with a method for each that happens."""

INTERVAL = 0.03
"""Seconds between two flushes, by default: no eye sees more of a text."""

_BUDGET = 0.01
"""Seconds after which a flush takes no further message: the rest of a frame is for drawing."""

_LARGEST = 1 << 11
"""How many characters a merged delta may have: a text widget takes them within the budget."""

_MERGED = 4
"""How many windows of deltas may wait, merged into few.

A chat's thread that never waits would take the interpreter's lock from the thread that draws, 5 ms for each step.
"""


class GuiOptions(TypedDict, total=False):
    """The options of every subscriber for a window.

    Attributes:
        interval: Seconds between two frames in which messages are handled; 0.03 by default. The first message of a
            burst is handled at once.
        on_error: What becomes of a chat whose message the handler raised for: "continue" (the default), or "cancel".
            The toolkit shows the error in either case, as it shows others.
        on_close: What becomes of the chats when the widget is destroyed, or `close` is called: "cancel" (the default)
            cancels those that nobody else follows; with "continue", they go on to their ends.
    """

    interval: float
    on_error: Literal["continue", "cancel"]
    on_close: Literal["cancel", "continue"]


class GuiSubscriber(OwnSubscriber):
    """Brings messages to the thread that draws. `to_qt`, `to_tk`, `to_textual`, `to_gtk`, `to_wx`, `to_loop` make one.

    It follows any number of chats, batches and sessions: pass it as `stream`, or to `subscribe`. Its handler is called
    in the toolkit's thread, with one message at a time: those of `anthropix_actors.messages`, in order, with
    neighbouring deltas of a chat merged into one `ChatEvent`. A handler that opens a dialog, and waits for it, gets the
    next message when it returns.

    Attributes:
        window: How far it may be behind, shared by all that it follows.
        handled_in: The ident of the toolkit's thread; None before it is known. `result()` is refused there.
    """

    _closed = True  # until it is made

    def __init__(
        self,
        loop: GuiLoop,
        handler: Handler,
        **options: Unpack[GuiOptions],
    ) -> None:
        """The functions `to_qt` and so on make one; do not make one yourself.

        Raises:
            ParameterError: one of the parameters has a wrong value, or is none of these.
        """
        given = {**_DEFAULTS, **options}
        _check(handler, **given)
        self._closed = False
        self._interval, self._on_error, self._on_close = given["interval"], given["on_error"], given["on_close"]
        self._loop = loop
        self._handler = handler.handle if isinstance(handler, Handlers) else handler
        self._lock = threading.RLock()  # held briefly, and never while the handler runs
        self._queue = MergingQueue(_LARGEST)
        self._armed = False
        self._followed = weakref.WeakSet[TaskRef[Any]]()  # of one that it is unsubscribed from, it hears no end
        self.window = Window(partial(_is_full, self._queue))  # once closed, it is empty
        self.handled_in = loop.thread
        if self.handled_in is None:
            self._wake()  # the loop says in which thread it runs, before a message comes

    def __repr__(self) -> str:
        """Show the handler, the state, and how many messages wait."""
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} of {shown(self._handler)}, {state}, {len(self._queue)} waiting>"

    def __del__(self) -> None:
        """Drop the handler in the toolkit's thread: a window that only it keeps alive must not end in another."""
        if not self._closed:
            self._drop_handler(self.handled_in)

    # In any thread

    def tell(self, message: Any, /) -> None:
        """Take one message, to be handled in the toolkit's thread. Any thread; never waits."""
        with self._lock:
            if self._closed:
                return
            self._note(message)
            self._queue.append(message)
        self._wake()

    def is_alive(self) -> bool:
        """Return whether its chats are to go on: it is open, or was closed with `on_close="continue"`. Any thread."""
        if not self._closed and not self._loop.is_open():
            self.close()
        return not self._closed or self._on_close == "continue"

    def hears_no_more(self) -> bool:
        """Return whether it is closed."""
        return not self.is_alive() or self._closed

    def close(self) -> None:
        """Handle no further message, and leave all chats, as `on_close` says. Any thread; once is enough.

        A widget that is destroyed does that by itself; one that is merely hidden does not.

        Example:
            >>> shows = to_loop(loop.call_soon_threadsafe, loop.call_later, print)
            >>> shows.close()
            >>> shows.is_alive()
            False
        """
        with self._lock:
            followed = [*self._followed]
            self._followed.clear()
            was_closed, self._closed = self._closed, True
            self._queue.clear()
            thread, self.handled_in = self.handled_in, None  # nothing waits for that thread any more
        if not was_closed:
            self._drop_handler(thread)
        self.window.moved()
        for ref in followed if self._on_close == "cancel" else ():
            ref.unsubscribe(self, "the window was closed")

    def _drop_handler(self, thread: int | None) -> None:
        """Drop the handler in the toolkit's thread: it may be all that keeps a whole window alive."""
        kept, self._handler = [self._handler], _ignore
        if threading.get_ident() != thread:
            with contextlib.suppress(Exception):  # there may be no loop any more
                self._loop.call_soon(kept.clear)

    def _wake(self) -> None:
        """Have a flush come, unless one is under way."""
        with self._lock:
            wakes, self._armed = not self._armed, True
        if wakes:
            self._reach(self._loop.call_soon, self._flush)

    def _note(self, message: Any) -> None:
        """Keep in mind what it follows, until that ends."""
        if (ref := ref_of(message)) is not None:
            (self._followed.discard if type(message) in TERMINAL else self._followed.add)(ref)

    def _reach(self, call: Callable[..., object], *args: Any) -> None:
        """Call a function of the toolkit; one that raises has no loop any more, so this is closed."""
        try:
            call(*args)
        except Exception as exc:  # noqa: BLE001 - the toolkit's code, which may raise anything
            log(logging.ERROR, "%s cannot reach its loop, and is closed", self, exc_info=exc)
            self.close()

    # In the toolkit's thread

    def _flush(self) -> None:
        """Handle what waits, for a while; have the rest handled after the interval."""
        if not self._closed:
            self.handled_in = threading.get_ident()
        if not self._has_more():
            return
        try:
            self._handle_some()
        finally:  # whatever a handler raises, a SystemExit too: no message is lost, and none is handled twice
            self.window.moved()
            if not self._closed:
                self._reach(self._loop.call_later, self._interval, self._flush)

    def _has_more(self) -> bool:
        with self._lock:  # a message that comes after this wakes the loop again
            self._armed = bool(self._queue)
            return self._armed

    def _handle_some(self) -> None:
        end = time.monotonic() + _BUDGET
        with contextlib.suppress(IndexError):  # nothing more waits
            while True:
                self._handle(self._next())
                if time.monotonic() >= end:
                    return

    def _next(self) -> Any:
        with self._lock:
            return self._queue.popleft()

    def _handle(self, message: Any) -> None:
        try:
            self._handler(message)
        except Exception as exc:  # noqa: BLE001 - the caller's code, which may raise anything
            if self._on_error == "cancel" and (ref := ref_of(message)) is not None:
                ref.cancel(f"its handler raised {type(exc).__name__}")
            try:
                self._loop.show(exc)
            except Exception as other:  # noqa: BLE001 - as above
                log(logging.ERROR, "what %s raised could not be shown", shown(self._handler), exc_info=other)


def _is_full(queue: MergingQueue, size: int) -> bool:
    """Return whether a window has no room. A function, so that the window does not refer to its subscriber."""
    return queue.is_full(size) or queue.deltas >= _MERGED * size


_CHOICES = ("continue", "cancel")
_DEFAULTS: dict[str, Any] = {"interval": INTERVAL, "on_error": "continue", "on_close": "cancel"}


def _check(handler: object, *, interval: object, **choices: object) -> None:
    problems = [*_unknown(choices)]
    if (what := _no_handler(handler)) is not None:
        expected = "a function that takes one message, or an object of a class of Handlers"
        problems.append(Problem("handler", f"expected {expected}, got {what}"))
    number = isinstance(interval, (int, float)) and not isinstance(interval, bool)
    if not number or not 0 <= interval < math.inf:  # type: ignore[operator] # it is a number
        problems.append(Problem("interval", f"expected seconds from 0, such as 0.03, got {shown(interval)}"))
    problems += [
        Problem(name, f'expected "continue" or "cancel", got {shown(choice)}')
        for name, choice in choices.items()
        if name in _DEFAULTS and choice not in _CHOICES
    ]
    if problems:
        raise ParameterError(problems)


def _unknown(options: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each option that there is not; handlers' methods are no options."""
    for name in options:
        meant = None if name in _DEFAULTS else meant_by(name, METHODS)
        if meant is None:
            yield from unknown_problems([name], _DEFAULTS)
        else:
            what = f"unknown parameter; give a class derived from Handlers the method {meant}, and pass an object of it"
            yield Problem(name, what)


def _no_handler(given: Any) -> str | None:
    """Return what a wrong handler is, and a hint; None for one that handles a message when it is called."""
    if isinstance(given, type):
        return f"the class {given.__name__}; make one of it"
    called = given.handle if isinstance(given, Handlers) else given
    what = only_made_by(called)
    return f"{what}; begin a generator, and pass its send" if what == A_GENERATOR else no_function(called)


def _ignore(_: object) -> None:
    """Do nothing, in place of a handler whose window was closed."""


publish("anthropix_actors.subscribers", (GuiSubscriber, GuiOptions))
