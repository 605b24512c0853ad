"""Compaction by itself: at a share of the model's window, and told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, CancelledError, Client, ParameterError
from anthropix_actors.emulator import Compaction, Emulator, Reply, Stall, Status
from anthropix_actors.messages import Compacted, TurnDone

from actors import Inbox, no_thread_for
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "claude-sonnet-5"
LONG = "word " * 60_000


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client("key", base_url=emulator.url, max_retries=0) as client:
        yield client
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)


def edit_of(request: Any) -> Any:
    [edit] = request.body["context_management"]["edits"]
    return edit


def test_above_its_share_of_the_window_the_api_compacts_and_the_model_goes_on(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    talk = client.converse(Agent(model=MODEL, compact_at=0.25), stream=inbox)
    talk.say("Hello").result(DEADLINE)
    talk.say(LONG).result(DEADLINE)
    told = inbox.until(Compacted)
    assert told.before > 50_000 > told.after > 0
    assert talk.say("Go on").result(DEADLINE)["stop_reason"] == "end_turn"
    messages, models = (
        [request for request in emulator.requests if request.path.startswith(path)]
        for path in ("/v1/messages", "/v1/models")
    )
    assert len(models) == 1  # once for a client and a model
    assert {request.headers["anthropic-beta"] for request in messages} == {"compact-2026-01-12"}
    assert edit_of(messages[-1])["trigger"] == {"type": "input_tokens", "value": 50_000}
    assert [message["role"] for message in talk.history()][:5] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "assistant",
    ]


def test_other_edits_and_betas_stay(emulator: Emulator, client: Client) -> None:
    clear = {"type": "clear_tool_uses_20250919"}
    params = {"context_management": {"edits": [clear]}, "beta": "context-management-2025-06-27"}
    client.converse(Agent(model=MODEL, compact_at=0.8, params=params)).say("Hello").result(DEADLINE)
    request = emulator.requests[-1]
    compact = {"type": "compact_20260112", "pause_after_compaction": True}
    trigger = {"type": "input_tokens", "value": 160_000}
    assert request.body["context_management"]["edits"] == [clear, {**compact, "trigger": trigger}]
    assert request.headers["anthropic-beta"] == "context-management-2025-06-27,compact-2026-01-12"


def test_a_window_that_is_not_known_fails_no_turn(emulator: Emulator, client: Client) -> None:
    emulator.queue({"max_input_tokens": "many"}, Status(529), path=f"/v1/models/{MODEL}")
    for model in ("claude-unknown", MODEL, MODEL):
        client.converse(Agent(model=model, compact_at=1)).say("Hello").result(DEADLINE)
        assert "trigger" not in edit_of(emulator.requests[-1])
    assert client._core.windows == {"claude-unknown": None, MODEL: None}


def test_without_a_thread_the_window_is_not_known(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("anthropix-window"))
    client.converse(Agent(model=MODEL, compact_at=0.8)).say("Hello").result(DEADLINE)
    assert "trigger" not in edit_of(emulator.requests[-1])


def test_a_turn_that_is_cancelled_while_the_window_is_read_ends_and_it_is_read_again(
    emulator: Emulator, client: Client
) -> None:
    emulator.queue(Stall(), path=f"/v1/models/{MODEL}")
    talk = client.converse(Agent(model=MODEL, compact_at=0.8))
    turn = talk.say("Hello")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    turn.cancel()
    with pytest.raises(CancelledError):
        turn.result(DEADLINE)
    talk.say("Hello").result(DEADLINE)
    assert edit_of(emulator.requests[-1])["trigger"]


def test_what_is_said_now_while_the_window_is_read_is_heard(emulator: Emulator, client: Client) -> None:
    emulator.queue(Stall(), path=f"/v1/models/{MODEL}")
    talk = client.converse(Agent(model=MODEL, compact_at=0.8))
    turn = talk.say("Hello")
    emulator.wait_for_requests(1, timeout=DEADLINE)
    assert talk.say("No, good bye", when="now") is turn
    assert "good bye" in str(turn.result(DEADLINE)["content"])


def test_a_compaction_without_gain_ends_the_turn_and_says_so(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    talk = client.converse(Agent(model=MODEL, compact_at=0.5), stream=inbox)
    emulator.queue(*[Compaction("What was said.")] * 3)
    talk.say("Hello")
    told = inbox.until_end((TurnDone,))
    assert sum(isinstance(message, Compacted) for message in told) == 3
    assert told[-1].stopped == "compaction"
    talk.say("Go on").result(DEADLINE)


def test_a_compaction_that_failed_is_not_told(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    talk = client.converse(Agent(model=MODEL, compact_at=0.5), stream=inbox)
    emulator.queue(Compaction(None), Reply(["Hello."]))
    talk.say("Hello")
    assert not any(isinstance(message, Compacted) for message in inbox.until_end((TurnDone,)))


@pytest.mark.parametrize("wrong", [0, 1.1, True, "0.8", float("nan")])
def test_a_share_is_above_0_and_up_to_1(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="compact_at: expected a share above 0, up to 1"):
        Agent(model=MODEL, compact_at=wrong)


def test_compaction_is_asked_for_in_one_place() -> None:
    edits = {"edits": [{"type": "compact_20260112"}]}
    with pytest.raises(ParameterError, match="leave out compact_20260112"):
        Agent(model=MODEL, compact_at=0.8, params={"context_management": edits})
