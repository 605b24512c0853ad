"""What people type who come from elsewhere, and what to write here; and what completion and `help` show. Pure."""

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
        'what is in it has no place of its own here: client.chat(..., beta="..."), client.files, client.sessions; '
        "client.request(...) and client.paginate(...) for every other endpoint"
    ),
    "completions": f"the API has none any more: {ASK}",
    "complete": f"the API has no completions any more: {ASK}",
    "skills": 'client.paginate("/skills"), client.request("POST", "/skills", ...)',
    "organization": 'client.paginate("/organizations/users"), client.request(...); client.endpoints() lists all',
    "user_profiles": 'client.paginate("/user_profiles"), client.request("POST", "/user_profiles", ...)',
    "with_options": "options are given to the call: client.chat(..., timeout=60, max_retries=0)",
    "copy": "options are given to the call: client.chat(..., timeout=60, max_retries=0); or make another client",
    "with_raw_response": "chat.response_headers and chat.request_id, of client.chat(..., stream=subscriber)",
    "with_streaming_response": "client.request(..., stream=True)",
    "get": 'client.request("GET", path, params={...})',
    "post": 'client.request("POST", path, json={...})',
    "delete": 'client.request("DELETE", path)',
    "stream": f"{ASK[:-1]}, stream=True)",
    "create": ASK,
}
"""Attributes that a client of the official SDK has, or that its users look for."""

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
"""Attributes that a stream of the official SDK has, or that a chat has."""

_RESULT = "chat.result(timeout=60), which waits for the Message; chat.snapshot() has what there is of it"

OF_A_CHAT = {
    **dict.fromkeys(("message", "get", "wait", "join", "get_final_message", "current_message_snapshot"), _RESULT),
    "text": "text_of(chat.result(timeout=60)), with text_of from anthropix_actors",
    "content": 'chat.result(timeout=60)["content"]',
    "usage": 'chat.result(timeout=60)["usage"]',
    "done": 'chat.state, which is "done", "failed" or "cancelled" when it is over',
    "is_done": 'chat.state, which is "done", "failed" or "cancelled" when it is over',
    "cancelled": 'chat.state == "cancelled"',
    "exception": "chat.result(timeout=60), which raises it",
    "close": "chat.cancel(reason)",
    "events": "chat.subscribe(subscriber), which tells them from the beginning; or stream=True for a loop",
    "model": 'chat.result(timeout=60)["model"]',
}
"""Attributes that a Future, a thread or a stream has, and that people look for at a chat."""


def missing(hints: Mapping[str, str]) -> Callable[[Any, str], NoReturn]:
    """Get a `__getattr__` that says what to write instead.

    Example:
        >>> class Answer:
        ...     __getattr__ = missing({"txt": "answer.text"})
        >>> Answer().txt
        Traceback (most recent call last):
        ...
        AttributeError: 'Answer' object has no attribute 'txt': answer.text
    """

    def __getattr__(self: Any, name: str) -> NoReturn:  # noqa: N807 - it becomes one
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        hint = hints.get(name)
        raise AttributeError(f"{text}: {hint}" if hint else text, name=name)

    return __getattr__


def by_name(what: str, given: tuple[object, ...]) -> None:
    """Refuse what is given by position.

    Raises:
        TypeError: there is something.
    """
    if given:
        example = ASK.replace("client.chat", f"client.{what}")
        if isinstance(given[0], str):
            example = example.replace('"content": "..."', f'"content": {shown(given[0])}')
        raise TypeError(f"{what}() takes its parameters by name: {example}")


def shows(required: tuple[str, ...], optional: Mapping[str, object]) -> Callable[[F], F]:
    """Let `help` and completion show by name what a function takes as `**params`: its `__signature__` says so.

    Args:
        required: Parameters without a default.
        optional: Others, and their defaults.

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


def no_subscriber(given: object) -> str | None:
    """Get what somebody is who cannot be told, and how to get one who can; None if `tell` can be called.

    Example:
        >>> no_subscriber(print)
        'a function; types.SimpleNamespace(tell=function) can be told'
        >>> import queue
        >>> no_subscriber(queue.SimpleQueue())
        'a queue, SimpleQueue; types.SimpleNamespace(tell=queue.put) can be told'
    """
    try:
        return _why_not(given)
    except Exception as exc:  # noqa: BLE001 - its attributes are a caller's own code
        return f"{type(given).__name__}, whose attributes raise {type(exc).__name__}"


def _why_not(given: object) -> str | None:
    if isinstance(given, type):
        return _class_hint(given)
    if callable(getattr(given, "tell", None)):
        return None
    put = getattr(given, "put", None)
    what = type(given).__name__
    if hasattr(given, "actor_ref"):  # an actor itself, or a proxy
        what = f"{what}; its ref can be told: .actor_ref"
    elif inspect.iscoroutinefunction(put):
        post = "lambda message: loop.call_soon_threadsafe(queue.put_nowait, message)"
        what = f"a queue of asyncio's; types.SimpleNamespace(tell={post}) can be told"
    elif callable(put):
        what = f"a queue, {what}; types.SimpleNamespace(tell=queue.put) can be told"
    elif callable(given):
        what = "a function; types.SimpleNamespace(tell=function) can be told"
    return what


def _class_hint(given: type) -> str:
    if hasattr(given, "on_receive") and hasattr(given, "start"):
        return f"the class {given.__name__}; an actor of it can be told: {given.__name__}.start()"
    if hasattr(given, "tell"):
        return f"the class {given.__name__}; an object of it can be told: {given.__name__}()"
    return f"the class {given.__name__}"
