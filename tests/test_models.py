from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Client, NotFoundError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator import Emulator


def test_models_are_listed_page_by_page_and_retrieved(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client = connect(anthropix_emulator.url)
    names = [model["id"] for model in client.models.list(limit=4)]
    assert len(names) == len(set(names)) == 10
    assert [request.query.get("after_id") for request in anthropix_emulator.requests] == [None, names[3], names[7]]
    assert [model["id"] for model in client.models.list(before_id=names[3])] == names[:3]
    assert [model["id"] for model in client.models.list(after_id=names[7])] == names[8:]
    assert len([*client.models.list(limit=9, beta=iter(["b"]))]) == 10
    assert [request.headers["anthropic-beta"] for request in anthropix_emulator.requests[-2:]] == ["b", "b"]
    model = client.models.retrieve(names[0], beta="b", extra_headers={"x-mine": "1"})
    assert client.models.retrieve(model) == model
    assert anthropix_emulator.requests[-2].headers["anthropic-beta"] == "b"


def test_what_is_no_model_is_refused(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    models: Any = connect(anthropix_emulator.url).models
    with pytest.raises(NotFoundError):
        models.retrieve("claude-none")
    with pytest.raises(ParameterError, match="model"):
        models.retrieve("..")
    with pytest.raises(ParameterError, match=r"params\.limit"):
        models.list(limit={})
    with pytest.raises(ParameterError, match="did you mean timeout"):
        models.list(timeuot=1)
    with pytest.raises(ParameterError, match=r"extra_headers\['x-mine'\]"):
        models.list(extra_headers={"x-mine": "\n"})
    assert len(anthropix_emulator.requests) == 1


def test_tokens_are_counted_with_a_chats_parameters(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client: Any = connect(anthropix_emulator.url)
    messages = [{"role": "user", "content": "Hello, you two."}]
    count = client.count_tokens(model="m", messages=messages, system="Be brief.", max_tokens=9, temperature=1, beta="b")
    assert count == {"input_tokens": 12}
    sent = anthropix_emulator.requests[-1]
    assert set(sent.body) == {"model", "messages", "system"}
    assert sent.headers["anthropic-beta"] == "b"
    client.count_tokens(model="m", messages=messages, extra_body={"speed": "fast"})
    assert anthropix_emulator.requests[-1].body["speed"] == "fast"


def test_wrong_parameters_are_refused_before_tokens_are_counted(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client: Any = connect(anthropix_emulator.url)
    with pytest.raises(ParameterError) as raised:
        client.count_tokens(messages=[], top_k=-1, modle="m", max_tokens="1")
    assert {problem.place for problem in raised.value.problems} == {"modle", "model", "messages", "max_tokens", "top_k"}
    with pytest.raises(ParameterError, match="extra_body"):
        client.count_tokens(model="m", messages=[{"role": "user", "content": "x"}], extra_body=5)
    with pytest.raises(ParameterError, match="cancel"):
        client.count_tokens(model="m", messages=[{"role": "user", "content": "x"}], cancel=5)
    assert anthropix_emulator.requests == []
