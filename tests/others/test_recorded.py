"""Recorded answers of the real API, sent again over a socket and read as a whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import APIStatusError, Client

from actors import ASK
from servers import Always, Server, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_recorded_messages_without_a_stream_are_read_without_a_loss(
    connect: Callable[..., Client], corpus: Path
) -> None:
    paths = sorted((corpus / "messages").glob("*.json"))
    assert paths
    for path in paths:
        recorded = path.read_bytes()
        with Server(Always(json_answer("200 OK", recorded))) as server:
            assert connect(server).request("POST", "/messages", json=ASK) == json.loads(recorded)


def test_recorded_errors_are_raised_without_a_loss(connect: Callable[..., Client], corpus: Path) -> None:
    paths = sorted((corpus / "errors").glob("*.json"))
    assert paths
    for path in paths:
        recorded: Any = json.loads(path.read_text())
        headers = {name: recorded[name] for name in ("retry-after", "x-should-retry") if recorded[name]}
        answer = json_answer(f"{recorded['status']} No", recorded["body"], headers)
        with Server(Always(answer)) as server:
            client = connect(server)
            calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
                (client.models.retrieve, {"model": "m"}),
                (client.chat, ASK),
            ]
            for call, arguments in calls:
                with pytest.raises(APIStatusError) as raised:
                    call(**arguments)
                error = raised.value
                assert (error.status, error.body) == (recorded["status"], recorded["body"])
                assert (error.type, error.message) == tuple(recorded["body"]["error"].values())
                assert error.retryable is (recorded["x-should-retry"] == "true")
