from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ParameterError
from anthropix_actors._checks.suggest import slip
from anthropix_actors.subscribers import Handlers, Listener, to_loop

if TYPE_CHECKING:
    from collections.abc import Callable


def told(self: Any, chat: Any, what: Any) -> None:
    """Take what a handler's method takes."""


def warned(methods: dict[str, Any], *bases: type) -> list[str]:
    """Make a class, and return what is warned of."""
    with warnings.catch_warnings(record=True, action="always") as caught:
        type("Window", bases or (Handlers,), methods)
    assert {each.category for each in caught} <= {UserWarning}
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("base", [Handlers, Listener])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("on_txt", "on_text"), ("on_texts", "on_text"), ("on_tetx", "on_text"), ("on_canceled", "on_cancelled")),
        *(("on_error", "on_failed"), ("on_exception", "on_failed"), ("on_fail", "on_failed")),
        *(("on_token", "on_text"), ("on_chunk", "on_text"), ("on_delta", "on_text")),
        *(("on_finish", "on_done"), ("on_complete", "on_done"), ("on_end", "on_done"), ("on_cancel", "on_cancelled")),
        *(
            ("on_batch_error", "on_batch_failed"),
            ("on_session_end", "on_session_done"),
            ("on_tool_start", "on_tool_started"),
        ),
    ],
)
def test_a_name_that_nothing_calls_is_warned_of_with_the_right_one(base: type, name: str, meant: str) -> None:
    assert warned({name: told}, base) == [f"Window.{name}: nothing calls it; did you mean {meant}?"]


OWN = ["click", "close", "key", "mount", "button_pressed", "destroy", "next", "test", "context", "stop", "send"]


@pytest.mark.parametrize("name", OWN)
def test_a_window_may_have_methods_of_its_own(name: str) -> None:
    assert warned({f"on_{name}": told, "ontext": told}) == []


def test_a_method_that_takes_too_little_is_that_of_a_button() -> None:
    def on_cancel(self: Any, event: Any) -> None:
        """Take the event of a button."""

    def on_end(self: Any) -> None:
        """Take nothing."""

    def on_abort(*what: Any) -> None:
        """Take anything."""

    assert warned({"on_cancel": on_cancel, "on_end": on_end}) == []
    assert warned({"on_abort": on_abort}) == ["Window.on_abort: nothing calls it; did you mean on_cancelled?"]


def test_what_another_class_calls_is_its_own() -> None:
    class Toolkit:
        on_end = told

    assert warned({"on_end": told}, Toolkit, Handlers) == []
    assert warned({"on_failure": told, "on_stop": told}, Listener) == []
    assert warned({"on_failure": told}) == ["Window.on_failure: nothing calls it; did you mean on_failed?"]
    assert warned({"on_error": 5, "on_token": staticmethod(told)}) == []


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> None:
        function(*args)
        function(*args)

    return wrapper


def test_the_warning_shows_the_method() -> None:
    with pytest.warns(UserWarning, match="did you mean on_text") as caught:

        class Window(Handlers):  # pyright: ignore[reportUnusedClass]
            @twice
            def on_txt(self, chat: Any, text: str) -> None:
                """Show it."""

    (warning,) = caught
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
        lines = file.read().splitlines()
    assert warning.filename == __file__
    assert lines[warning.lineno - 1].strip() == "@twice"
    odd = functools.wraps(print)(twice(told))
    assert warned({"on_txt": odd}) == ["Window.on_txt: nothing calls it; did you mean on_text?"]


@pytest.mark.parametrize(("name", "meant"), [("on_text", "on_text"), ("on_txt", "on_text"), ("on_finish", "on_done")])
def test_a_method_is_no_option_of_a_window(name: str, meant: str) -> None:
    options: Any = {name: print}
    with pytest.raises(ParameterError) as caught:
        to_loop(print, print, print, **options)
    (problem,) = caught.value.problems
    expected = f"unknown parameter; give a class derived from Handlers the method {meant}, and pass an object of it"
    assert (problem.place, problem.text) == (name, expected)


def test_any_other_option_is_suggested_as_before() -> None:
    options: Any = {"on_clos": "cancel"}
    with pytest.raises(ParameterError, match=r"on_clos: unknown parameter; did you mean on_close\?"):
        to_loop(print, print, print, **options)


def test_of_two_names_that_are_alike_the_nearest_is_meant() -> None:
    assert slip("on_batch_results2", ["on_batch_result", "on_batch_results"]) == "on_batch_results"
    assert slip("text", ["on_text"]) is None
