"""Answers as other servers write them, over real sockets: taken as far as is safe, in every way to ask; never half."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    APIStatusError,
    BadRequestError,
    BatchDone,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatRetrying,
    Client,
    OverloadedError,
    ProtocolError,
    StalledError,
    Timeout,
    TruncatedError,
)
from anthropix_actors.chat.accumulate import Accumulator

from actors import ASK, HELLO, Inbox, Reader, going_on, text_of
from servers import (
    DEADLINE,
    STOP,
    Halt,
    Peer,
    Replies,
    Server,
    after,
    answer,
    block_start,
    block_stop,
    chunk,
    error_body,
    head,
    json_answer,
    message_delta,
    send_answer,
    sse,
    start,
    stream_of,
    text_delta,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import AnthropixError

CALL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def body(*pieces: bytes | dict[str, Any], content_type: str = "text/event-stream") -> Callable[[Peer], None]:
    """Get a script that answers each request with these bytes, events among them, in one chunk each."""
    written = [piece if isinstance(piece, bytes) else sse(piece) for piece in pieces]

    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(head(content_type=content_type), *map(chunk, filter(None, written)), b"0\r\n\r\n")

    return script


def raw(name: str | None, data: str) -> bytes:
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def piece(text: str, index: int = 0) -> dict[str, Any]:
    delta = {"type": "input_json_delta", "partial_json": text}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def message_of(script: Callable[[Peer], None], connect: Callable[..., Client]) -> Any:
    """Ask in all ways there are; get the Message, which is the same in all, and can be sent back."""
    with Server(script) as server:
        client = connect(server)
        message: Any = client.chat(**ASK)
        with client.chat(**ASK, stream=True) as stream:
            told: list[Any] = list(stream)
            assert stream.message() == message
        with client.chat(**ASK, stream=True) as stream:
            assert "".join(stream.text) == "".join(block.get("text", "") for block in message["content"])
        accumulator = Accumulator()
        for event in told:
            assert isinstance(event["type"], str)
            accumulator.add(event)
        assert accumulator.snapshot() == message, "the events make another Message"
        assert (told[0]["type"], told[-1]["type"]) == ("message_start", "message_stop")
        inbox, late = Inbox(), Inbox()
        chat = client.chat(**ASK, stream=Reader.start(inbox))
        heard = inbox.until_end()
        assert [each.data for each in heard if isinstance(each, ChatEvent)] == told
        assert heard[-1].message == message
        chat.subscribe(late)
        again = Accumulator()
        for each in late.until_end()[:-1]:
            again.add(each.data)
        assert again.snapshot() == message, "a late subscriber was told another Message"
        turn: Any = {"role": "assistant", "content": message["content"]}
        assert client.chat(model="m", messages=[*HELLO, turn, going_on(message["content"])]) == message
    return message


def failure(script: Callable[[Peer], None], connect: Callable[..., Client], **options: Any) -> Any:
    """Get the error of a chat; a subscriber is told the same."""
    with Server(script) as server:
        inbox = Inbox()
        client = connect(server, **options)
        chat = client.chat(**ASK, stream=inbox)
        failed = inbox.until_end()[-1]
        assert isinstance(failed, ChatFailed)
        with pytest.raises(type(failed.error)) as caught:
            chat.result(DEADLINE)
    error: AnthropixError = caught.value
    return error


# Values


def test_an_emoji_in_two_halves_arrives_whole(connect: Callable[..., Client]) -> None:
    message = message_of(body(*answer("a\ud83d", "\ude00b", "\ud83d", "c\udfff")), connect)
    assert message["content"] == [{"type": "text", "text": "a\U0001f600b\ufffdc\ufffd"}]


def test_a_tools_input_with_odd_values_can_be_sent_back(connect: Callable[..., Client]) -> None:
    text = '{"wei": ' + "9" * 40 + ', "text": "\\ud83d", "\\ude00": [-' + "9" * 4000 + "]}"
    found = [start(), block_start(0, **CALL), piece(text[:30]), piece(text[30:]), block_stop(), message_delta(), STOP]
    (call,) = message_of(body(*found), connect)["content"]
    assert call["input"] == {"wei": int("9" * 40), "text": "\ufffd", "\ufffd": [-int("9" * 4000)]}


def test_what_was_taken_is_what_is_sent_back(connect: Callable[..., Client]) -> None:
    sent: list[Any] = []
    text = '{"wei": ' + "7" * 50 + "}"

    def script(peer: Peer) -> None:
        while peer.read_request():
            sent.append(json.loads(peer.body))
            found = [start(), block_start(0, **CALL), piece(text), block_stop(), message_delta("tool_use"), STOP]
            peer.send(stream_of(*found))

    with Server(script) as server:
        client = connect(server)
        content: Any = client.chat(**ASK)["content"]
        client.chat(model="m", messages=[*HELLO, {"role": "assistant", "content": content}, going_on(content)])
    assert sent[1]["messages"][1]["content"] == [{**CALL, "input": {"wei": int("7" * 50)}}]


def test_odd_values_in_any_event_cost_themselves(connect: Callable[..., Client]) -> None:
    odd = raw("message_start", json.dumps(start())[:-2] + ', "odd": [NaN, 1e999, "\\ud800", "\t"]}}')
    message = message_of(body(odd, *answer("fine")[1:]), connect)
    assert message["odd"] == [None, None, "\ufffd", "\t"]
    assert message["content"] == [{"type": "text", "text": "fine"}]


def test_a_whole_input_at_the_start_stays_when_an_empty_delta_follows(connect: Callable[..., Client]) -> None:
    begun = {**CALL, "input": {"path": "a"}}
    for odd in ("", " \n"):
        found = [start(), block_start(0, **begun), piece(odd), block_stop(), message_delta("tool_use"), STOP]
        assert message_of(body(*found), connect)["content"] == [begun]


def test_null_later_does_not_erase_why_it_stopped(connect: Callable[..., Client]) -> None:
    again = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 11}}
    found = answer("fine")
    message = message_of(body(*found[:-1], again, STOP), connect)
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("end_turn", 11)


# Events


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize(
    "odd",
    [
        raw("metrics", '{"amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}'),
        raw(None, '{"amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}'),
        raw("metrics", "not even JSON"),
        raw("new", '{"type":"new","index":0,"delta":{"type":"text_delta","text":"!"}}'),
        raw(None, ""),
        raw("content_block_delta", ""),
        b": OPENROUTER PROCESSING\n\n",
    ],
)
def test_an_event_of_no_consequence_costs_nothing_wherever_it_comes(
    odd: bytes, place: int, connect: Callable[..., Client]
) -> None:
    found: list[Any] = [*map(sse, answer("A", "B"))]
    with Server(body(*found[:place], odd, *found[place:])) as server:
        client = connect(server)
        assert client.chat(**ASK)["content"] == [{"type": "text", "text": "AB"}]
        events: list[Any] = list(client.chat(**ASK, stream=True))
    assert [event for event in events if event in answer("A", "B")] == answer("A", "B")


def test_an_unknown_event_is_told_as_it_came(connect: Callable[..., Client]) -> None:
    found: list[Any] = answer("A")
    odd = {"type": "metrics", "latency": 5}
    with Server(body(*found[:3], raw("metrics", '{"latency":5}'), *found[3:])) as server:
        assert list(connect(server).chat(**ASK, stream=True)) == [*found[:3], odd, *found[3:]]


def test_the_last_event_may_carry_more_than_the_end(connect: Callable[..., Client]) -> None:
    """As Bedrock's does."""
    last = raw("message_stop", '{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}')
    assert message_of(body(*answer("A")[:-1], last), connect)["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "error",
    [
        raw("error", '{"error":{"type":"overloaded_error","message":"Overloaded"}}'),
        raw("error", '{"type":"overloaded_error","message":"Overloaded"}'),
        raw("error", '{"type":"internal","error":{"type":"overloaded_error","message":"Overloaded"}}'),
        raw(None, '{"error":{"type":"overloaded_error","message":"Overloaded","code":529}}'),
        raw("error", json.dumps(error_body("overloaded_error", "Overloaded"))).rstrip(),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_error_is_one_in_whatever_shape_it_comes(error: bytes, before: int, connect: Callable[..., Client]) -> None:
    raised = failure(body(*answer("A")[:before], error), connect)
    assert type(raised) is OverloadedError
    assert (raised.message, raised.status) == ("Overloaded", 200)
    assert raised.in_stream
    assert raised.retryable


def test_the_text_of_an_error_without_json_is_kept(connect: Callable[..., Client]) -> None:
    raised = failure(body(*answer("A")[:3], raw("error", "upstream has gone away")), connect)
    assert raised.message == "upstream has gone away"
    assert failure(body(raw("error", "")), connect).message


def test_an_unknown_event_before_the_content_does_not_prevent_a_retry(connect: Callable[..., Client]) -> None:
    odd = raw("metrics", '{"latency":5}')
    error = error_body("overloaded_error")

    def script(peer: Peer) -> None:
        peer.read_request()
        if peer.number == 1:
            peer.send(head(framing="close"), odd, sse(start()), odd, sse(error))
        else:
            send_answer(peer, "fine")

    with Server(script) as server:
        inbox = Inbox()
        connect(server, max_retries=1).chat(**ASK, stream=inbox)
        told = inbox.until_end()
    assert isinstance(told[0], ChatRetrying)
    assert [each.data for each in told if isinstance(each, ChatEvent)] == answer("fine")
    assert isinstance(told[-1], ChatDone)


def test_not_any_number_of_unknown_events_is_held_back(connect: Callable[..., Client]) -> None:
    odd = {"type": "metrics", "latency": 5}
    raised = failure(body(sse(start()), *[odd] * 100), connect)
    assert isinstance(raised, TruncatedError)
    assert raised.partial is not None, "what was held was told"


def test_a_stream_of_unknown_events_alone_is_a_stall(connect: Callable[..., Client]) -> None:
    raised = failure(Halt(head(), chunk(raw("metrics", "{}"))), connect, timeout=Timeout(connect=5, read=10, idle=0.2))
    assert isinstance(raised, StalledError)


# Which block


def test_a_text_and_a_call_with_one_index(connect: Callable[..., Client]) -> None:
    """As ollama sends them."""
    found = [start(), block_start(), text_delta("I will look."), block_stop()]
    found += [block_start(0, **CALL), piece('{"city": '), piece('"Bergen"}'), block_stop(), message_delta("tool_use")]
    text, call = message_of(body(*found, STOP), connect)["content"]
    assert text == {"type": "text", "text": "I will look."}
    assert call == {**CALL, "input": {"city": "Bergen"}}


def test_blocks_that_are_never_stopped(connect: Callable[..., Client]) -> None:
    found = [start(), block_start(), text_delta("Now."), block_start(1, **CALL), piece('{"a": 1}', 1)]
    text, call = message_of(body(*found, message_delta("tool_use"), STOP), connect)["content"]
    assert (text["text"], call["input"]) == ("Now.", {"a": 1})


def test_thinking_without_a_signature_can_be_sent_back(connect: Callable[..., Client]) -> None:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}
    found = [start(), block_start(type="thinking", thinking=""), delta, block_stop(), *answer("fine")[1:]]
    found = [
        event if number < 4 or "index" not in event else {**event, "index": 1} for number, event in enumerate(found)
    ]
    thought, text = message_of(body(*found), connect)["content"]
    assert (thought["thinking"], text["text"]) == ("Hm.", "fine")


@pytest.mark.parametrize("given", [None, "", [1], '{"a": 1}'])
def test_a_call_whose_input_begins_as_something_else_can_be_sent_back(
    given: Any, connect: Callable[..., Client]
) -> None:
    call = {**CALL, "input": given}
    (found,) = message_of(body(start(), block_start(0, **call), block_stop(), message_delta(), STOP), connect)[
        "content"
    ]
    assert found["input"] == ({"a": 1} if given == '{"a": 1}' else {})


# The end


def test_done_in_place_of_the_end_after_a_stop_reason(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "anthropix_actors"):
        message = message_of(body(*answer("A")[:-1], raw(None, "[DONE]")), connect)
    assert message["stop_reason"] == "end_turn"
    assert "[DONE] in place of message_stop" in caplog.text


def test_done_after_the_end_is_not_even_read(connect: Callable[..., Client]) -> None:
    assert message_of(body(*answer("A"), raw(None, "[DONE]")), connect)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("place", range(5))
def test_done_without_a_stop_reason_ends_no_answer(place: int, connect: Callable[..., Client]) -> None:
    found: list[Any] = answer("A")
    assert isinstance(failure(body(*found[:place], raw(None, "[DONE]")), connect), TruncatedError)
    assert message_of(body(*found[:place], *found[place:]), connect)["stop_reason"] == "end_turn"


def test_a_stop_reason_alone_ends_no_answer(connect: Callable[..., Client]) -> None:
    assert isinstance(failure(body(*answer("A")[:-1]), connect), TruncatedError)


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("last", [sse(STOP).rstrip(), sse(STOP)[:-1], b"data: [DONE]"])
def test_the_last_line_end_may_be_missing(last: bytes, framing: str, connect: Callable[..., Client]) -> None:
    pieces = [*map(sse, answer("A")[:-1]), last]
    script = body(*pieces) if framing == "chunked" else after(head(framing="close"), *pieces)
    assert message_of(script, connect)["stop_reason"] == "end_turn"


def test_a_last_event_on_a_connection_that_is_cut_is_not_the_end(connect: Callable[..., Client]) -> None:
    found = b"".join(map(sse, answer("A"))).rstrip()
    assert isinstance(failure(after(head(), b"%x\r\n" % (len(found) + 2), found), connect), TruncatedError)


# JSON


def whole(**more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "Hello"}, {**CALL, "input": {"wei": 10**30}}]
    return {**start()["message"], "content": content, "stop_reason": "tool_use", **more}


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "application/json; charset=utf-8"])
@pytest.mark.parametrize("written", [json.dumps(whole()), "\n\n" + json.dumps(whole(), indent=2) + "\n"])
def test_a_whole_message_as_json_is_the_answer(written: str, content_type: str, connect: Callable[..., Client]) -> None:
    assert (
        message_of(
            body(*[written[i : i + 7].encode() for i in range(0, len(written), 7)], content_type=content_type), connect
        )
        == whole()
    )


def test_a_subscriber_is_told_the_events_of_a_message_that_came_as_json(connect: Callable[..., Client]) -> None:
    with Server(after(json_answer("200 OK", whole()))) as server:
        inbox = Inbox()
        connect(server).chat(**ASK, stream=inbox)
        told = inbox.until_end()
    kinds = [message.data["type"] for message in told[:-1]]
    assert kinds == [
        "message_start",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert text_of(told) == "Hello"
    assert told[-1].message == whole()
    assert told[-1].usage.output_tokens == 1


def test_a_message_as_json_that_is_cut_is_never_whole(connect: Callable[..., Client]) -> None:
    data = json.dumps(whole()).encode()

    def script(peer: Peer) -> None:
        while peer.read_request():
            end = int(json.loads(peer.body)["model"])
            peer.send(head(content_type="application/json"), chunk(data[:end]), b"0\r\n\r\n")

    with Server(script) as server:
        client = connect(server)
        for end in range(1, len(data), 7):
            with pytest.raises((TruncatedError, ProtocolError)):
                client.chat(model=str(end), messages=HELLO)
    cut = after(head(content_type="application/json", framing=str(len(data))), data[:-1])
    assert isinstance(failure(cut, connect), TruncatedError)


def test_a_message_as_json_is_as_large_as_an_answer_may_be(connect: Callable[..., Client]) -> None:
    large = json_answer("200 OK", whole(padding="x" * 100_000))
    assert "max_answer_bytes" in failure(after(large), connect, max_answer_bytes=50_000).message


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("kind", ["overloaded_error", "invalid_request_error"])
def test_an_error_as_json_under_a_good_status_is_that_error(
    content_type: str, kind: str, connect: Callable[..., Client]
) -> None:
    data = json.dumps(error_body(kind, "why")).encode()
    raised = failure(body(data, content_type=content_type), connect)
    assert type(raised) is {"overloaded_error": OverloadedError, "invalid_request_error": BadRequestError}[kind]
    assert (raised.message, raised.retryable, raised.in_stream) == ("why", kind == "overloaded_error", False)


def test_such_an_error_is_tried_again(connect: Callable[..., Client]) -> None:
    with Server(Replies(json_answer("200 OK", error_body("overloaded_error")), stream_of(*answer("fine")))) as server:
        assert connect(server, max_retries=1).chat(**ASK)["content"][0]["text"] == "fine"


@pytest.mark.parametrize("data", [{"choices": []}, {"type": "message"}, [], "text"])
def test_json_of_another_api_is_an_error_that_holds_it(data: Any, connect: Callable[..., Client]) -> None:
    raised = failure(after(json_answer("200 OK", data)), connect)
    assert isinstance(raised, ProtocolError)
    assert json.loads(str(raised.body)) == data


def test_an_event_stream_that_says_it_is_json_is_an_event_stream(connect: Callable[..., Client]) -> None:
    found = [b"\xef\xbb\xbf", *map(sse, answer("A"))]
    assert message_of(body(*found, content_type="application/json"), connect)["content"][0]["text"] == "A"


# Errors


@pytest.mark.parametrize(
    ("status", "said", "text"),
    [
        ("400 X", {"error": "model not found"}, "model not found"),
        ("500 X", {"errors": ["disk full"]}, "disk full"),
        ("422 X", {"detail": [{"loc": ["body", "model"], "msg": "field required"}]}, "body.model: field required"),
        ("418 X", b"", "I'm a Teapot"),
        ("500 X", b"", "Internal Server Error"),
        ("500 X", b'{"error":{"message":"\\ud800"}}', "\ufffd"),
    ],
)
def test_the_text_of_an_error_is_found(status: str, said: Any, text: str, connect: Callable[..., Client]) -> None:
    raised = failure(after(json_answer(status, said)), connect)
    assert isinstance(raised, APIStatusError)
    assert raised.message.startswith(text)


def test_a_redirect_says_where_it_leads(connect: Callable[..., Client]) -> None:
    moved = json_answer("308 X", b"", {"location": "https://me:sesame@elsewhere.invalid/v1/messages?key=sesame"})
    raised = failure(after(moved), connect)
    assert "https://elsewhere.invalid/v1/messages" in str(raised)
    assert "sesame" not in str(raised)


# Large events


def test_an_event_of_17_mib_is_taken_and_a_larger_one_names_what_bounds_it(connect: Callable[..., Client]) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "A" * (17 << 20)}
    page = {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": {"source": source}}
    found = [start(), block_start(0, **page), block_stop(), message_delta(), STOP]
    with Server(body(*found)) as server:
        message: Any = connect(server).chat(**ASK)
        assert len(message["content"][0]["content"]["source"]["data"]) == 17 << 20
        with pytest.raises(ProtocolError, match="max_event_bytes"):
            connect(server, max_event_bytes=1 << 20).chat(**ASK)


# Results of a batch


def test_one_odd_character_does_not_cost_the_rest_of_a_batchs_results(connect: Callable[..., Client]) -> None:
    def line(custom_id: bytes, text: bytes) -> bytes:
        message = b'{"type":"message","role":"assistant","content":[{"type":"text","text":"%s"}]}' % text
        return b'{"custom_id":"%s","result":{"type":"succeeded","message":%s}}\n' % (custom_id, message)

    odd = [rb"\ud83d", b"caf\xe9", b"a\tb", rb"\ud83d\ude00", b"fine"]
    lines = b"\xef\xbb\xbf" + b"".join(line(b"%d" % number, text) for number, text in enumerate(odd))
    counts = {"processing": 0, "succeeded": len(odd), "errored": 0, "canceled": 0, "expired": 0}
    urls: list[str] = []

    def script(peer: Peer) -> None:
        while peer.read_request():
            ended: dict[str, Any] = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}
            ended |= {"request_counts": counts, "results_url": f"{urls[0]}/v1/messages/batches/msgbatch_1/results"}
            if b"/results" in peer.head.partition(b"\r\n")[0]:
                kind = "application/binary"
                peer.send(head(content_type=kind), *[chunk(lines[at : at + 50]) for at in range(0, len(lines), 50)])
                peer.send(b"0\r\n\r\n")
            else:
                peer.send(json_answer("200 OK", ended))

    with Server(script) as server:
        urls.append(server.url)
        client = connect(server)
        found: list[Any] = list(client.batches.results("msgbatch_1"))
        inbox = Inbox()
        client.batches.results("msgbatch_1", stream=inbox)
        told = [inbox.next() for _ in odd]
        assert isinstance(inbox.next(), BatchDone)
    texts = ["\ufffd", "caf\ufffd", "a\tb", "\U0001f600", "fine"]
    assert [each["result"]["message"]["content"][0]["text"] for each in found] == texts
    assert [each.custom_id for each in told] == [each["custom_id"] for each in found] == ["0", "1", "2", "3", "4"]
    json.dumps(found, ensure_ascii=False).encode()
