from __future__ import annotations

import inspect
import json
import pydoc
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    AnthropixError,
    APIError,
    CancelledError,
    CancelToken,
    ChatCancelled,
    ChatDone,
    ChatRef,
    Client,
    ConfigurationError,
    Ledger,
    ParameterError,
    Price,
    Stream,
    Timeout,
    Usage,
)
from anthropix_actors._calls.options import CHAT_OPTIONS
from anthropix_actors.chat.parameters import MAX_TOKENS, PARAMETERS
from anthropix_actors.emulator import Drop, Emulator, Stall, Status
from anthropix_actors.ledger import Ended
from anthropix_actors.types import ChatParams

from actors import ASK, HELLO, Inbox, task_of
from servers import (
    DEADLINE,
    Peer,
    Server,
    after,
    answering,
    error_body,
    json_answer,
    send_answer,
    stalling,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "sk-ant-api03-very-secret"


class Recording:
    """A script that keeps what it was asked."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            self.heads.append(peer.head)
            self.bodies.append(json.loads(peer.body))
            lines = peer.head.decode("latin-1").split("\r\n")[1:]
            self.headers.append(
                {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            )
            send_answer(peer, "x")


def headers_of(**options: Any) -> dict[str, str]:
    """Get the headers that a client with these options sends; `call` are the options of the call."""
    call = options.pop("call", {})
    script = Recording()
    with Server(script) as server, Client(options.pop("api_key", SECRET), base_url=server.url, **options) as client:
        client.chat(**ASK, **call)
    return script.headers[0]


# credentials and address


def test_a_missing_key_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"ANTHROPIC_API_KEY.*Client\(api_key=.*console\.anthropic\.com"):
        Client()


def test_the_key_and_the_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Recording()
    with Server(script) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
        monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url + "/v1/")
        with Client() as client:
            client.chat(**ASK)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "")
        with Client() as client:
            client.chat(**ASK)
    assert script.headers[0]["x-api-key"] == SECRET
    assert "authorization" not in script.headers[0]
    assert script.headers[1]["authorization"] == "Bearer token"
    assert "x-api-key" not in script.headers[1]
    assert script.heads[0].startswith(b"POST /v1/messages HTTP/1.1\r\n")


def test_a_key_and_a_token_at_once_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="expected one of them, got both"):
        Client("key", auth_token="token")


def test_a_token_given_goes_before_a_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    assert headers_of(api_key=None, auth_token="token")["authorization"] == "Bearer token"


@pytest.mark.parametrize("version", ["2026-10-21", "2027-01-01"])
def test_with_the_newer_version_the_key_travels_as_a_bearer_token(version: str) -> None:
    sent = headers_of(api_version=version)
    assert sent["authorization"] == f"Bearer {SECRET}"
    assert sent["anthropic-version"] == version
    assert "x-api-key" not in sent


def test_with_the_newer_version_sampling_parameters_are_refused_before_sending() -> None:
    with (
        Server(answering("x")) as server,
        Client(SECRET, base_url=server.url, api_version="2026-10-21") as client,
        pytest.raises(ParameterError, match="temperature: the API refuses this from version 2026-10-21"),
    ):
        client.chat(**ASK, temperature=0.5)
    assert server.connections == 0


def test_an_empty_key_is_none() -> None:
    with pytest.raises(ConfigurationError, match="there is no API key: it is an empty string"):
        Client("")


@pytest.mark.parametrize("key", [" sk", "sk\n", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_an_error_that_does_not_repeat_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key: expected printable ASCII") as caught:
        Client(key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["api.anthropic.com", "ftp://x", "https://", "https://a b", "https://x:notaport", "//x"]
)
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url: expected a URL like https"):
        Client("k", base_url=url)


@pytest.mark.parametrize("url", ["https://me:mine@x", "https://x?a=b", "https://x#y"])
def test_an_address_with_more_than_an_address_is_an_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="without user, password, query or fragment") as caught:
        Client("k", base_url=url)
    assert "mine" not in str(caught.value)


def test_a_base_url_may_have_a_prefix() -> None:
    script = Recording()
    with Server(script) as server, Client("k", base_url=server.url + "/gate/v1") as client:
        client.chat(**ASK)
    assert script.heads[0].startswith(b"POST /gate/v1/messages ")


@pytest.mark.parametrize("version", ["latest", "2023-6-1", 20230601])
def test_a_version_that_is_no_date_is_an_error(version: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_version: expected a date"):
        Client("k", api_version=version)


# security


def test_the_key_is_nowhere_to_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    refused = json_answer("401 Unauthorized", error_body("authentication_error", "invalid x-api-key"))
    with Server(after(refused)) as server:
        client = Client(SECRET, base_url=server.url)
        inbox = Inbox()
        chat = client.chat(**ASK, stream=inbox)
        failed = inbox.until_end()[-1]
        wait(chat.actor_stopped)
        client.close()
    request = task_of(chat).request
    things = [client, client.chat, chat, failed, failed.error, failed.error.__dict__, request, caplog.text]
    assert all(SECRET not in repr(thing) + str(thing) for thing in things)
    with pytest.raises(AnthropixError) as caught:
        Client(SECRET, base_url="http://127.0.0.1:1", max_retries=0).chat(**ASK)
    assert SECRET not in repr(caught.value) + str(caught.value.__cause__)


# headers


def test_every_request_has_the_headers_of_the_api() -> None:
    sent = headers_of()
    assert sent["anthropic-version"] == "2023-06-01"
    assert sent["content-type"] == "application/json"
    assert sent["accept-encoding"] == "identity"
    assert sent["user-agent"].startswith("anthropix-actors/")


def test_headers_merge_whatever_their_case_and_none_removes_one() -> None:
    sent = headers_of(
        headers={"X-Mine": "client", "User-Agent": "mine", "Accept": None},
        call={"extra_headers": {"x-mine": "call", "USER-AGENT": None}},
    )
    assert sent["x-mine"] == "call"
    assert "accept" not in sent
    assert "anthropix" not in sent.get("user-agent", "")


@pytest.mark.parametrize(
    ("client_beta", "call_beta", "expected"),
    [
        (None, None, None),
        ("a", None, "a"),
        (["a", "b"], None, "a,b"),
        ("a", "b", "a,b"),
        ("a, b", ["b", "c"], "a,b,c"),
        (None, ("c",), "c"),
    ],
)
def test_betas_are_strings_or_lists_and_add_up(client_beta: Any, call_beta: Any, expected: str | None) -> None:
    assert headers_of(beta=client_beta, call={"beta": call_beta}).get("anthropic-beta") == expected


def test_betas_may_come_from_an_iterator() -> None:
    assert headers_of(beta=iter("a"), call={"beta": iter(["b", "c"])})["anthropic-beta"] == "a,b,c"


def test_a_raw_beta_header_replaces_all_betas() -> None:
    sent = headers_of(beta="a", call={"beta": "b", "extra_headers": {"Anthropic-Beta": "z"}})
    assert sent["anthropic-beta"] == "z"


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"x y": "z"}, "expected names of headers, got 'x y'"),
        ({"x": "a\r\nevil: b"}, "expected one line of Latin-1"),
        ({"x": 5}, "expected one line of Latin-1"),
        (["x"], "expected a mapping of names to values, got list"),
    ],
)
def test_headers_that_are_none_are_refused_before_sending(headers: Any, problem: str) -> None:
    with pytest.raises(ParameterError, match=problem) as caught:
        Client("k", headers=headers)
    assert "evil" not in str(caught.value)
    with Client("k") as client, pytest.raises(ParameterError, match=f"extra_headers.*: {problem}"):
        client.chat(**ASK, extra_headers=headers)


# parameters


def test_all_parameters_of_the_api_may_be_given_by_name() -> None:
    """The names in the type and in the validation are the same."""
    assert set(ChatParams.__annotations__) == {*PARAMETERS, *CHAT_OPTIONS} - {"output"}


def test_parameters_are_sent_as_given_and_none_is_left_out() -> None:
    script = Recording()
    tool = {"name": "t", "input_schema": {"type": "object"}}
    with Server(script) as server, Client("k", base_url=server.url) as client:
        client.chat(**ASK)
        client.chat(
            model="any-name-at-all",
            messages=HELLO,
            max_tokens=7,
            system=None,
            tools=[tool],
            temperature=0.5,
            extra_body={"brand_new": {"a": 1}, "max_tokens": 9},
        )
    assert script.bodies[0] == {"model": "claude-test", "messages": HELLO, "max_tokens": 4096, "stream": True}
    assert script.bodies[1] == {
        "model": "any-name-at-all",
        "messages": HELLO,
        "max_tokens": 9,
        "tools": [tool],
        "temperature": 0.5,
        "brand_new": {"a": 1},
        "stream": True,
    }


def test_all_problems_are_told_at_once_and_nothing_is_sent(connect: Callable[..., Client]) -> None:
    messages: Any = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "x"}}]}]
    with Server(answering("x")) as server:
        with pytest.raises(ParameterError) as caught:
            connect(server).chat(model="", messages=messages, top_k=-1, extra_body=5)  # type: ignore[call-overload]
        assert server.connections == 0
    assert [problem.place for problem in caught.value.problems] == [
        "model",
        "messages[0].content[0].source.data",
        "top_k",
        "extra_body",
    ]


def test_a_misspelt_parameter_is_an_error_with_a_hint(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:9")
    with pytest.raises(ParameterError, match="temprature: unknown parameter; did you mean temperature"):
        client.chat(**ASK, temprature=1)  # type: ignore[call-overload]
    with pytest.raises(ParameterError, match="zzz: unknown parameter; if the API knows it, pass it as extra_body"):
        client.chat(**ASK, zzz=1)  # type: ignore[call-overload]


def test_a_request_does_not_change_with_what_it_was_made_from(connect: Callable[..., Client]) -> None:
    """It is put in its final form by the call, so that a retry sends the same."""
    script = Recording()
    messages: Any = [{"role": "user", "content": "before"}]
    with Server(script) as server:
        chat = connect(server).chat(model="m", messages=messages, stream=Inbox())
        messages[0]["content"] = "after"
        chat.result(10)
    assert script.bodies[0]["messages"][0]["content"] == "before"


@pytest.mark.parametrize("stream", [None, 1, "yes", [], object()])
def test_what_is_no_stream_is_refused(stream: Any, connect: Callable[..., Client]) -> None:
    with pytest.raises(ParameterError, match="stream: expected True, False or something with a tell method"):
        connect("http://127.0.0.1:9").chat(**ASK, stream=stream)


@pytest.mark.parametrize("stream", [False, True, Inbox()])
def test_only_an_actors_deltas_can_be_coalesced(stream: Any, connect: Callable[..., Client]) -> None:
    with pytest.raises(ParameterError, match="coalesce: expected an ActorRef as stream"):
        connect("http://127.0.0.1:9").chat(**ASK, stream=stream, coalesce=True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_retries": -1}, "max_retries: expected an integer from 0, got -1"),
        ({"max_retries": True}, "max_retries: expected an integer from 0, got True"),
        ({"max_retry_after": "60"}, "max_retry_after: expected seconds from 0, got '60'"),
        ({"window": 0}, "window: expected an integer from 1, got 0"),
        ({"max_event_bytes": 1.5}, "max_event_bytes: expected an integer from 1, got 1.5"),
        ({"timeout": 0}, "timeout: expected a Timeout, or seconds above 0 in all, got 0"),
        ({"timeout": "9"}, "timeout: expected a Timeout"),
        ({"beta": 5}, "beta: expected a string or strings, got 5"),
        ({"beta": [5]}, "beta: expected a string or strings"),
        ({"ledger": 5}, "ledger: expected something with a tell method, got int"),
        ({"ledger": Ledger}, r"ledger: expected something with a tell method, .*; pass an object of it: Ledger\(\)"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ParameterError, match=problem):
        Client("k", **options)


def test_a_timeout_has_five_parts_and_a_number_is_the_total() -> None:
    assert Timeout() == Timeout(connect=10, read=180, idle=300, total=None, first_byte=600)
    with Server(answering("x")) as server, Client("k", base_url=server.url, timeout=Timeout(connect=3)) as client:
        chats = [
            client.chat(**ASK, stream=Inbox()),
            client.chat(**ASK, stream=Inbox(), timeout=7),
            client.chat(**ASK, stream=Inbox(), timeout=Timeout(idle=None)),
        ]
        for chat in chats:
            wait(chat.actor_stopped)
    assert [task_of(chat).request.timeout for chat in chats] == [
        Timeout(connect=3),
        Timeout(connect=3, total=7),
        Timeout(idle=None),
    ]
    with pytest.raises(ParameterError) as caught:
        Timeout(connect=0, read=True, idle="x", total=float("inf"))  # type: ignore[arg-type]
    assert [problem.place for problem in caught.value.problems] == [
        "timeout.connect",
        "timeout.read",
        "timeout.idle",
        "timeout.total",
    ]


# the three ways, and the end


def test_the_three_ways_return_three_things_and_each_is_an_actor(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        client = connect(server)
        message = client.chat(**ASK)
        stream = client.chat(**ASK, stream=True)
        chat = client.chat(**ASK, stream=Inbox())
        assert message == stream.message() == chat.result(10)
        assert isinstance(stream, Stream)
        assert isinstance(stream.chat, ChatRef)
        assert isinstance(chat, ChatRef)


def test_a_blocking_chat_streams_on_the_wire_so_that_long_answers_meet_no_timeout() -> None:
    script = Recording()
    with Server(script) as server, Client("k", base_url=server.url) as client:
        client.chat(**ASK, max_tokens=1_000_000)
    assert script.bodies[0]["stream"] is True


def test_a_client_is_shared_between_threads(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        client = connect(server)
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(client.chat(**ASK))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(answers) == 20


def test_closing_a_client_cancels_what_runs_and_takes_nothing_new() -> None:
    with Server(stalling) as server:
        inbox = Inbox()
        with Client("k", base_url=server.url) as client:
            chat = client.chat(**ASK, stream=inbox)
            stream = client.chat(**ASK, stream=True)
            next(stream)
        cancelled = inbox.until_end()[-1]
        assert isinstance(cancelled, ChatCancelled)
        assert cancelled.reason == "the client was closed"
        with pytest.raises(CancelledError):
            list(stream)
        wait(chat.actor_stopped)
        client.close()
        with pytest.raises(ConfigurationError, match="the client is closed"):
            client.chat(**ASK)


def test_closing_a_client_leaves_the_results_of_finished_chats(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        client = connect(server)
        inbox = Inbox()
        chat = client.chat(**ASK, stream=inbox)
        assert isinstance(inbox.until_end()[-1], ChatDone)
        client.close()
        assert chat.result()["stop_reason"] == "end_turn"


def test_an_event_larger_than_the_limit_is_an_error() -> None:
    with (
        Server(answering("x" * 5000)) as server,
        Client("k", base_url=server.url, max_event_bytes=4000) as client,
        pytest.raises(APIError, match="an event is larger than 4000 bytes"),
    ):
        client.chat(**ASK)


def test_a_large_prompt_with_every_kind_of_text_arrives_as_it_is() -> None:
    script = Recording()
    text = 'é\u2028\U0001f3ad\x00 \\ " ' * 1000
    with Server(script) as server, Client("k", base_url=server.url) as client:
        client.chat(model="m", messages=({"role": "user", "content": ({"type": "text", "text": text},)},))
    assert script.bodies[0]["messages"] == [{"role": "user", "content": [{"type": "text", "text": text}]}]


def test_the_repr_says_where_and_which_version() -> None:
    assert repr(Client("k")) == "Client(base_url='https://api.anthropic.com', api_version='2023-06-01')"


def test_help_shows_what_a_client_has_besides_chats() -> None:
    text = pydoc.plain(pydoc.render_doc(Client))
    for line in (
        "Many requests at half the price",
        "Files to upload once",
        "The list of models",
        "events of a session",
    ):
        assert line in text
    assert Client.batches.__doc__


def test_a_part_of_a_client_may_be_replaced_by_one_for_tests(connect: Callable[..., Client]) -> None:
    client, other = connect("http://127.0.0.1:1"), object()
    client.batches = other  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    assert client.batches is other


def test_help_shows_the_whole_signature() -> None:
    signature = inspect.signature(Client.chat)
    first = ["self", "model", "messages", "stream", "coalesce", "max_tokens"]
    assert list(signature.parameters)[:6] == first
    assert set(signature.parameters) == {*first, *PARAMETERS, *CHAT_OPTIONS}
    assert signature.parameters["model"].default is inspect.Parameter.empty
    assert signature.parameters["max_tokens"].default == MAX_TOKENS
    assert list(inspect.signature(Client("k").count_tokens).parameters)[:3] == ["model", "messages", "system"]
    assert {"params", "json", "timeout"} <= set(inspect.signature(Client.request).parameters)
    assert {"kind", "params"} <= set(inspect.signature(Client.paginate).parameters)
    assert "model, messages, stream" in " ".join(pydoc.render_doc(Client.chat).split())  # 3.13 breaks the line


def test_making_a_client_opens_no_file_and_no_connection() -> None:
    """So a window can make one on its own thread."""
    program = """
import sys
from anthropix_actors import Client
seen = []
def hook(event, args):
    if event == "socket.connect" or (event == "open" and not str(args[0]).endswith((".py", ".pyc"))):
        seen.append((event, args))
sys.addaudithook(hook)
Client("k")
modules = {*sys.modules}
Client("k")
print(seen, {*sys.modules} - modules)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[] set()\n"


# What a chat may be given besides


def test_a_token_cancels_chats_in_all_three_ways(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client, token, inbox = connect(anthropix_emulator.url), CancelToken(), Inbox()
    anthropix_emulator.queue(*[Stall("never", after_events=2)] * 3)
    errors: list[BaseException] = []

    def block() -> None:
        with pytest.raises(CancelledError) as raised:
            client.chat(**ASK, cancel=token)
        errors.append(raised.value)

    blocked = threading.Thread(target=block)
    blocked.start()
    stream = client.chat(**ASK, stream=True, cancel=token)
    chat = client.chat(**ASK, stream=inbox, cancel=token)
    anthropix_emulator.wait_for_requests(3)
    assert token.cancel("the window was closed")
    blocked.join(DEADLINE)
    assert [str(error) for error in errors] == ["the window was closed"]
    with pytest.raises(CancelledError):
        stream.message()
    assert inbox.until_end()[-1].reason == "the window was closed"
    with pytest.raises(CancelledError, match="the window"):
        client.chat(**ASK, cancel=token)
    assert chat.tag is None


@pytest.mark.parametrize(("name", "value"), [("cancel", "now"), ("tag", 5), ("output", 5), ("stream", None)], ids=str)
def test_odd_options_of_a_chat_are_refused(
    anthropix_emulator: Emulator, connect: Callable[..., Client], name: str, value: Any
) -> None:
    client: Any = connect(anthropix_emulator.url)
    with pytest.raises(ParameterError, match=name):
        client.chat(**ASK, **{name: value})
    assert anthropix_emulator.requests == []


def test_a_ledger_hears_how_every_chat_ended_and_keeps_none_going(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    ledger = Ledger({"m": Price(input=1, output=1)})
    client = connect(anthropix_emulator.url, ledger=ledger)
    anthropix_emulator.queue("Hello.", "Hello.", Status(400), Drop("Once upon a time.", after_events=3), Stall("x"))
    client.chat(model="m", messages=HELLO, tag="one")
    with client.chat(model="m", messages=HELLO, stream=True) as stream:
        stream.message()
    assert ledger.chats == Ended(done=2)
    for _ in range(2):
        with pytest.raises(APIError):
            client.chat(model="m", messages=HELLO, tag="two")
    assert ledger.chats.failed == 2
    assert ledger.by_tag()["one"] == Usage(input_tokens=5, output_tokens=2)
    assert ledger.by_tag()["two"].estimate
    inbox = Inbox()
    chat = client.chat(model="m", messages=HELLO, stream=inbox)
    chat.unsubscribe(inbox)
    until(lambda: ledger.chats.cancelled == 1)
    assert ledger.cost().unpriced == ("unknown",) or ledger.cost().estimate


def test_a_ledger_that_fails_harms_nobody(
    anthropix_emulator: Emulator, connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Inbox):
        def tell(self, message: Any, /) -> None:
            raise ValueError(f"cannot count {type(message).__name__}")

    client = connect(anthropix_emulator.url, ledger=Broken())
    assert client.chat(**ASK)["stop_reason"] == "end_turn"
    assert "failed to take a message" in caplog.text


def test_terminal_messages_say_what_a_chat_cost(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client = connect(anthropix_emulator.url)
    anthropix_emulator.queue(
        "Hello.", Drop("Once upon a time.", after_events=3), Status(529), Stall("Hi", after_events=3)
    )
    ends = []
    for _ in range(3):
        client.chat(**ASK, stream=(inbox := Inbox()))
        ends.append(inbox.until_end()[-1])
    chat = client.chat(**ASK, stream=(inbox := Inbox()))
    until(lambda: chat.snapshot() and chat.snapshot()["content"])  # type: ignore[index]
    chat.cancel()
    ends.append(inbox.until_end()[-1])
    done, cut, refused, cancelled = (end.usage for end in ends)
    assert (done.input_tokens, done.output_tokens, done.estimate) == (5, 2, False)
    assert (cut.input_tokens, cut.estimate) == (5, True)
    assert cut.output_tokens >= 1
    assert refused == Usage()
    assert (cancelled.input_tokens, cancelled.estimate) == (5, True)
