"""`CallServer`: runs the calls of a session, each once.

The task's thread follows the session, and says which calls wait (`update`). Each tool, and each approval, runs on the
thread of its `ToolCall`, whose outcome comes from any thread; another one sends the answers. The lock guards what they
share; nothing foreign runs while it is held.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.log import log
from anthropix_actors.sessions.answers import Answer, Answers, result_of
from anthropix_actors.sessions.messages import (
    SessionApprovalGiven,
    SessionApprovalNeeded,
    SessionToolDone,
    SessionToolProgress,
    SessionToolStarted,
)
from anthropix_actors.sessions.open_calls import CUSTOM
from anthropix_actors.tools.call import Outcome
from anthropix_actors.tools.definition import tool_of_actor
from anthropix_actors.tools.tool_call import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.tools.toolbox import Toolbox

_GONE = "the session no longer waits for this call"
_NOT_ALLOWED = "not started: the user did not allow this call"


class CallServer:
    """The calls of one served session.

    Args:
        core: The client's core.
        tools: The tools.
        approver: Is told the `Call`s that need an approval, and answers them; None leaves them to others.
        at_once: How many tools may run at once.
        request: Returns the request that sends an event.
        tell: Tells the subscribers a message; from any thread, without waiting.
    """

    def __init__(  # noqa: PLR0913 - its parts, by name
        self,
        core: ClientCore,
        *,
        tools: Toolbox,
        approver: Subscriber | None,
        at_once: int,
        request: Callable[[Mapping[str, Any]], Request],
        tell: Callable[[Callable[[Any], Any]], object],
    ) -> None:
        """Start without calls."""
        self._tools = tools
        self._approver = approver
        self._at_once = at_once
        self._tell = tell
        # Reentrant, as a signal handler may cancel while the thread that it interrupts holds it.
        self._lock = threading.RLock()
        self._waiting: Mapping[str, dict[str, Any]] = {}  # in the session
        self._taken: set[str] = set()  # calls that were begun here: none is begun twice
        self._queued: deque[tuple[dict[str, Any], ToolCall]] = deque()
        self._running: dict[str, ToolCall] = {}
        self._asking: dict[str, ToolCall] = {}
        self._answers = Answers(core, request, is_moot=self._is_moot, done=self._tell_done)
        self._ended: str | None = None

    # In the task's thread

    def update(self, waiting: Mapping[str, dict[str, Any]]) -> None:
        """Begin the calls that wait, and end those that no longer do."""
        self._waiting = waiting
        with self._lock:
            new = [call for call_id, call in waiting.items() if call_id not in self._taken and self._is_ours(call)]
            self._taken |= {call["id"] for call in new}
            gone = [each for call_id, each in {**self._running, **self._asking}.items() if call_id not in waiting]
            self._queued = deque(each for each in self._queued if each[0]["id"] in waiting)
        for each in gone:
            each.cancel(_GONE)
        for call in new:
            self._begin(call)
        self._start_next()

    def _is_ours(self, call: Mapping[str, Any]) -> bool:
        return self._tools.get(call["name"]) is not None if call["type"] == CUSTOM else self._approver is not None

    def _begin(self, call: dict[str, Any]) -> None:
        tool = self._tools.get(call["name"]) if call["type"] == CUSTOM else None
        if tool is None or tool.approve:
            self._ask(call)
        else:
            self._queue(call)

    # Approvals

    def _ask(self, call: dict[str, Any]) -> None:
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", call["name"])[:128] or "tool"
        asked = tool_of_actor(name, self._approver)
        asking = ToolCall(asked, call["id"], call.get("input"), on_outcome=lambda _, it: self._decided(call, it))
        with self._lock:
            self._asking[call["id"]] = asking
        self._tell(lambda session: SessionApprovalNeeded(session, call))
        self._start(asking)

    def _decided(self, call: dict[str, Any], outcome: Outcome) -> None:
        """Do what was decided. Any thread."""
        with self._lock:
            self._asking.pop(call["id"], None)
        if outcome.state in ("cancelled", "not started"):  # nobody has decided, and perhaps others will
            if self._ended is None and call["id"] in self._waiting:
                log(logging.WARNING, "nobody could be asked about the call %s: %s", call["id"], outcome.content)
            return
        allow = outcome.content == "true" and not outcome.is_error
        why = "" if outcome.content in ("true", "false") else _text_of(outcome.content)
        self._tell(lambda session: SessionApprovalGiven(session, call, allow, why))
        if call["type"] != CUSTOM:
            event = {
                "type": "user.tool_confirmation",
                "tool_use_id": call["id"],
                "result": "allow" if allow else "deny",
            }
            self._answers.send(Answer(call, event if allow or not why else {**event, "deny_message": why}, None))
        elif allow:
            self._queue(call)
            self._start_next()
        else:
            text = f"{_NOT_ALLOWED}: {why}" if why else _NOT_ALLOWED
            outcome = Outcome(text, is_error=True, state="not started")
            self._answers.send(Answer(call, result_of(call, outcome), outcome))

    # Tools

    def _queue(self, call: dict[str, Any]) -> None:
        tool = self._tools.get(call["name"])
        assert tool is not None
        running = ToolCall(
            tool,
            call["id"],
            call.get("input"),
            on_progress=lambda _, data: self._tell(lambda session: SessionToolProgress(session, call, data)),
            on_outcome=lambda _, outcome: self._done(call, outcome),
        )
        with self._lock:
            self._queued.append((call, running))

    def _start_next(self) -> None:
        """Start the calls whose turn has come: an `alone` tool waits for those before it, and those after it for it."""
        while True:
            with self._lock:
                if not self._queued or not self._has_room(self._queued[0][1]):
                    return
                call, running = self._queued.popleft()
                self._running[call["id"]] = running
            self._tell(lambda session, call=call: SessionToolStarted(session, call))  # type: ignore[misc]
            self._start(running)

    def _has_room(self, following: ToolCall) -> bool:
        if following.tool.alone or any(each.tool.alone for each in self._running.values()):
            return not self._running
        return len(self._running) < self._at_once

    def _start(self, running: ToolCall) -> None:
        if self._ended is not None:  # asked after it is among those that `end` reaches
            running.cancel(self._ended)
        running.start()

    def _done(self, call: dict[str, Any], outcome: Outcome) -> None:
        """Send what came of a tool. Any thread."""
        with self._lock:
            self._running.pop(call["id"], None)
        answer = Answer(call, result_of(call, outcome), outcome)
        if self._is_moot(call):
            self._tell_done(answer, sent=False)
        else:
            self._answers.send(answer)
        self._start_next()

    def _is_moot(self, call: Mapping[str, Any]) -> bool:
        return self._ended is not None or call["id"] not in self._waiting

    def _tell_done(self, answer: Answer, *, sent: bool, error: AnthropixError | None = None) -> None:
        """Tell what came of a tool, and whether the session has been told. Any thread."""
        outcome = answer.outcome
        if outcome is not None:
            self._tell(
                lambda session: SessionToolDone(
                    session,
                    answer.call,
                    outcome.content,
                    is_error=outcome.is_error,
                    seconds=outcome.seconds,
                    state=outcome.state,
                    sent=sent,
                    error=error,
                )
            )

    def end(self, reason: str) -> None:
        """End all calls, and send nothing more. Returns at once. Any thread."""
        with self._lock:
            if self._ended is not None:
                return
            self._ended = reason
            self._queued.clear()
            running = [*self._running.values(), *self._asking.values()]
        for each in running:
            each.cancel(reason)
        self._answers.end(reason)

    def after_fork(self) -> None:
        """End it in a forked child: the calls go on in the parent."""
        self._lock = threading.RLock()
        self._ended = "the process was forked"
        self._answers.after_fork()


def _text_of(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else " ".join(str(block.get("text", "")) for block in content)
