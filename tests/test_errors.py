from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

import anthropix_actors
from anthropix_actors import errors
from anthropix_actors.errors import (
    AnthropixError,
    APIError,
    CancelledError,
    DeadlockError,
    OutputError,
    ParameterError,
    Problem,
    status_error_class,
)
from anthropix_actors.stores import Held, Unreadable, log

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
OF_STORES = [cls for _, cls in inspect.getmembers(log, inspect.isclass) if cls.__module__ == "anthropix_actors.stores"]


class MineError(AnthropixError):
    """As a program may have one."""

    def __init__(self, place: str, number: int, *, loud: bool) -> None:
        super().__init__(f"{place} {number}")
        self.loud = loud


def drawn() -> dict[str, tuple[str | None, str]]:
    """Read the tree in the docstring: class → (parent, what stands beside it)."""
    found: dict[str, tuple[str | None, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}([│├└─ ]*)(\w+Error)\b(.*)", line)
        if match:
            depth, name, beside = len(match[1]), match[2], match[3]
            while above and above[-1][0] >= depth:
                above.pop()
            found[name] = (above[-1][1] if above else None, beside)
            above.append((depth, name))
    return found


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    tree = drawn()
    assert set(tree) == {cls.__name__ for cls in CLASSES}
    for cls in CLASSES:
        parent, beside = tree[cls.__name__]
        if parent is not None:
            assert cls.__base__ is not None
            assert cls.__base__.__name__ == parent
        assert ("(ValueError)" in beside) is issubclass(cls, ValueError)


def test_the_statuses_and_types_in_the_docstring_are_those_of_the_table() -> None:
    for name, (_, beside) in drawn().items():
        match = re.match(r"\s+(\d{3})(?: (\w+_error|request_too_large))?", beside)
        if match:
            assert status_error_class(int(match[1]), None).__name__ == name
            if match[2]:
                assert status_error_class(200, match[2]).__name__ == name


def test_every_class_can_be_imported_from_the_top() -> None:
    assert all(getattr(anthropix_actors, cls.__name__) is cls for cls in CLASSES)


def example(cls: type[Any]) -> Any:
    error: Any
    if issubclass(cls, ParameterError):
        error = cls([Problem("model", "required"), Problem("top_k", "odd")])
    elif issubclass(cls, APIError):
        error = cls("no", status=500, type="api_error", body={"a": 1}, retry_after=2.0, retryable=True)
    elif cls is Held:
        error = Held("a", "hub-1")
    elif cls is Unreadable:
        error = Unreadable("a", 3, "it is no JSON")
    elif cls is MineError:
        error = MineError("here", 1, loud=True)
    else:
        error = cls("why")
    error.partial, error.request_id, error.attempts = {"content": []}, "req_1", 3
    return error


@pytest.mark.parametrize(
    "cls",
    [*CLASSES, *(cls for cls in OF_STORES if issubclass(cls, AnthropixError)), MineError],
    ids=lambda cls: cls.__name__,
)
def test_an_error_survives_pickling_and_copying(cls: type[Any]) -> None:
    error = example(cls)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is cls
        assert other.__dict__ == error.__dict__
        assert str(other) == str(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_has_what_was_promised_from_the_beginning(cls: type[Any]) -> None:
    error: AnthropixError = cls([]) if cls is ParameterError else cls("why")
    assert (error.partial, error.request_id, error.attempts) == (None, None, 0)


def test_the_text_of_an_api_error_has_what_support_asks_for() -> None:
    error = APIError("Overloaded", status=529, type="overloaded_error")
    assert str(error) == "overloaded_error: Overloaded (status 529)"
    error.request_id, error.attempts = "req_1", 3
    assert str(error) == "overloaded_error: Overloaded (status 529, request req_1, attempts 3)"
    assert str(APIError("reset")) == "reset"


def test_the_text_of_a_parameter_error_lists_all_problems() -> None:
    error = ParameterError([Problem("model", "required, and missing"), Problem("top_k", "expected an integer")])
    assert str(error) == "model: required, and missing\ntop_k: expected an integer"
    assert error.problems[1] == ("top_k", "expected an integer")


def test_a_cancelled_error_knows_its_reason() -> None:
    assert CancelledError("enough").reason == "enough"


def test_every_error_says_whether_the_same_again_may_help() -> None:
    assert not CancelledError("x").retryable
    assert APIError("x", retryable=True).retryable
    assert all(cls.retryable is False for cls in (AnthropixError, DeadlockError, OutputError, ParameterError))
