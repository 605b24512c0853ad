"""The fixture `anthropix_emulator`, for every project that has this package installed.

pytest imports this module in each of its runs, also in those that never use it. So it is no part of the package, whose
import takes its time and could fail: it imports pytest alone, until the fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.server import Emulator


@pytest.fixture
def anthropix_emulator() -> Iterator[Emulator]:
    """Get an emulator of the Anthropic API on loopback: for this test alone, stopped after it.

    Example:
        def test_my_program(anthropix_emulator):
            anthropix_emulator.queue("Hello.")
            client = Client("any key", base_url=anthropix_emulator.url)
    """
    from anthropix_actors.emulator import Emulator  # noqa: PLC0415 - see above

    with Emulator() as emulator:
        yield emulator
