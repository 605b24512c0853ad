"""What a tool returns or raises → what the model is told. Pure, but that it reads files which are to be sent.

Values and errors are foreign code: whatever encoding or describing them raises becomes an error for the model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from anthropix_actors._checks.block_shapes import TOOL_RESULT_CONTENT
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._checks.shapes import problems_of
from anthropix_actors._checks.unknown_keys import unknown_keys
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.raised import is_a, kind_of
from anthropix_actors.content.refusals import refused
from anthropix_actors.tools.errors import InputError, NotStartedError, ToolError

if TYPE_CHECKING:
    from anthropix_actors.errors import Problem
    from anthropix_actors.tools.call import State

MOST_CHARACTERS = 4_000_000
"""The longest text of a result: more than fits into the context of any model."""

MOST_BYTES = 24 << 20
"""The largest result, with its images and documents: a whole request may have 32 MB."""

_LONGEST_ERROR = 20_000


class Result(NamedTuple):
    """What the model is told of a call: the content, whether it is an error, and how the call ended."""

    content: str | list[dict[str, Any]]
    is_error: bool
    state: State


class _OddError(Exception):
    """A value of which no content can be made; the text says why."""


def result_of(value: Any) -> Result:
    """Return what the model is told of a value that a tool returned.

    Example:
        >>> result_of({"degrees": 8}).content, result_of(None).content
        ('{"degrees":8}', '')
        >>> result_of(object())
        Result(content='the tool ran, but what it returned cannot be sent: ...', is_error=True, state='failed')
    """
    try:
        content = content_of(value)
    except BaseException as exc:  # noqa: BLE001 - a property or an iterator of the caller's class may raise anything
        log(logging.ERROR, "the value that a tool returned cannot be sent: %s", _text_of(exc), exc_info=exc)
        _close(value)
        return Result(
            f"the tool ran, but what it returned cannot be sent: {_text_of(exc)}", is_error=True, state="failed"
        )
    return Result(content, is_error=False, state="done")


def failure_of(error: BaseException) -> Result:
    """Return what the model is told of an exception.

    Example:
        >>> failure_of(KeyError("city")).content, failure_of(ToolError("no such city")).content
        ("KeyError: 'city'", 'no such city')
    """
    if is_a(error, InputError):
        text = f"the input does not fit, and the tool was not run:\n{_text_of(error)}"
        return Result(text[:_LONGEST_ERROR], is_error=True, state="not started")
    if is_a(error, ToolError):
        state: State = "not started" if is_a(error, NotStartedError) else "failed"
        return Result(_words_of(error), is_error=True, state=state)
    said = _text_of(error)
    text = f"{kind_of(error)}: {said}" if said else kind_of(error)
    return Result(text[:_LONGEST_ERROR], is_error=True, state="failed")


def log_failure(name: str, error: BaseException) -> None:
    """Log what a tool raised, with its traceback; not what it raised for the model."""
    if not is_a(error, ToolError, InputError):
        log(logging.ERROR, "the tool %s raised %s", name, kind_of(error), exc_info=error)


def content_of(value: Any) -> str | list[dict[str, Any]]:
    """Return a value as the content of a result: a text, or blocks. A str is itself, and None is "".

    A dict that is a content block, or a list with one in it, becomes blocks: texts among them become text blocks, and
    anything else its JSON. Any other value becomes JSON.

    Raises:
        Exception: nothing can be made of it; foreign code may raise anything.

    Example:
        >>> content_of(["a map", {"type": "image", "source": {"type": "url", "url": "https://example.org/map.png"}}])
        [{'type': 'text', 'text': 'a map'}, {'type': 'image', 'source': {'type': 'url', 'url': ...}}]
        >>> content_of([1, 2.5, None])
        '[1,2.5,null]'
    """
    if _is_block(value):
        return _blocks_of([value])
    if isinstance(value, (list, tuple)) and any(map(_is_block, value)):
        return _blocks_of(value)
    return _checked_text(_text(value))


def _is_block(value: Any) -> bool:
    """Return whether a value is a content block, and not data that have a `type`, too."""
    if not isinstance(value, Mapping):
        return False
    match value.get("type"):
        case "text":
            return isinstance(value.get("text"), str)
        case "image" | "document":
            return isinstance(value.get("source"), Mapping)
        case "search_result":
            return "source" in value and "content" in value
        case kind:
            return kind == "tool_reference" and "tool_name" in value


def _blocks_of(values: Any) -> list[dict[str, Any]]:
    found: list[Problem] = []
    given = [each if _is_block(each) else {"type": "text", "text": _text(each)} for each in values]
    blocks = [block for block in copy_json(given, "result", found) if not _is_blank(block)]
    found += [problem for index, block in enumerate(blocks) for problem in _problems(block, f"result[{index}]")]
    found = found or [*refused(blocks, "result")]
    if found:
        raise _OddError("; ".join(map(str, found)))
    for block in blocks:
        _checked_text(block["text"] if block["type"] == "text" else "")
    if (size := len(msgspec.json.encode(blocks))) > MOST_BYTES:
        raise _OddError(f"it has {size:,} bytes; a result may have at most {MOST_BYTES:,}")
    return blocks


def _problems(block: Any, place: str) -> list[Problem]:
    return list(problems_of(TOOL_RESULT_CONTENT, block, place)) or [*unknown_keys(TOOL_RESULT_CONTENT, block, place)]


def _is_blank(block: dict[str, Any]) -> bool:
    """Return whether a block is a blank text, which the API refuses."""
    text = block.get("text")
    return block["type"] == "text" and isinstance(text, str) and not text.strip()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        text = str.__str__(value)
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair
    try:
        return msgspec.json.encode(value).decode()
    except TypeError as exc:
        raise _OddError(f"{type(value).__name__}: {exc}") from exc


def _checked_text(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise _OddError(f"its text has {len(text):,} characters; a result may have at most {MOST_CHARACTERS:,}")
    return text if text.strip() else ""


def _words_of(error: ToolError) -> str | list[dict[str, Any]]:
    """Return what a `ToolError` says: not nothing, and only text, as the API takes no other errors."""
    try:
        made = content_of(error.content)
    except BaseException as exc:  # noqa: BLE001 - as in `result_of`
        return f"the tool failed, and what it says of that cannot be sent: {_text_of(exc)}"
    if isinstance(made, list):
        made = [block if block["type"] == "text" else _left_out(block) for block in made]
    return made or "the tool failed, and did not say why"


def _left_out(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": f"({json.dumps(block['type'])} is left out: an error has only text)"}


def _text_of(error: BaseException) -> str:
    try:
        text = str.__str__(str(error))
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    except BaseException as exc:  # noqa: BLE001 - the caller's own class
        return f"(its text cannot be had: {kind_of(exc)})"


def _close(value: Any) -> None:
    """Close a coroutine that nobody awaits: Python warns of it otherwise."""
    if type(value) is CoroutineType:
        value.close()
