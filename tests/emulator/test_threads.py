"""Message threads: the emulator stores the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from anthropix_actors.emulator import Emulator, PauseTurn, Refusal, Reply, Request, Status, recording
from anthropix_actors.emulator._model.message_threads import LIFETIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator import Answer

DEADLINE = 20.0
TOOL: dict[str, Any] = {"name": "clock", "input_schema": {"type": "object"}}


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """An emulator that records the requests to its handler."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[Request] = []
        self.answers: list[Answer] = []
        self.emulator = Emulator(handler=self.handle, clock=self.clock)

    def handle(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.answers.pop(0) if self.answers else None

    def ask(self, text: str | None, after: str | None = None, *, key: str = "any", **more: Any) -> requests.Response:
        thread = {"type": "create"} if after is None else {"type": "continue", "previous_message_id": after}
        messages = [] if text is None else [{"role": "user", "content": text}]
        body = {"model": "claude-sonnet-5", "max_tokens": 500, "messages": messages, "thread": thread, **more}
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": "message-threads-2026-08-12"}
        return requests.post(f"{self.emulator.url}/v1/messages", json=body, headers=headers, timeout=DEADLINE)

    def said(self, text: str | None, after: str | None = None, **more: Any) -> dict[str, Any]:
        response = self.ask(text, after, **more)
        assert response.status_code == 200, response.text
        told: dict[str, Any] = response.json()
        return told

    def refused(self, text: str | None, after: str, **more: Any) -> tuple[int, str | None]:
        response = self.ask(text, after, **more)
        details = response.json()["error"]["details"]
        return response.status_code, details and details["error_code"]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.emulator:
        yield made


def test_a_thread_keeps_the_conversation_its_tools_and_its_system_prompt(world: World) -> None:
    first = world.said("Hello", tools=[TOOL], system="Be brief.")
    second = world.said("Use clock", first["id"])
    assert second["stop_reason"] == "tool_use"
    body = world.asked[-1].body
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == first["content"]
    assert (body["tools"], body["system"]) == ([TOOL], "Be brief.")
    assert [len(request.body["messages"]) for request in world.emulator.requests] == [1, 1]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]


def test_a_paused_turn_goes_on_without_a_message(world: World) -> None:
    world.answers = [PauseTurn()]
    paused = world.said("Hello")
    rest = world.said(None, paused["id"])
    world.said("And then?", rest["id"])
    messages = world.asked[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == paused["content"] + rest["content"]


def test_a_thread_that_is_not_there_is_not_found(world: World) -> None:
    first = world.said("Hello")
    assert world.refused("Go on", "msg_other") == (404, "thread_not_found")
    assert world.refused("Go on", first["id"], key="another") == (404, "thread_not_found")
    world.clock.now = LIFETIME
    assert world.refused("Go on", first["id"]) == (404, "thread_not_found")


def test_an_answer_starts_its_five_minutes_anew_and_what_has_run_out_is_forgotten(world: World) -> None:
    first = world.said("Hello")
    world.clock.now = LIFETIME - 1
    second = world.said("Go on", first["id"])
    world.clock.now = 2 * LIFETIME - 2
    assert world.said("Go on", second["id"])["stop_reason"] == "end_turn"
    world.clock.now = 9 * LIFETIME
    world.said("Hello")
    assert len(world.emulator._state._threads._stored) == 1


def test_an_answer_is_continued_once(world: World) -> None:
    first = world.said("Hello")
    world.answers = [Status(529)]
    assert world.ask("Go on", first["id"]).status_code == 529  # which is not an answer
    world.said("Go on", first["id"])
    assert world.refused("Go on", first["id"]) == (400, "thread_already_continued")


@pytest.mark.parametrize("more", [{"tools": [TOOL]}, {"system": "Be long."}])
def test_what_a_thread_keeps_is_not_sent_again(world: World, more: dict[str, Any]) -> None:
    first = world.said("Hello", tools=[TOOL], system="Be brief.")
    assert world.refused("Go on", first["id"], **more) == (400, None)


@pytest.mark.parametrize("answer", [Refusal(), recording("actors")])
def test_a_refusal_and_a_recording_are_not_held(world: World, answer: Answer) -> None:
    world.answers = [answer]
    first = world.said("Hello")
    assert world.refused("Go on", first["id"]) == (404, "thread_not_found")


def test_a_message_as_it_is_is_held(world: World) -> None:
    world.answers = [{"id": "msg_mine", "type": "message", "content": [{"type": "text", "text": "Mine."}]}]
    world.said("Hello")
    assert world.said("Go on", "msg_mine")["stop_reason"] == "end_turn"


def test_a_continued_chat_is_checked_as_a_whole(world: World) -> None:
    world.answers = [Reply(["Hello."])]
    first = world.said("Hello")
    response = world.ask("Go on", first["id"], max_tokens=-1)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert world.ask("Go on", first["id"], messages="none").status_code == 400


def test_a_thread_of_another_kind_is_none(world: World) -> None:
    assert world.said("Hello", thread={"type": "other"})["stop_reason"] == "end_turn"
    assert world.said("Hello", thread=None)["stop_reason"] == "end_turn"


def test_an_error_may_have_a_code(world: World) -> None:
    world.answers = [Status(429, error_code="contract_spend_limit_reached")]
    assert world.ask("Hello").json()["error"]["details"] == {"error_code": "contract_spend_limit_reached"}
