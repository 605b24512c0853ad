"""Chats against servers that others wrote, where they are installed: `pip install "litellm[proxy]" ai-mock mockllm`.

What they send is theirs. litellm is asked as the gateway it is: to a model of OpenAI's protocol (its own mock, so the
Anthropic events are litellm's from the first to the last), and to one of Anthropic's (the emulator).
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from anthropix_actors import (
    APIError,
    APIStatusError,
    BadRequestError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    Client,
    OverloadedError,
    ProtocolError,
    RateLimitError,
)
from anthropix_actors.emulator import Drop, Emulator, ErrorEvent, Reply, Stall, Status, Thinking, ToolCall

from actors import HELLO, Inbox, Reader, text_of
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.compat

START = 120.0
"""Seconds for a server to start: litellm imports very much."""

KEY = "sk-test-secret"  # the one of the clients that `connect` makes
TEXT = "The sky is blue because of Rayleigh scattering, ø, 空, not because of the sea."
NOWHERE = "http://127.0.0.1:1"
TOOL: dict[str, Any] = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

SERVE = """
import importlib, socket, sys, uvicorn
module, listener = sys.argv[1:]
config = uvicorn.Config(importlib.import_module(module).app, timeout_graceful_shutdown=1)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(listener))])
"""


@contextmanager
def serving(
    module: str, probe: str, folder: Path, configure: Callable[[str], dict[str, str]] | None = None
) -> Generator[str]:
    """Run a server's application in a process of its own; `configure` gets the URL and gives environment variables."""
    log = folder / "log"
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environment |= {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1"}  # it stays on this machine
    environment |= configure(url) if configure is not None else {}
    with listener, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, module, str(listener.fileno())],
            cwd=folder,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        # The socket listens already, so the request waits for the server; should it die, the last listener is closed,
        # and the request is reset.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
        try:
            connection.request("GET", probe)
            started = connection.getresponse().status == 200
        except OSError:
            started = False
        finally:
            connection.close()
        assert started, f"{module} does not start:\n{log.read_text(errors='replace')[-4000:]}"
        yield url
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def needs(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{package} is not installed")


class Gateway(NamedTuple):
    """litellm's proxy, and what is behind it."""

    url: str
    emulator: Emulator


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    needs("litellm", "litellm[proxy]")
    needs("apscheduler", "litellm[proxy]")
    folder = tmp_path_factory.mktemp("litellm")

    def model(name: str, of: str, **more: str) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": of, "api_key": KEY, **more}}

    with Emulator() as emulator:

        def configure(url: str) -> dict[str, str]:
            config = {
                "model_list": [
                    model("mocked", "hosted_vllm/any", api_base=NOWHERE, mock_response=TEXT),
                    model("limited", "hosted_vllm/any", api_base=NOWHERE, mock_response="litellm.RateLimitError"),
                    model("translated", "hosted_vllm/mocked", api_base=f"{url}/v1"),
                    model("passed", "anthropic/claude-sonnet-5", api_base=emulator.url),
                ],
                "general_settings": {"master_key": KEY},
                "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            }
            path = folder / "config.yaml"
            path.write_text(json.dumps(config))  # JSON is YAML
            return {"CONFIG_FILE_PATH": str(path), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

        with serving("litellm.proxy.proxy_server", "/health/liveliness", folder, configure) as url:
            yield Gateway(url, emulator)


@pytest.fixture(scope="module")
def ai_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("mockai", "ai-mock")
    with serving("mockai.server", "/", tmp_path_factory.mktemp("ai-mock")) as url:
        yield url


@pytest.fixture(scope="module")
def mockllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("mockllm", "mockllm")
    folder = tmp_path_factory.mktemp("mockllm")
    (folder / "responses.yml").write_text(json.dumps({"responses": {"Hello": TEXT}}))
    with serving("mockllm.server", "/models", folder) as url:
        yield url


def content(message: Any) -> list[Any]:
    return list(message["content"])


def assert_says(text: str, client: Client, **asked: Any) -> None:
    """Ask for the same answer in all ways there are."""
    message = client.chat(**asked)
    assert content(message) == [{"type": "text", "text": text}]
    assert (message["role"], message["stop_reason"]) == ("assistant", "end_turn")
    with client.chat(**asked, stream=True) as stream:
        assert "".join(stream.text) == text
        assert content(stream.message()) == content(message)
    events = list(client.chat(**asked, stream=True))
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    inbox = Inbox()
    actor = Reader.start(inbox)
    chat = client.chat(**asked, stream=actor)
    told = inbox.until_end()
    assert isinstance(told[-1], ChatDone)
    assert text_of(told) == text
    assert content(chat.result(timeout=DEADLINE)) == content(message)
    assert content(told[-1].message) == content(message)


def test_litellm_translates_another_protocol(gateway: Gateway, connect: Callable[..., Client]) -> None:
    client = connect(gateway.url)
    assert_says(TEXT, client, model="translated", messages=HELLO)
    usage = client.chat(model="translated", messages=HELLO)["usage"]
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0


def test_litellm_takes_the_key_as_a_bearer_token(gateway: Gateway, connect: Callable[..., Client]) -> None:
    assert_says(TEXT, connect(gateway.url, api_version="2026-10-21"), model="translated", messages=HELLO)


def test_litellm_passes_an_answer_on(gateway: Gateway, connect: Callable[..., Client]) -> None:
    gateway.emulator.queue(TEXT, TEXT, TEXT, TEXT)
    assert_says(TEXT, connect(gateway.url), model="passed", messages=HELLO)


def test_litellm_passes_thoughts_and_tool_calls_on(gateway: Gateway, connect: Callable[..., Client]) -> None:
    call = ToolCall("get_weather", {"city": "Bergen", "days": [1, 2.5, None]})
    gateway.emulator.queue(Reply([Thinking("Rain, surely.", signature="sig"), "I will look.", call]))
    message = connect(gateway.url).chat(model="passed", messages=HELLO, tools=[TOOL])
    thought, text, called = content(message)
    assert (thought["thinking"], thought["signature"]) == ("Rain, surely.", "sig")
    assert text["text"] == "I will look."
    assert (called["name"], called["input"]) == ("get_weather", call.input)
    assert message["stop_reason"] == "tool_use"


def test_litellm_refuses_a_model_it_does_not_have(gateway: Gateway, connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    client = connect(gateway.url)
    with pytest.raises(BadRequestError, match="unheard-of") as caught:
        client.chat(model="unheard-of", messages=HELLO)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    client.chat(model="unheard-of", messages=HELLO, stream=inbox)
    (failed,) = inbox.until_end()
    assert isinstance(failed, ChatFailed)
    assert isinstance(failed.error, BadRequestError)


def test_litellm_refuses_a_wrong_key(gateway: Gateway) -> None:
    with Client("sk-wrong", base_url=gateway.url) as client, pytest.raises(APIStatusError) as caught:
        client.chat(model="translated", messages=HELLO)
    assert caught.value.status in (400, 401)  # without a database it is 400, "No connected db."
    assert caught.value.message


def test_a_limit_of_litellm_is_retried(gateway: Gateway, connect: Callable[..., Client]) -> None:
    with pytest.raises(RateLimitError) as caught:
        connect(gateway.url, max_retries=1).chat(model="limited", messages=HELLO)
    assert (caught.value.status, caught.value.attempts) == (429, 2)


def test_a_status_behind_litellm_is_an_error(gateway: Gateway, connect: Callable[..., Client]) -> None:
    gateway.emulator.queue(Status(529))
    with pytest.raises(APIStatusError, match="Overloaded") as caught:
        connect(gateway.url).chat(model="passed", messages=HELLO)
    assert caught.value.status in (500, 529)  # litellm makes it a 500
    assert not caught.value.in_stream


def test_an_error_in_a_stream_behind_litellm_is_that_error(gateway: Gateway, connect: Callable[..., Client]) -> None:
    gateway.emulator.queue(ErrorEvent("Hello there, you.", after_events=5))
    with pytest.raises(OverloadedError) as caught:
        connect(gateway.url).chat(model="passed", messages=HELLO)
    assert caught.value.in_stream
    assert caught.value.partial is not None
    assert content(caught.value.partial)[0]["text"] == "Hello there"


def test_an_answer_that_is_cut_behind_litellm_is_never_whole(gateway: Gateway, connect: Callable[..., Client]) -> None:
    gateway.emulator.queue(Drop(TEXT, after_events=5))
    with pytest.raises(APIError):
        connect(gateway.url).chat(model="passed", messages=HELLO)


def test_a_cancel_goes_through_litellm(gateway: Gateway, connect: Callable[..., Client]) -> None:
    emulator = gateway.emulator
    client = connect(gateway.url)
    hangups = emulator.hangups
    emulator.queue(Stall(TEXT, after_events=5))
    inbox = Inbox()
    chat = client.chat(model="passed", messages=HELLO, stream=inbox)
    while inbox.until(ChatEvent).data["type"] != "content_block_delta":
        pass
    chat.cancel("seen enough")
    told = inbox.until_end()
    assert isinstance(told[-1], ChatCancelled)
    assert told[-1].reason == "seen enough"
    emulator.wait_for_hangups(hangups + 1)
    assert_says(TEXT, client, model="translated", messages=HELLO)


def test_litellm_sends_a_mock_without_a_stream_and_it_is_the_answer(
    gateway: Gateway, connect: Callable[..., Client]
) -> None:
    """Asked directly for its mock, litellm ignores `stream` and sends JSON: a whole Message."""
    assert content(connect(gateway.url).chat(model="mocked", messages=HELLO))[0]["text"] == TEXT


def test_ai_mock_answers(ai_mock: str, connect: Callable[..., Client]) -> None:
    client = connect(f"{ai_mock}/anthropic")
    assert_says(TEXT, client, model="any", messages=[{"role": "user", "content": TEXT}])


def test_ai_mock_calls_a_tool(ai_mock: str, connect: Callable[..., Client]) -> None:
    said = 'f:{"name": "get_weather", "arguments": {"city": "Bergen"}}'
    client = connect(f"{ai_mock}/anthropic")
    message = client.chat(model="any", messages=HELLO, tools=[TOOL], extra_headers={"mock-response": said})
    (call,) = content(message)
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "get_weather", {"city": "Bergen"})
    assert message["stop_reason"] == "tool_use"


def test_an_answer_of_ai_mock_is_cancelled_midway(ai_mock: str, connect: Callable[..., Client]) -> None:
    client = connect(f"{ai_mock}/anthropic")
    endless = "again " * 20_000  # said letter by letter: 15 MB of events
    inbox = Inbox()
    chat = client.chat(model="any", messages=[{"role": "user", "content": endless}], stream=inbox)
    first = inbox.next()
    if isinstance(first, ChatFailed):
        raise first.error
    chat.cancel()
    assert isinstance(inbox.until_end()[-1], ChatCancelled)
    with client.chat(model="any", messages=HELLO, stream=True) as stream:
        assert "".join(stream.text) == "Hello"


def test_ai_mock_refuses_in_its_own_words(ai_mock: str, connect: Callable[..., Client]) -> None:
    with pytest.raises(BadRequestError) as caught:
        connect(ai_mock).chat(model="any", messages=HELLO)  # the path of another API
    assert caught.value.body == {"detail": "Invalid user agent"}


def test_a_stream_of_another_protocol_is_refused(mockllm: str, connect: Callable[..., Client]) -> None:
    """mockllm sends `message_delta` alone, without a beginning, and `[DONE]`: an error, not an empty answer."""
    client = connect(mockllm)
    with pytest.raises(ProtocolError, match="before message_start"):
        client.chat(model="any", messages=HELLO)
    with pytest.raises(ProtocolError, match="before message_start"):
        list(client.chat(model="any", messages=HELLO, stream=True))
    inbox = Inbox()
    client.chat(model="any", messages=HELLO, stream=inbox)
    (failed,) = inbox.until_end()
    assert isinstance(failed, ChatFailed)
    assert isinstance(failed.error, ProtocolError)
