"""`Answers`: sends a session what came of its calls, one after the other, each as often as needed.

One thread at a time sends, while there is anything to send: so a retry that takes hours holds up no event and no tool.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from anthropix_actors._calls.blocking import BlockingCall
from anthropix_actors._calls.client_core import decode_json
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.errors import AnthropixError, BadRequestError, CancelledError
from anthropix_actors.tools.call import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request


class Answer(NamedTuple):
    """What is to be sent; for a tool that ran, with its outcome."""

    call: dict[str, Any]
    event: dict[str, Any]
    outcome: Outcome | None


class Done(Protocol):
    """Called once for each answer that is over, from any thread."""

    def __call__(self, answer: Answer, *, sent: bool, error: AnthropixError | None = None) -> object:
        """Note whether it was taken; else why not, if that is known."""


class Answers:
    """Sends the answers of one session.

    Args:
        core: The client's core.
        request: Returns the request that sends an event.
        is_moot: Returns whether a call no longer waits for an answer.
        done: Called when an answer is over.
    """

    def __init__(
        self,
        core: ClientCore,
        request: Callable[[Mapping[str, Any]], Request],
        *,
        is_moot: Callable[[Mapping[str, Any]], bool],
        done: Done,
    ) -> None:
        """Start with nothing to send."""
        self._core = core
        self._request = request
        self._is_moot = is_moot
        self._done = done
        self._lock = threading.RLock()  # reentrant, as a signal handler may cancel
        self._unsent: deque[Answer] = deque()
        self._in_flight: Answer | None = None
        self._post: BlockingCall | None = None
        self._sends = False  # a thread does
        self._ended: str | None = None

    def send(self, answer: Answer) -> None:
        """Send an answer, soon. Any thread."""
        with self._lock:
            self._unsent.append(answer)
            if self._sends:
                return
            self._sends = True
        if not in_background(self._send_all, "anthropix-answers"):
            self._send_all()  # there are no more threads: late is better than never

    def end(self, reason: str) -> None:
        """Send nothing more. Returns at once. Any thread."""
        with self._lock:
            self._ended = reason
            left = [*([] if self._in_flight is None else [self._in_flight]), *self._unsent]
            self._unsent.clear()
            self._in_flight = None
            post = self._post
        for answer in left:
            self._done(answer, sent=False)
        if post is not None:
            post.cancel(reason)

    def after_fork(self) -> None:
        """End it in a forked child, where no thread sends."""
        self._lock = threading.RLock()
        self._ended = "the process was forked"

    def _send_all(self) -> None:
        while True:
            with self._lock:
                if not self._unsent:
                    self._sends = False
                    return
                answer = self._in_flight = self._unsent.popleft()
            sent, error = self._sent(answer)
            if self._lands():  # else `end` has said that it is over
                self._done(answer, sent=sent, error=error)

    def _lands(self) -> bool:
        with self._lock:
            landed, self._in_flight = self._in_flight is not None, None
        return landed

    def _sent(self, answer: Answer) -> tuple[bool, AnthropixError | None]:
        """Send an answer, as often as needed; return whether it was taken, and why not."""
        if self._is_moot(answer.call):
            return False, None
        try:
            error = self._try(answer.event)
            if isinstance(error, BadRequestError) and answer.outcome is not None and not self._is_moot(answer.call):
                # Else the agent would wait for ever, for a result that the API does not take.
                text = f"the tool ran, but its result was refused: {error.message}"
                self._try(result_of(answer.call, Outcome(text, is_error=True)))
        except BaseException as exc:  # noqa: BLE001 - of a caller's credentials, or a bug; the next ones are to be sent
            log(logging.ERROR, "the answer to the call %s was not sent", answer.call["id"], exc_info=exc)
            return False, None
        if error is not None and not isinstance(error, CancelledError):
            log(logging.ERROR, "the answer to the call %s was not taken: %s", answer.call["id"], error)
        return error is None, error

    def _try(self, event: Mapping[str, Any]) -> AnthropixError | None:
        request = self._request(event)
        post = BlockingCall(self._core.transport, request.timeout)
        with self._lock:
            self._post = post
            ended = self._ended
        if ended is not None:  # `end` came before there was anything to cancel
            post.cancel(ended)
        error: AnthropixError | None = None
        try:
            SWEEPER.watch(post)
            post.requester.send(request, decode_json)
        except AnthropixError as exc:
            if not (isinstance(exc, BadRequestError) and post.requester.attempts > 1):
                error = exc  # else an earlier attempt had arrived, and its response was lost
                post.requester.annotate(exc)
        finally:
            SWEEPER.unwatch(post)
            post.requester.let_go()
            self._post = None
        post.log_end(error)
        return error


def result_of(call: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Return the event that tells a session what came of a call.

    Example:
        >>> result_of({"id": "sevt_1"}, Outcome("8 degrees"))["content"]
        [{'type': 'text', 'text': '8 degrees'}]
    """
    given: list[Any] = [outcome.content] if isinstance(outcome.content, str) else outcome.content
    content = {"content": blocks} if (blocks := [_block(each) for each in given if each]) else {}
    error = {"is_error": True} if outcome.is_error else {}
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call["id"], **content, **error}


def _block(part: Any) -> Any:
    """Return a block that a session takes: it takes no references to tools."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "text", "text": part["tool_name"]} if part["type"] == "tool_reference" else part
