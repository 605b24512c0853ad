"""The names that others know our things by."""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import pickle
import pydoc
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

import anthropix_actors
from anthropix_actors import (
    RateLimit,
    Timeout,
    Usage,
    batches,
    emulator,
    endpoints,
    files,
    messages,
    models,
    sessions,
    types,
)

MODULES = [anthropix_actors, batches, emulator, endpoints, files, messages, sessions, types]

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if getattr(getattr(module, name), "__module__", "").startswith("anthropix_actors")
}

OLD: dict[str, str] = json.loads(Path(__file__).with_name("pickles-0.4.0.json").read_text())
"""Pickles that 0.4.0 made: by what is in them."""


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_says_where(name: str) -> None:
    thing = PUBLIC[name]
    assert "._" not in thing.__module__
    assert getattr(importlib.import_module(thing.__module__), thing.__name__) is thing


@pytest.mark.parametrize("name", OLD)
def test_pickles_of_the_release_before_load(name: str) -> None:
    thing: Any = pickle.loads(base64.b64decode(OLD[name]))
    kind = thing if name.startswith("class") or name == "as_completed" else type(thing)
    assert kind.__name__ == name.removeprefix("class ")
    assert PUBLIC.get(f"{kind.__module__}.{kind.__name__}", kind) is kind
    assert pickle.loads(pickle.dumps(thing)) == thing or isinstance(thing, Exception)


@pytest.mark.parametrize("name", ["governor", "items", "pages", "stream"])
def test_a_module_of_the_release_before_is_an_attribute_of_the_package(name: str) -> None:
    assert getattr(anthropix_actors, name) is importlib.import_module(f"anthropix_actors.{name}")


def test_what_was_made_of_a_pickle_is_whole() -> None:
    assert pickle.loads(base64.b64decode(OLD["Timeout"])) == Timeout(total=5)


@pytest.mark.parametrize("one", [Timeout(), RateLimit(1.0, 2.0), endpoints.endpoints()[0], Usage(input_tokens=3)])
def test_msgspec_finds_the_hints_of_what_says_that_it_is_elsewhere(one: Any) -> None:
    assert typing.get_type_hints(type(one))
    assert msgspec.convert(msgspec.to_builtins(one), type(one)) == one


def test_a_traceback_names_what_can_be_imported() -> None:
    assert repr(anthropix_actors.CancelToken) == "<class 'anthropix_actors.CancelToken'>"
    assert models.Models.__module__ == "anthropix_actors.models"


def test_help_and_signatures_show_all_that_is_public() -> None:
    assert "ChatDone" in pydoc.plain(pydoc.render_doc(anthropix_actors))
    assert "ChatDone" in pydoc.plain(pydoc.render_doc(messages))
    for thing in PUBLIC.values():
        if hasattr(thing, "__struct_fields__"):
            assert [*inspect.signature(thing).parameters] == [*thing.__struct_fields__]
    assert "connect: float | None = 10" in str(inspect.signature(Timeout))
