"""What the tests of conversations run with: an emulator, a client of it, and somebody who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka
import pytest

from anthropix_actors import Client
from anthropix_actors.emulator import Emulator

from actors import Inbox
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client("key", base_url=emulator.url) as client:
        yield client
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()
