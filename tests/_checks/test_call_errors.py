"""What is said of parameters that there are not, or that are missing."""

from __future__ import annotations

import inspect
import re
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anthropix_actors import Agent, Client, Hub, Limits, ParameterError, Price, Timeout, Worker
from anthropix_actors._checks.call_errors import explains
from anthropix_actors._checks.instead import INSTEAD
from anthropix_actors.batches.batches import Batches
from anthropix_actors.chat.parameters import PARAMETERS
from anthropix_actors.subscribers import Listener

from actors import ASK, Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

MAKES: dict[str, Any] = {"Agent": Agent, "Client": Client, "Limits": Limits, "Price": Price, "Timeout": Timeout}
KNOWN = {
    "chat": {*PARAMETERS},
    "converse": {*inspect.signature(Client.converse).parameters},
    **{f"Batches.{name}": {*inspect.signature(getattr(Batches, name)).parameters} for name in ("run", "follow")},
    **{name: {*inspect.signature(made).parameters} for name, made in MAKES.items()},
}
EXPLAINED = pytest.mark.skipif(
    msgspec.__version__.startswith("0.19."), reason="before 0.20, only msgspec itself could make the errors of Structs"
)


def refused(call: Callable[..., Any], *args: Any, **given: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        call(*args, **given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"key": "k"}, "Client(key=...): unknown parameter; write api_key=..."),
        ({"api_kee": "k"}, "Client(api_kee=...): unknown parameter; did you mean api_key?"),
        ({"url": "u"}, "Client(url=...): unknown parameter; write base_url=..."),
        ({"model": "m"}, "Client(model=...): unknown parameter; write client.chat(..., model=...)"),
        ({"organization": "o"}, "write nothing for it: a key is of one organization"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(next(iter(value))),
)
def test_what_a_client_does_not_take_is_said_how_to_write(given: dict[str, str], text: str) -> None:
    assert refused(Client, **given).endswith(text)


def test_all_that_is_wrong_is_said_at_once_and_no_key_is_shown() -> None:
    text = refused(Client, token="sk-secret", urll="x")
    assert re.fullmatch(r"Client\(token=\.\.\.\): .*\nClient\(urll=\.\.\.\): .*; write base_url=\.\.\.", text)
    text = refused(Client, "sk-secret", "http://x")
    expected = "without a name, only api_key may be given: write Client(api_key=..., auth_token=...)"
    assert text == f"Client(...): {expected}"


@EXPLAINED
def test_an_agent_is_said_how_to_make() -> None:
    assert refused(Agent) == "Agent(model=...): required, and missing"
    assert refused(Agent, "m") == "Agent(...): each has its name: write Agent(model=...)"
    text = refused(Agent, model="m", system_prompt="Be.", max_steps=3)
    assert text == (
        "Agent(system_prompt=...): unknown parameter; write system=...\n"
        "Agent(max_steps=...): unknown parameter; write limits=Limits(requests=...)"
    )
    assert refused(Agent, model="m", thinking={}).endswith("write params={'thinking': ...}")


@EXPLAINED
def test_other_values_are_said_how_to_make() -> None:
    assert refused(Limits, max_turns=3) == "Limits(max_turns=...): unknown parameter; write requests=..."
    assert refused(Timeout, reed=3) == "Timeout(reed=...): unknown parameter; did you mean read?"
    assert refused(Price, 3.0) == "Price(output=...): required, and missing"
    assert refused(Price, 3.0, 15.0, input=3.0) == "Price(input=...): it was given twice"
    with pytest.raises(ParameterError, match=r"limits\.requests: expected an integer from 1, got 0"):
        Limits(requests=0)


def test_what_a_conversation_does_not_take_is_an_agents() -> None:
    with Client("k") as client:
        text = refused(client.converse, model="m")
        assert text == (
            "converse(model=...): unknown parameter; write client.converse(Agent(model=...))\n"
            'converse(agent=...): required, and missing; write client.converse(Agent(model="..."))'
        )
        agent = Agent(model="m")
        assert refused(client.converse, agent, tools=[]).endswith("write client.converse(Agent(tools=...))")
        assert "Agent(..., limits=Limits(requests=...))" in refused(client.converse, agent, max_steps=3)
        block = {"type": "text", "text": "Hi"}
        assert refused(client.converse(agent).say, block).endswith("put it in a list: [...]")
        assert refused(client.converse(agent).say).endswith('required, and missing; write talk.say("...")')


def test_hubs_and_workers_name_what_is_missing() -> None:
    hub: Any = Hub
    worker: Any = Worker
    assert refused(hub) == "Hub(store=...): required, and missing"
    assert refused(worker, None, None, concurency=3).endswith("did you mean concurrency?")


def test_who_wants_to_be_told_is_said_how() -> None:
    with Client("k") as client:
        for name in ("on_text", "on_done"):
            text = refused(client.chat, **ASK, **{name: print})
            assert text.startswith(f"{name}: unknown parameter; write stream=YourListener.start(), of a class with")
            assert hasattr(Listener, name)
        for name in ("callback", "calback", "on_token", "handler"):
            text = refused(client.chat, **ASK, **{name: print})
            assert text.startswith(f"{name}: unknown parameter; write stream=to_function(function), which is called")
        text = refused(client.batches.run, [{"custom_id": "a", "params": {**ASK, "system_prompt": "x"}}], Inbox())
        assert text.endswith("system_prompt: unknown parameter; write system=...")


BATCHED = {"custom_id": "a", "params": ASK}
FRONT_DOORS: dict[str, tuple[Any, ...]] = {
    "batches.create": ([BATCHED],),
    "batches.list": (),
    "batches.retrieve": ("b",),
    "batches.cancel": ("b",),
    "batches.delete": ("b",),
    "batches.results": ("b",),
    "batches.run": ([BATCHED], Inbox()),
    "batches.follow": ("b", Inbox()),
    "files.upload": (b"x",),
    "files.list": (),
    "files.retrieve": ("f",),
    "files.delete": ("f",),
    "files.download": ("f",),
    "models.list": (),
    "models.retrieve": ("m",),
    "sessions.events": ("s",),
    "sessions.serve": ("s",),
    "request": ("GET", "/models"),
    "paginate": ("/models",),
    "chat": (),
    "count_tokens": (),
}
"""What takes options under names that Python does not check, and what else it needs."""

REQUIRED: dict[str, dict[str, Any]] = {
    "files.upload": {"filename": "x"},
    "sessions.serve": {"tools": []},
    "chat": ASK,
    "count_tokens": ASK,
}


@pytest.mark.parametrize("door", FRONT_DOORS)
def test_a_slip_of_any_parameter_is_said_to_be_one(door: str) -> None:
    with Client("k") as client:
        call = attrgetter(door)(client)
        parameters = inspect.signature(call).parameters.values()
        names = {each.name for each in parameters if each.kind not in {each.VAR_KEYWORD, each.VAR_POSITIONAL}}
        for name in sorted({*names, "timeout", "max_retries"}):
            slip = f"{name[:-1]}{name[-1]}{name[-1]}"
            text = refused(call, *FRONT_DOORS[door], **REQUIRED.get(door, {}), **{slip: None})
            assert text == f"{slip}: unknown parameter; did you mean {name}?"


def test_what_follows_batches_is_a_subscriber_by_that_name() -> None:
    with Client("k") as client:
        text = refused(client.batches.run, [BATCHED], Inbox(), stream=True)
        assert text.startswith("stream: unknown parameter; write subscriber=..., such as to_queue(queue)")
        text = refused(client.batches.follow, "b", Inbox(), cancel=None)
        assert text == "cancel: unknown parameter; write cancel(), of the BatchRef that is returned"


def test_what_others_take_for_their_connections_is_said_how_to_write() -> None:
    client: Any = Client
    for name in ("cert", "certfile", "client_cert"):
        text = refused(client, "k", **{name: ("client.pem", "client.key")})
        assert text.endswith("write verify=context, an ssl.SSLContext with context.load_cert_chain(certfile, keyfile)")
    assert refused(client, "k", ssl_context=None).endswith("write verify=..., which may be an ssl.SSLContext")
    assert 'proxy=""' in refused(client, "k", trust_env=False)
    assert "50 seconds" in refused(client, "k", keepalive_expiry=5)
    with Client("k") as made:
        for call in (partial(client, "k"), partial(made.chat, **ASK)):
            assert refused(call, timeout=(3, 5)).endswith("write Timeout(connect=3, read=5)")


def test_what_is_said_instead_is_said_of_nothing_that_there_is() -> None:
    assert KNOWN.keys() == INSTEAD.keys()
    for what, names in INSTEAD.items():
        assert not names.keys() & KNOWN[what]


def test_what_a_function_itself_raises_is_raised() -> None:
    @explains("count")
    def count(start: Any) -> int:
        return int(start)

    assert count("3") == 3
    with pytest.raises(TypeError, match=r"^int\(\) argument must be"):
        count(None)
    params: Any = 5
    with pytest.raises(TypeError, match="not iterable"):
        Agent(model="m", params=params)
    assert str(inspect.signature(Client)).startswith("(api_key: 'str | None' = None, *, auth_token")
