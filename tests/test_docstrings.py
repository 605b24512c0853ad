"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

import pytest

import anthropix_actors
from anthropix_actors import Client, Hub

from actors import HELLO, Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator import Emulator

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(anthropix_actors.__path__, "anthropix_actors.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["anthropix_actors", *MODULES])
def test_the_examples_run(
    name: str,
    anthropix_emulator: Emulator,
    connect: Callable[..., Client],
    hubs: Callable[..., Hub],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an example takes for granted: a client, a question, and somebody who listens."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    for _ in range(9):
        anthropix_emulator.queue("Hello!")
    names: dict[str, Any] = {
        "client": connect(anthropix_emulator.url),
        "hello": HELLO,
        "subscriber": Inbox(),
        "another": Inbox(),
        "clerk": anthropix_actors.Agent(model="claude-sonnet-5"),
    }
    if name.startswith("anthropix_actors.hub"):
        names["hub"] = hub = hubs()
        names["client"].chat(model="claude-sonnet-5", messages=HELLO, stream=hub.to("answer-1")).result(timeout=60)
        hub.result("answer-1", timeout=60)
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):  # imported when it is used first
        getattr(module, public)
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert failed == 0
