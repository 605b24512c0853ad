from __future__ import annotations

from typing import Any

import pytest

from anthropix_actors import ParameterError, Tool, tool
from anthropix_actors.tools import Toolbox

from actors import Inbox, Reader

SEARCH = {"type": "web_search_20260318", "name": "web_search"}
OWN = {"name": "own", "input_schema": {"type": "object"}}


def add(a: int, b: int) -> int:
    return a + b


@tool
def multiply(a: int, b: int) -> int:
    return a * b


untyped = eval("lambda a: a")


class Station:
    @tool
    def read(self) -> int:
        return 1


def test_a_toolbox_takes_whatever_tools_takes_in_its_order() -> None:
    box = Toolbox([SEARCH, add, {"ask_user": Inbox(), "ask_boss": Inbox()}, multiply, OWN, Station().read])
    names = ["web_search", "add", "ask_user", "ask_boss", "multiply", "own", "read"]
    assert [each["name"] for each in box.wire] == names
    assert box.wire[0] == SEARCH
    assert box.wire[0] is not SEARCH
    assert box.get("multiply") is multiply
    assert isinstance(box.get("ask_user"), Tool)
    assert (box.get("own"), box.knows("own"), box.get("nothing"), box.knows("nothing")) == (None, True, None, False)
    assert repr(box) == f"<Toolbox {', '.join(names)}>"
    assert [each["name"] for each in Toolbox(box).wire] == names


def test_a_dict_without_a_name_is_passed_on() -> None:
    assert Toolbox([{"type": "mcp_toolset"}, {"type": "mcp_toolset"}]).wire == [{"type": "mcp_toolset"}] * 2


def test_what_is_no_tool_is_refused_with_its_place() -> None:
    class Unspeakable:
        def __getattribute__(self, name: str) -> Any:
            raise OSError("not today")

        def __call__(self) -> None: ...

    dead = Reader.start(Inbox())
    dead.stop()
    with pytest.raises(ParameterError) as caught:
        Toolbox([add, 5, untyped, {"ask": dead}, Tool.of(multiply, name="add"), Station.read, Unspeakable()])
    found = [str(problem) for problem in caught.value.problems]
    starts = [
        "tools[1]: expected a Tool, a function with type hints, {name: actor}, an Mcp, or a dict for the API, got 5",
        "tools[2]: <lambda>.a: expected a type hint",
        "tools[3]: actor: expected an actor that is alive, got Reader",
        "tools[4]: expected a name of its own; tools[0] is 'add', too",
        "tools[5]: read: got a method: expected that of an object, such as thing.read",
        "tools[6]: it cannot be read: not today",
    ]
    assert len(found) == len(starts), found
    assert all(text.startswith(start) for text, start in zip(found, starts, strict=True)), found


@pytest.mark.parametrize("tools", [None, 5, "add", {"ask_user": Inbox()}])
def test_a_toolbox_is_made_of_a_list(tools: Any) -> None:
    with pytest.raises(ParameterError, match="tools: expected a list of tools"):
        Toolbox(tools)
