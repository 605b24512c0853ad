from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ToolError, content
from anthropix_actors._checks.resolving import fits
from anthropix_actors.chat.parameters import TOOL_RESULT, chat_problems
from anthropix_actors.tools import InputError, Outcome, results
from anthropix_actors.tools.results import content_of, failure_of, log_failure, result_of

from actors import ASK

if TYPE_CHECKING:
    from pathlib import Path

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(8)


@dataclasses.dataclass
class Weather:
    city: str
    when: dt.date


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sunny", "sunny"),
        (Text("sunny"), "sunny"),
        ("", ""),
        (" \n", ""),
        (None, ""),
        (True, "true"),
        (8, "8"),
        (float("nan"), "null"),
        ([], "[]"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([{"type": "city", "name": "Bergen"}], '[{"type":"city","name":"Bergen"}]'),
        ({"type": "image", "width": 5}, '{"type":"image","width":5}'),
        ({"type": "text"}, '{"type":"text"}'),
        (Weather("Bergen", dt.date(2026, 1, 2)), '{"city":"Bergen","when":"2026-01-02"}'),
        ((Colour.RED, b"x"), '["red","eA=="]'),
        ("file \udcff", "file \\udcff"),
        ("grüße", "grüße"),
    ],
)
def test_a_value_is_a_text(value: Any, expected: str) -> None:
    assert content_of(value) == expected
    assert type(content_of(value)) is str


def test_blocks_stay_blocks_and_what_is_among_them_becomes_text(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG)
    made = content_of(("a map", content.image(picture), {"scale": 2}, "", {"type": "text", "text": " "}))
    picture.unlink()
    assert isinstance(made, list)
    assert [block["type"] for block in made] == ["text", "image", "text"]
    assert made[1]["source"]["data"] == "iVBORw0KGgoAAAAAAAAAAA=="
    assert made[2]["text"] == '{"scale":2}'
    assert fits({"type": "tool_result", **Outcome(made).block("toolu_1")}, TOOL_RESULT.type)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "sunny"},
        content.image("https://example.org/a.png"),
        content.document("https://example.org/a.pdf"),
        {"type": "search_result", "source": "a", "title": "b", "content": [{"type": "text", "text": "c"}]},
        {"type": "tool_reference", "tool_name": "add"},
    ],
)
def test_each_kind_of_block_is_one(block: Any) -> None:
    assert content_of(block) == [block]


class Hostile:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise self.error


class Loud(dict[str, Any]):
    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002
        raise SystemExit("loud")


def circle() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


async def later() -> None: ...


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object, "object: Encoding objects of type object is unsupported"),
        (circle, "maximum recursion depth exceeded"),
        (later, "coroutine: Encoding objects of type coroutine"),
        (lambda: (number for number in range(3)), "generator: Encoding"),
        (lambda: {(1, 2): 3}, "Only dicts with str-like or number-like keys"),
        (Loud, "loud"),
        (
            lambda: {"type": "image", "source": {"type": "base64", "data": 1}},
            "result[0].source.data: expected a string",
        ),
        (lambda: {"type": "image", "source": dict[str, Any]()}, "result[0].source.type: required, and missing"),
        (lambda: {"type": "text", "text": "\ud800"}, "result[0].text: expected text that UTF-8 can encode"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_cannot_be_sent_is_an_error_for_the_model(
    value: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = result_of(value())
    assert (made.is_error, made.state) == (True, "failed")
    assert str(made.content).startswith("the tool ran, but what it returned cannot be sent: ")
    assert words in made.content
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_a_huge_result_is_an_error_that_says_how_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    made = result_of("a" * 4_000_001)
    assert "its text has 4,000,001 characters; a result may have at most 4,000,000" in made.content
    assert not result_of("a" * 4_000_000).is_error
    assert result_of([{"type": "text", "text": "a" * 4_000_001}]).is_error
    monkeypatch.setattr(results, "MOST_BYTES", 100)
    assert "bytes; a result may have at most 100" in result_of(content.image(PNG + bytes(100))).content


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("city"), "KeyError: 'city'"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("\udcff"), "ValueError: \\udcff"),
        (UnspeakableError(), "UnspeakableError: (its text cannot be had: SystemExit)"),
        (ToolError("no such city"), "no such city"),
        (ToolError(""), "the tool failed, and did not say why"),
        (ToolError([]), "[]"),
        (ToolError(object()), "the tool failed, and what it says of that cannot be sent: object: Encoding"),  # type: ignore[arg-type]
        (ValueError("x" * 30_000), "ValueError: xxx"),
    ],
)
def test_an_error_is_told_to_the_model(error: BaseException, text: str) -> None:
    made = failure_of(error)
    assert (made.is_error, made.state) == (True, "failed")
    assert str(made.content).startswith(text)
    assert len(made.content) <= 20_000


def test_an_error_has_only_text() -> None:
    made = failure_of(ToolError(["look:", content.image(PNG)]))
    assert made.content == [
        {"type": "text", "text": "look:"},
        {"type": "text", "text": '("image" is left out: an error has only text)'},
    ]


def test_an_input_that_does_not_fit_was_not_run() -> None:
    made = failure_of(InputError([]))
    assert made.state == "not started"
    assert str(made.content).startswith("the input does not fit, and the tool was not run:\n")


def test_only_what_is_not_for_the_model_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log_failure("add", ToolError("no"))
    log_failure("add", InputError([]))
    assert not caplog.records
    log_failure("add", SystemExit(1))
    (record,) = caplog.records
    assert record.getMessage() == "the tool add raised SystemExit"
    assert record.exc_info is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("type"), inner),
)


@given(value=JSON, failed=st.booleans())
def test_whatever_a_tool_returns_the_api_takes_its_result(value: Any, failed: bool) -> None:  # noqa: FBT001
    made = failure_of(ToolError(value)) if failed else result_of(value)
    block = Outcome(made.content, made.is_error).block("toolu_1")
    call = {"type": "tool_use", "id": "toolu_1", "name": "a", "input": {}}
    messages = [*ASK["messages"], {"role": "assistant", "content": [call]}, {"role": "user", "content": [block]}]
    assert not chat_problems({**ASK, "max_tokens": 9, "messages": messages}, api_version="2023-06-01")
    assert block.get("content") != ""
