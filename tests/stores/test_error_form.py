"""Errors as JSON: the same class of error, with what is known of it, on another machine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anthropix_actors import (
    AnthropixError,
    APIError,
    APIStatusError,
    CancelledError,
    ConfigurationError,
    OutputError,
    OverloadedError,
    ParameterError,
    Problem,
    errors,
)
from anthropix_actors.stores import Held, Lost, StoreError
from anthropix_actors.stores.error_form import error_form, error_of

CLASSES = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, AnthropixError)]


def made(kind: type[AnthropixError]) -> AnthropixError:
    """Return an error of a class, with all that it may have."""
    error: AnthropixError
    if issubclass(kind, APIError):
        body = {"type": "error", "error": {"type": "x_error", "message": "no"}}
        error = kind("no", status=529, type="x_error", body=body, in_stream=True, retry_after=1.5, retryable=True)
        error.method, error.url = "POST", "https://api.anthropic.com/v1/messages"
    elif issubclass(kind, ParameterError):
        error = kind([Problem("model", "required"), Problem("messages", "required")])
    elif issubclass(kind, OutputError):
        error = kind("no", text="{")
    else:
        error = kind("no")
    partial: Any = {"id": "msg_1", "content": []}
    error.partial = partial
    error.request_id, error.attempts = "req_1", 3
    return error


def travelled(error: BaseException) -> AnthropixError:
    return error_of(json.loads(json.dumps(error_form(error))))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_of_ours_arrives_as_it_was(kind: type[AnthropixError]) -> None:
    error = made(kind)
    again = travelled(error)
    assert type(again) is kind
    assert str(again) == str(error)
    known = {name: value for name, value in vars(error).items() if name != "response_headers"}
    assert {name: getattr(again, name) for name in known} == known
    assert getattr(again, "response_headers", {}) == {}


def test_errors_of_stores_arrive() -> None:
    assert isinstance(travelled(Lost("gone")), Lost)
    assert isinstance(travelled(StoreError("away")), StoreError)
    held = travelled(Held("a", "hub-1"))
    assert isinstance(held, Held)
    assert held.holder == "hub-1"
    assert "which lives" in str(held)


def test_a_class_of_somebody_else_is_the_nearest_that_is_known() -> None:
    class MineError(OverloadedError):
        """As a program may have one."""

    assert type(travelled(MineError("no", status=529))) is OverloadedError
    assert type(travelled(ValueError("no"))) is AnthropixError
    assert str(travelled(ValueError("no"))) == "no"
    assert str(travelled(OSError(2, "no"))) == "[Errno 2] no"
    assert str(travelled(CancelledError("x"))) == "x"
    assert str(travelled(ConfigurationError())) == ""


def test_what_a_newer_version_says_is_an_error_all_the_same() -> None:
    again = error_of({"class": "FromTheFuture", "says": "no", "retryable": True, "brand_new": 1})
    assert type(again) is AnthropixError
    assert again.retryable
    assert type(error_of({})) is AnthropixError


def test_headers_do_not_travel_nor_what_is_no_json() -> None:
    error: Any = APIStatusError("no", status=400, response_headers={"anthropic-organization-id": "org_1"})
    error.body = object()
    form = error_form(error)
    assert "org_1" not in json.dumps(form)
    assert "body" not in form
