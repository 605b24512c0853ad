from __future__ import annotations

import queue
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ParameterError, subscribers
from anthropix_actors.subscribers import to_function, to_loop, to_queue

from actors import ASK
from servers import Server, answering

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import Client


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


def closed(on_close: Any) -> Any:
    subscriber = to_loop(print, print, print, on_close=on_close)
    assert not subscriber.hears_no_more()
    subscriber.close()
    return subscriber


def failed() -> Any:
    subscriber = to_function([].pop)  # it cannot pop a message
    with pytest.raises(TypeError):
        subscriber.tell("anything")
    return subscriber


def shut_down() -> Any:
    inbox: Any = queue.Queue()
    inbox.is_shutdown = True  # as `shutdown` of Python 3.13 does
    return to_queue(inbox)


@pytest.mark.parametrize("make", [lambda: closed("cancel"), lambda: closed("continue"), failed, shut_down])
def test_one_that_hears_no_more_is_refused_before_anything_is_sent(
    make: Callable[[], Any], connect: Callable[..., Client]
) -> None:
    subscriber = make()
    with Server(answering("Hello")) as server:
        with pytest.raises(
            ParameterError, match=r"stream: expected a subscriber that is alive, got .*, which was closed"
        ):
            connect(server).chat(**ASK, stream=subscriber)
        assert server.connections == 0


def test_the_code_of_a_stranger_is_not_asked_whether_it_is_alive(connect: Callable[..., Client]) -> None:
    class Dead:
        told = 0

        def tell(self, _: object) -> None:
            self.told += 1

        def is_alive(self) -> bool:
            return False

        def hears_no_more(self) -> bool:
            raise AssertionError

    with Server(answering("Hello")) as server:
        connect(server).chat(**ASK, stream=Dead())
