from __future__ import annotations

import subprocess
import sys

import pytest

from anthropix_actors import subscribers


def test_each_name_is_there_under_its_public_name() -> None:
    assert {*subscribers.__all__} <= {*dir(subscribers)}
    for name in subscribers.__all__:
        thing = getattr(subscribers, name)
        assert getattr(thing, "__module__", "anthropix_actors.subscribers") == "anthropix_actors.subscribers"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'anthropix_actors\.subscribers' has no attribute 'to_fax'"):
        _ = subscribers.to_fax


def test_a_name_is_imported_when_it_is_used_first_and_the_client_needs_none() -> None:
    program = (
        "import sys; from anthropix_actors import Client; client = Client('sk-ant-1')\n"
        "assert not {'anthropix_actors.subscribers', 'asyncio'} & {*sys.modules}\n"
        "from anthropix_actors import subscribers\n"
        "assert 'asyncio' not in sys.modules; subscribers.aio; assert 'asyncio' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)
