"""Hints for users of other libraries: what to write instead; and signatures for completion and `help`. Pure."""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from anthropix_actors._foreign.log import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

F = TypeVar("F", bound="Callable[..., Any]")

ASK = 'client.chat(model="...", messages=[{"role": "user", "content": "..."}])'

OF_A_CLIENT = {
    "messages": (
        "messages.create(...) is client.chat(...) here, messages.stream(...) is client.chat(..., stream=True), "
        "messages.count_tokens(...) is client.count_tokens(...), messages.batches is client.batches"
    ),
    "beta": (
        'its methods are elsewhere here: client.chat(..., beta="..."), client.files, client.sessions; '
        "client.request(...) and client.paginate(...) for every other endpoint"
    ),
    "completions": f"the API no longer has completions: {ASK}",
    "complete": f"the API no longer has completions: {ASK}",
    "skills": 'client.paginate("/skills"), client.request("POST", "/skills", ...)',
    "organization": 'client.paginate("/organizations/users"), client.request(...); client.endpoints() lists all',
    "user_profiles": 'client.paginate("/user_profiles"), client.request("POST", "/user_profiles", ...)',
    "with_options": "pass options to the call: client.chat(..., timeout=60, max_retries=0)",
    "copy": "pass options to the call: client.chat(..., timeout=60, max_retries=0); or make another client",
    "with_raw_response": "chat.response_headers and chat.request_id, of client.chat(..., stream=subscriber)",
    "with_streaming_response": "client.request(..., stream=True)",
    "get": 'client.request("GET", path, params={...})',
    "post": 'client.request("POST", path, json={...})',
    "delete": 'client.request("DELETE", path)',
    "stream": f"{ASK[:-1]}, stream=True)",
    "create": ASK,
}
"""Attributes of the official SDK's client, and others that its users look for."""

OF_A_STREAM = {
    "text_stream": "stream.text",
    "get_final_message": "stream.message()",
    "get_final_text": "text_of(stream.message()), with text_of from anthropix_actors",
    "until_done": "stream.message()",
    "current_message_snapshot": "stream.snapshot",
    "request_id": "stream.chat.request_id",
    "response": "stream.chat.response_headers",
    "cancel": "stream.close(), or stream.chat.cancel(reason) from another thread",
    "result": "stream.message()",
    "subscribe": "stream.chat.subscribe(subscriber)",
}
"""Attributes of the official SDK's streams, and of a chat."""

_RESULT = "chat.result(timeout=60), which waits for the Message; chat.snapshot() is the Message so far"

OF_A_CHAT = {
    **dict.fromkeys(("message", "get", "wait", "join", "get_final_message", "current_message_snapshot"), _RESULT),
    "text": "text_of(chat.result(timeout=60)), with text_of from anthropix_actors",
    "content": 'chat.result(timeout=60)["content"]',
    "usage": 'chat.result(timeout=60)["usage"]',
    "done": 'chat.state, which is "done", "failed" or "cancelled" when it has finished',
    "is_done": 'chat.state, which is "done", "failed" or "cancelled" when it has finished',
    "cancelled": 'chat.state == "cancelled"',
    "exception": "chat.result(timeout=60), which raises it",
    "close": "chat.cancel(reason)",
    "events": "chat.subscribe(subscriber), which delivers them from the beginning; or stream=True for a loop",
    "model": 'chat.result(timeout=60)["model"]',
}
"""Attributes of a Future, a thread or a stream, which users may expect of a chat."""

_SAY = 'talk.say("...")'
_TURN_RESULT = "turn.result(timeout=60), which waits for the last answer, a Message"

OF_A_CONVERSATION = {
    **dict.fromkeys(("chat", "send", "send_message", "run", "invoke", "prompt", "stream"), _SAY),
    **dict.fromkeys(("result", "message", "get", "wait", "join", "output"), f"{_SAY}.result(timeout=60), of a turn"),
    **dict.fromkeys(("text", "pieces"), f"{_SAY}.{{}}, of a turn"),
    **dict.fromkeys(("messages", "get_history", "all_messages"), "talk.history()"),
    **dict.fromkeys(
        ("close", "end", "terminate"), "talk.stop(), which ends the conversation; talk.cancel() ends a turn"
    ),
    **dict.fromkeys(("state", "snapshot", "request_id"), "turn.{} of each turn in talk.turns"),
    "clear": "client.converse(agent), which begins another one; or talk.fork(at=0)",
    "approve": "talk.answer(approval, allow=True)",
}
"""Attributes of a turn, and of others' agents and chats, which users may expect of a conversation."""

OF_A_TURN = {
    **dict.fromkeys(("message", "get", "wait", "join", "final_output", "get_final_message"), _TURN_RESULT),
    **dict.fromkeys(("messages", "history"), "talk.history(), of its conversation; or a loop over the turn"),
    **dict.fromkeys(("done", "is_done"), 'turn.state, which is not "running" when it has ended'),
    **dict.fromkeys(("events", "stream"), "for message in turn"),
    **dict.fromkeys(("say", "answer"), "talk.{}(...), of its conversation"),
    "content": 'turn.result(timeout=60)["content"]',
    "cancelled": 'turn.state == "cancelled"',
    "exception": "turn.result(timeout=60), which raises it",
    "close": "turn.cancel(reason)",
}
"""Attributes of a chat, a Future or a stream, which users may expect of a turn."""


def missing(hints: Mapping[str, str]) -> Callable[[Any, str], NoReturn]:
    """Return a `__getattr__` whose error says what to write instead.

    Example:
        >>> class Answer:
        ...     __getattr__ = missing({"txt": "answer.text"})
        >>> Answer().txt
        Traceback (most recent call last):
        ...
        AttributeError: 'Answer' object has no attribute 'txt': answer.text
    """

    def __getattr__(self: Any, name: str) -> NoReturn:  # noqa: N807 - it becomes a class's `__getattr__`
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        hint = hints.get(name)
        raise AttributeError(f"{text}: {hint.replace('{}', name)}" if hint else text, name=name)

    return __getattr__


def only_by_aio(statement: str) -> Callable[..., NoReturn]:
    """Return a method of asyncio's, such as `__aenter__`, for what is no such thing: its error says how to have one.

    Not for `__await__`, nor for the `__aiter__` of what has an `__iter__`: frameworks look for these, and would take it
    for something else.
    """

    def refuse(self: Any, *_: object) -> NoReturn:
        raise TypeError(f"{statement} {type(self).__name__}: use aio(...) of it, from anthropix_actors.subscribers")

    return refuse


def by_name(what: str, given: tuple[object, ...]) -> None:
    """Raise if a parameter was passed by position.

    Raises:
        TypeError: `given` is not empty.
    """
    if given:
        example = ASK.replace("client.chat", f"client.{what}")
        if len(given) == 1 and isinstance(given[0], str):  # of several, it may be the model's name
            example = example.replace('"content": "..."', f'"content": {shown(given[0])}')
        raise TypeError(f"{what}() takes its parameters by name: {example}")


def shows(required: tuple[str, ...], optional: Mapping[str, object]) -> Callable[[F], F]:
    """Return a decorator that lists the names in `**params` in the function's signature, for `help` and completion.

    Args:
        required: Parameters without a default.
        optional: Parameters with a default, and their defaults.

    Example:
        >>> @shows(("model",), {"max_tokens": 4096})
        ... def ask(*given, stream=False, **params): ...
        >>> inspect.signature(ask)
        <Signature (*, model, stream=False, max_tokens=4096)>
    """

    def mark(function: F) -> F:
        own = inspect.signature(function)
        variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        kept = [parameter for parameter in own.parameters.values() if parameter.kind not in variable]
        parameters = [
            *(parameter for parameter in kept if parameter.kind is not Parameter.KEYWORD_ONLY),
            *(Parameter(name, Parameter.KEYWORD_ONLY) for name in required),
            *(parameter for parameter in kept if parameter.kind is Parameter.KEYWORD_ONLY),
            *(Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in optional.items()),
        ]
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return mark
