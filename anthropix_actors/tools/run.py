"""The calls of one answer, run; and the user's message that answers them."""

from __future__ import annotations

import contextlib
import os
import queue
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import SLICE
from anthropix_actors._checks.shapes import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import CancelledError, ParameterError, Problem
from anthropix_actors.tools.call import Call, Outcome
from anthropix_actors.tools.tool_call import ToolCall
from anthropix_actors.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anthropix_actors._calls.cancel_token import CancelToken

_STOPPED = "tool_use"


def run_tools(  # noqa: PLR0913 - options, by name
    message: Mapping[str, Any],
    tools: Toolbox | Iterable[Any],
    *,
    tools_at_once: int = 8,
    cancel: CancelToken | None = None,
    approve: Callable[[Call], object] | None = None,
    on_progress: Callable[[ToolCall, Any], object] | None = None,
) -> dict[str, Any]:
    """Run the calls of an answer, and return the user's message that answers them, to be sent next.

    It has one result for each call, in the model's order. Calls run at once, each on a thread of its own; a tool that
    is `alone` runs when those before it have ended, and those after it wait. Every call gets its result, whatever
    happens: what a tool raises, that its time ran out, that it was cancelled or not allowed, that there is no such
    tool. An answer that ended with anything but `tool_use` was cut, perhaps in a call: its calls are not run, and told
    so.

    Args:
        message: The answer: a Message, or any mapping with its `content`.
        tools: What the chat got as `tools`.
        tools_at_once: How many calls may run at once.
        cancel: Its `cancel()` ends the calls that run; they and those that have not begun get results that say so.
        approve: Called with each `Call` of a tool that was made with `approve=True`, on this thread, before it runs;
            it runs if the value is true.
        on_progress: Called with a `ToolCall`, and what its tool tells of how far it is, on the tool's thread.

    Raises:
        ParameterError: the answer calls no tool; it calls one that was given as a dict, which only you can run; or a
            tool needs approval, and there is no `approve`. Nothing was run.

    Example:
        >>> from anthropix_actors import tool
        >>> @tool
        ... def add(a: int, b: int) -> int:
        ...     return a + b
        >>> call = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": 2}}
        >>> run_tools({"role": "assistant", "content": [call], "stop_reason": "tool_use"}, [add])
        {'role': 'user', 'content': [{'type': 'tool_result', 'tool_use_id': 'toolu_1', 'content': '3'}]}
    """
    box = tools if isinstance(tools, Toolbox) else Toolbox(tools)
    blocks = _calls_of(message, box)
    problems = _problems(box, tools_at_once, approve)
    if problems:
        raise ParameterError(problems)
    reason = message.get("stop_reason") or _STOPPED
    if reason != _STOPPED:
        text = f"not started: the answer ended with {reason}, so this call may have been cut"
        outcomes = [Outcome(text, is_error=True, state="not started")] * len(blocks)
    else:
        outcomes = _Run(blocks, box, tools_at_once, approve, on_progress).outcomes(cancel)
    content = [outcome.block(block["id"]) for outcome, block in zip(outcomes, blocks, strict=True)]
    return {"role": "user", "content": content}


def _calls_of(message: Any, box: Toolbox) -> list[Mapping[str, Any]]:
    """Return the calls of an answer.

    Raises:
        ParameterError: there are none, or some that only the caller can run.
    """
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        raise ParameterError([Problem("message", f"expected an answer, with its content, got {shown(message)}")])
    found: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    for index, block in enumerate(content):
        if isinstance(block, Mapping) and block.get("type") == "tool_use":
            found.append(block)
            name = block.get("name")
            if not isinstance(name, str) or not isinstance(block.get("id"), str):
                problems.append(Problem(f"message.content[{index}]", "expected a tool_use with its id and name"))
                continue
            if box.knows(name) and box.get(name) is None:
                what = f"{name!r} was given as a dict: only you can run it; make a tool of it with tool(..., name=...)"
                problems.append(Problem(f"message.content[{index}]", what))
    if not found:
        reason = message.get("stop_reason")
        problems.append(Problem("message.content", f"expected a tool_use, got none: stop_reason is {shown(reason)}"))
    if problems:
        raise ParameterError(problems)
    first: dict[str, Mapping[str, Any]] = {}
    for block in found:
        first.setdefault(block["id"], block)  # an odd model may repeat one: a call runs once
    return [*first.values()]


def _problems(box: Toolbox, tools_at_once: Any, approve: Any) -> list[Problem]:
    problems: list[Problem] = []
    if isinstance(tools_at_once, bool) or not isinstance(tools_at_once, int) or tools_at_once < 1:
        problems.append(Problem("tools_at_once", f"expected an integer from 1, got {shown(tools_at_once)}"))
    if approve is None:
        needing = [each.name for each in box if not isinstance(each, dict) and each.approve]
        problems += [Problem("approve", f"expected a function: {name!r} needs approval") for name in needing]
    return problems


class _Run:
    """The calls of one answer. `cancel` may be called from any thread, the rest in the caller's."""

    def __init__(
        self,
        blocks: list[Mapping[str, Any]],
        box: Toolbox,
        tools_at_once: int,
        approve: Callable[[Call], object] | None,
        on_progress: Callable[[ToolCall, Any], object] | None,
    ) -> None:
        self._blocks = blocks
        self._box = box
        self._at_once = tools_at_once
        self._approve = approve
        self._on_progress = on_progress
        self._ended: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._outcomes: dict[int, Outcome] = {}
        self._running: dict[int, ToolCall] = {}
        self._reason: str | None = None
        self._process = os.getpid()

    def outcomes(self, cancel: CancelToken | None) -> list[Outcome]:
        """Run all calls; return their outcomes, in their order."""
        if cancel is not None:
            cancel.add(self)
        try:
            for group in self._groups():
                self._run(group)
        except BaseException:  # Ctrl-C, or what `approve` raises
            self.cancel("interrupted")
            raise
        return [self._outcomes[index] for index in range(len(self._blocks))]

    def cancel(self, reason: str) -> bool:
        """End all calls; return whether this call did it."""
        first, self._reason = self._reason is None, self._reason or reason
        for call in list(self._running.values()):
            call.cancel(reason)
        self._ended.put(None)
        return first

    def _groups(self) -> Iterator[list[tuple[int, ToolCall]]]:
        """Yield the calls that may run at once. A call of no tool has its outcome at once."""
        group: list[tuple[int, ToolCall]] = []
        for index, block in enumerate(self._blocks):
            tool = self._box.get(block["name"])
            if tool is None or "input_json" in block:
                self._outcomes[index] = self._refused(block)
                continue
            call = ToolCall(tool, block["id"], block.get("input"), self._on_progress, self._ended_one)
            if not tool.alone:
                group.append((index, call))
                continue
            yield from (group, [(index, call)])
            group = []
        yield group

    def _ended_one(self, call: ToolCall, _: Outcome) -> None:
        self._ended.put(call)

    def _refused(self, block: Mapping[str, Any]) -> Outcome:
        if "input_json" in block:
            text = "not started: the input is not valid JSON"
        else:
            names = ", ".join(each.name for each in self._box if not isinstance(each, dict))
            text = f"not started: there is no tool {block['name']!r}; there are: {names or 'none'}"
        return Outcome(text, is_error=True, state="not started")

    def _run(self, group: list[tuple[int, ToolCall]]) -> None:
        """Run the calls of a group. Those that need no approval start first, so that they do not wait for any."""
        waiting = deque(sorted(group, key=lambda each: each[1].tool.approve))
        while waiting or self._running:
            while waiting and len(self._running) < self._at_once:
                self._start(*waiting.popleft())
            self._wait()

    def _start(self, index: int, call: ToolCall) -> None:
        asks = self._reason is None and call.tool.approve and self._approve is not None
        allowed: object = self._approve(call.call) if asks and self._approve is not None else True
        if allowed is not True:  # a text that says why not is no permission
            text = f"not started: the user did not allow this call{f': {allowed}' if isinstance(allowed, str) else ''}"
            self._outcomes[index] = Outcome(text, is_error=True, state="not started")
            return
        self._running[index] = call
        if self._reason is not None:  # asked after it is among those that `cancel` reaches
            call.cancel(self._reason)
        call.start()

    def _wait(self) -> None:
        """Wait until a call has ended, and take what has.

        Raises:
            CancelledError: this is a forked child, and the calls go on in the parent.
        """
        while self._running and all(call.outcome is None for call in self._running.values()):
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=SLICE)
        if os.getpid() != self._process:
            raise CancelledError("the process was forked; the calls go on in the parent")
        for index, call in list(self._running.items()):
            if call.outcome is not None:
                self._outcomes[index] = call.outcome
                del self._running[index]


publish("anthropix_actors", (run_tools,))
