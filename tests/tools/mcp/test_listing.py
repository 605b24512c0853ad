"""The tools that servers list."""

from __future__ import annotations

from typing import Any

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.tools import InputError
from anthropix_actors.tools.mcp.listing import Wanted, tools_of

SCHEMA = {"type": "object", "properties": {"path": {"type": "string", "format": "odd"}}, "$defs": {}}


def listed(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": SCHEMA, **more}


def made(*listing: dict[str, Any], approve: Any = False, **wanted: Any) -> Any:
    strict = wanted.pop("strict", True)
    given: Any = {"prefix": "", "only": None, "timeout": 5.0, **wanted}
    return tools_of(listing, Wanted(**given, approve=approve), print, strict=strict)


def test_a_schema_passes_as_it_is() -> None:
    (tool,) = made(listed("read", description="Reads."), prefix="my_")
    assert tool.wire == {"name": "my_read", "description": "Reads.", "input_schema": SCHEMA}
    assert tool.timeout == 5.0
    with pytest.raises(InputError):
        tool.arguments([])


@pytest.mark.parametrize(
    ("hints", "how"),
    [
        (None, (False, False)),
        ({"readOnlyHint": True}, (True, False)),
        ({"readOnlyHint": True, "destructiveHint": True}, (False, False)),
        ({"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}, (True, True)),
        ({"destructiveHint": False}, (False, False)),
        ({"readOnlyHint": "yes", "idempotentHint": 1}, (False, False)),
    ],
)
def test_hints_say_how_a_tool_may_be_run(hints: Any, how: tuple[bool, bool]) -> None:
    (tool,) = made(listed("read", annotations=hints, title="Read"))
    assert (tool.safe, tool.idempotent) == how
    assert tool.description == "Read"


def test_who_needs_approval_is_said_by_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    def is_b(tool: Any) -> bool:
        return str(tool.name) == "b"

    def fails(tool: Any) -> bool:
        raise SystemExit(tool.name)

    assert [tool.approve for tool in made(listed("a"), listed("b"), approve=True)] == [True, True]
    assert [tool.approve for tool in made(listed("a"), listed("b"), approve=is_b)] == [False, True]
    assert [tool.approve for tool in made(listed("a"), approve=fails)] == [True]
    assert "which so needs approval" in caplog.text


@pytest.mark.parametrize(
    ("names", "wanted", "words"),
    [
        (["a.b", "a/b"], {}, "a_b: the server has two tools of this name: choose with only="),
        (["a"], {"only": frozenset({"b", "c"})}, "only: expected names of its tools, a; got b, c"),
        (["a" * 127], {"prefix": "my_"}, "the API takes names of 1 to 128"),
    ],
)
def test_what_the_api_would_not_take_is_refused(names: list[str], wanted: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        made(*map(listed, names), **wanted)


def test_a_tool_of_only_may_vanish_later() -> None:
    assert [tool.name for tool in made(listed("a.x"), listed("b"), only=frozenset({"a.x", "c"}), strict=False)] == [
        "a_x"
    ]
