"""Content blocks, from paths, bytes, URLs and uploaded files, up to the request that carries them."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import Client, ParameterError
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors.chat.parameters import chat_body, chat_problems
from anthropix_actors.content import (
    MAX_DOCUMENT_BYTES,
    MAX_IMAGE_BYTES,
    cache_control,
    cached,
    document,
    fixed,
    image,
    text,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator import Emulator

OLD: Any = {"api_version": "2023-06-01"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
PDF = b"%PDF-1.7\n" + bytes(20)
IMAGES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(20),
    "image/gif": b"GIF89a" + bytes(20),
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "picture.txt").write_bytes(PNG)
    (tmp_path / "paper").write_bytes(PDF)
    (tmp_path / "words.pdf").write_text("Grass is grün.", encoding="utf-8")
    return tmp_path


def refusal_of(call: Callable[[], object]) -> str:
    with pytest.raises(ParameterError) as raised:
        call()
    (problem,) = raised.value.problems
    return str(problem)


@pytest.mark.parametrize("media_type", IMAGES)
def test_an_image_is_known_by_its_bytes(media_type: str) -> None:
    for data in (IMAGES[media_type], bytearray(IMAGES[media_type]), memoryview(IMAGES[media_type])):
        source: Any = image(data)["source"]  # type: ignore[arg-type]
        assert source == {"type": "base64", "media_type": media_type, "data": IMAGES[media_type]}
        assert type(source["data"]) is bytes


def test_a_file_is_named_by_its_path_and_not_read_before_it_is_sent(folder: Path) -> None:
    path = folder / "picture.txt"
    for given_path in (path, str(path), os.fspath(path)):
        assert image(given_path)["source"] == {"type": "base64", "media_type": "image/png", "data": path}
    assert document(folder / "paper")["source"] == {
        "type": "base64",
        "media_type": "application/pdf",
        "data": folder / "paper",
    }


def test_what_the_api_has_or_fetches_itself_is_only_named() -> None:
    uploaded: Any = {"type": "file", "id": "file_1", "filename": "x.pdf"}
    for make in (image, document):
        assert make("HTTPS://example.com/x")["source"] == {"type": "url", "url": "HTTPS://example.com/x"}
        assert make(uploaded)["source"] == {"type": "file", "file_id": "file_1"}
        assert "got a mapping that is not the metadata" in refusal_of(lambda make=make: make({"id": "file_1"}))  # type: ignore[misc]


def test_a_document_may_be_text_or_blocks(folder: Path) -> None:
    expected = {"type": "text", "media_type": "text/plain", "data": "Grass is grün."}
    for source in (folder / "words.pdf", "Grass is grün.".encode()):
        assert document(source)["source"] == expected
    blocks = [text("One."), image(PNG)]
    assert document(blocks)["source"] == {"type": "content", "content": blocks}
    assert "UTF-8" in refusal_of(lambda: document(b"\xff\xfe\x00"))


def test_a_document_carries_what_it_is_given() -> None:
    block = document(b"x", title="T", context="C", citations=True, cache="1h")
    assert {name: value for name, value in block.items() if name not in {"type", "source"}} == {
        "title": "T",
        "context": "C",
        "citations": {"enabled": True},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    assert set(document(b"x")) == {"type", "source"}


def test_everything_wrong_is_refused_and_named(folder: Path) -> None:
    assert "begins with b'%PDF-" in refusal_of(lambda: image(PDF))
    assert "no such file: 'nowhere.png'" in refusal_of(lambda: image("nowhere.png"))
    assert "no such file" in refusal_of(lambda: document(Path("nowhere.pdf")))
    assert "cannot be read" in refusal_of(lambda: image(folder))
    assert "cannot be read" in refusal_of(lambda: image("a\0b"))
    assert "got int" in refusal_of(lambda: image(5))  # type: ignore[arg-type]
    assert "got float" in refusal_of(lambda: document(5.0))  # type: ignore[arg-type]
    assert "at most 5 MB" in refusal_of(lambda: image(PNG + bytes(MAX_IMAGE_BYTES)))
    assert "at most 24 MB" in refusal_of(lambda: document(bytes(MAX_DOCUMENT_BYTES + 1)))
    with (folder / "huge").open("wb") as file:
        file.write(PNG)
        file.truncate(MAX_IMAGE_BYTES + 1)
    assert "5,242,881 bytes" in refusal_of(lambda: image(folder / "huge"))
    assert "ttl" in refusal_of(lambda: cache_control("2h"))  # type: ignore[arg-type]
    assert "nothing" in refusal_of(lambda: cached([]))


def test_a_part_to_cache_is_marked_at_its_end_in_a_copy() -> None:
    assert cache_control() == {"type": "ephemeral"}
    assert text("a") == {"type": "text", "text": "a"}
    assert text("a", cache=False) == text("a", cache=None)
    assert text("a", cache="5m").get("cache_control") == {"type": "ephemeral", "ttl": "5m"}
    blocks = [text("a"), text("b")]
    assert cached(blocks, "1h") == [text("a"), text("b", cache="1h")]
    assert cached([*blocks, text("c")]) == [*blocks, text("c", cache=True)]
    assert blocks[1] == text("b")
    assert cached("system") == [text("system", cache=True)]
    message = {"role": "user", "content": blocks}
    assert cached(message)["content"][-1] == text("b", cache=True)
    assert cached([message, message])[-1] == cached(message)
    assert cached({"role": "user", "content": "hi"})["content"] == [text("hi", cache=True)]


def test_the_text_of_an_answer_is_that_of_its_text_blocks() -> None:
    content = [{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "A"}, {"type": "text", "text": "b"}]
    assert text_of({"content": content}) == "Ab"


# On the way into a request


@given(st.binary())
def test_data_become_base64_in_the_copy_that_is_sent(data: bytes) -> None:
    for given_data in (data, bytearray(data), memoryview(data), base64.b64encode(data).decode()):
        source = {"type": "base64", "media_type": "image/png", "data": given_data}
        copy = copy_json({"source": source}, "", [])
        assert base64.b64decode(copy["source"]["data"]) == data
        assert source["data"] is given_data


def test_bytes_anywhere_else_are_no_json() -> None:
    problems: list[Any] = []
    copy_json(
        {"data": b"x", "source": {"type": "url", "data": b"x"}, "deep": [{"type": "base64", "x": b"x"}]}, "", problems
    )
    assert [problem.place for problem in problems] == ["data", "source.data", "deep[0].x"]
    copy_json({"type": "base64", "data": 5.0}, "", problems)
    assert len(problems) == 3


def test_a_file_that_has_gone_meanwhile_is_named_with_its_place(folder: Path) -> None:
    path = folder / "picture.txt"
    messages = [{"role": "user", "content": [text("?"), image(path)]}]
    path.unlink()
    problems = chat_problems({"model": "m", "max_tokens": 1, "messages": messages}, api_version="2023-06-01")
    assert [problem.place for problem in problems] == ["messages[0].content[1].source.data"]
    assert str(path) in problems[0].text


def test_blocks_are_what_the_check_of_parameters_takes(folder: Path) -> None:
    inner = [text("t"), image(PNG), document(folder / "paper", citations=True)]
    content = [
        *inner,
        document([text("One."), image(PNG)], cache=True),
        document(b"Words."),
    ]
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": inner}]},
    ]
    body = chat_body({"model": "m", "max_tokens": 1, "messages": messages}, api_version="2023-06-01")
    sent, result = body["messages"][0]["content"], body["messages"][2]["content"][0]
    assert sent[1]["source"]["data"] == result["content"][1]["source"]["data"] == base64.b64encode(PNG).decode()
    assert sent[3]["source"]["content"][1]["source"]["data"] == base64.b64encode(PNG).decode()
    assert base64.b64decode(sent[2]["source"]["data"]) == PDF


def test_a_chat_carries_them(anthropix_emulator: Emulator, connect: Callable[..., Client], folder: Path) -> None:
    client = connect(anthropix_emulator.url)
    uploaded = client.files.upload(folder / "paper")
    content = [image(folder / "picture.txt"), document(uploaded), text("What is it?", cache=True)]
    client.chat(model="m", messages=[{"role": "user", "content": content}])
    sent = anthropix_emulator.requests[-1].body["messages"][0]["content"]
    assert base64.b64decode(sent[0]["source"]["data"]) == PNG
    assert sent[1]["source"] == {"type": "file", "file_id": uploaded["id"]}


@pytest.mark.parametrize(
    ("make", "head", "limit"),
    [(image, PNG, MAX_IMAGE_BYTES), (document, PDF, MAX_DOCUMENT_BYTES)],
    ids=["image", "document"],
)
def test_as_large_as_may_be_is_taken_and_one_byte_more_is_not(
    make: Callable[[Any], Any], head: bytes, limit: int, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    for size, taken in ((limit, True), (limit + 1, False)):
        path.write_bytes(head)
        os.truncate(path, size)
        data = head + bytes(size - len(head))
        for source in (path, data):
            if taken:
                assert make(source)["source"]["data"] == source
            else:
                assert f"got {size:,} bytes" in refusal_of(lambda source=source: make(source))  # type: ignore[misc]


# What is given in another way


def test_a_byte_order_mark_is_no_part_of_a_text(folder: Path) -> None:
    (folder / "marked.txt").write_bytes(b"\xef\xbb\xbfGrass.")
    for source in (folder / "marked.txt", b"\xef\xbb\xbfGrass."):
        assert document(source)["source"]["data"] == "Grass."  # type: ignore[typeddict-item]


def test_a_data_url_is_its_data() -> None:
    encoded = base64.b64encode(PNG).decode()
    for url in (f"data:image/jpeg;base64,{encoded}", f"Data:;Base64,{encoded}"):
        assert image(url)["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}, "its bytes say it"
    assert document("data:,A%20brief%2C%20note")["source"]["data"] == "A brief, note"  # type: ignore[typeddict-item]
    assert "base64" in refusal_of(lambda: image("data:image/png;base64,%%%"))
    assert "base64" in refusal_of(lambda: image("data:image/png;base64,iVB_"))
    for url in ("data:image/png", "file:///home/x.png", "s3://bucket/x.png"):
        assert "expected a URL of http, https or data" in refusal_of(lambda url=url: image(url))  # type: ignore[misc]


def test_what_was_taken_for_data_is_said_how_to_give() -> None:
    encoded = base64.b64encode(PNG * 200).decode()
    assert "base64.b64decode" in refusal_of(lambda: image(encoded))
    assert len(refusal_of(lambda: image(encoded))) < 250
    assert "base64.b64decode" in refusal_of(lambda: image("/9j/4AAQSkZJRg"))
    assert "pass data as bytes" in refusal_of(lambda: document("Grass is green."))
    assert "pass data as bytes" in refusal_of(lambda: document("Grass is green. " * 500))


class Unreadable:
    def __fspath__(self) -> str:
        raise RuntimeError("no path today")


class Odd:
    def __fspath__(self) -> bytes:
        return b"x.png"


def test_a_path_of_a_class_of_the_caller_s_may_raise_anything() -> None:
    assert "no path today" in refusal_of(lambda: image(Unreadable()))
    assert "expected a path" in refusal_of(lambda: image(Odd()))  # type: ignore[arg-type]
    source = {"type": "base64", "media_type": "image/png", "data": Unreadable()}
    content: Any = [{"type": "image", "source": source}]
    problems = chat_problems({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}, **OLD)
    assert [str(problem) for problem in problems] == [
        "messages[0].content[0].source.data: it cannot be read: no path today"
    ]


def test_a_pipe_is_read_once_and_whole() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(PNG * 10_000)  # more than a pipe holds

    writer = threading.Thread(target=write)
    writer.start()
    block: Any = image(f"/dev/fd/{reading}")
    writer.join()
    os.close(reading)
    assert block["source"]["data"] == PNG * 10_000
    assert "expected at most 5 MB" in refusal_of(lambda: image("/dev/zero"))


def test_a_fixed_conversation_is_json_and_needs_no_file(folder: Path) -> None:
    path = folder / "picture.txt"
    inner = document([text("One."), image(PNG)])
    history: list[Any] = [
        {"role": "user", "content": [image(path), inner, text("What?", cache=True)]},
        {"role": "assistant", "content": "A picture."},
    ]
    kept = fixed(history)
    path.unlink()
    encoded = base64.b64encode(PNG).decode()
    assert kept[0]["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": encoded}
    assert kept[0]["content"][1]["source"]["content"][1]["source"]["data"] == encoded
    assert json.loads(json.dumps(kept)) == kept == fixed(kept)
    assert history[0]["content"][0]["source"]["data"] == path, "it is a copy"
    body = chat_body({"model": "m", "max_tokens": 1, "messages": kept}, **OLD)
    assert body["messages"] == kept
    assert fixed(image(PNG))["source"]["data"] == encoded
    with pytest.raises(ParameterError, match=r"items\[0\]\.content\[0\]\.source\.data: it cannot be read"):
        fixed(history)


def test_the_text_of_what_there_is_not_yet_is_empty_and_of_something_else_an_error() -> None:
    assert text_of(None) == ""
    assert text_of({"role": "user", "content": "Hello"}) == "Hello"
    odd: Any
    for odd in (5, "x", [], {"type": "ping"}):
        with pytest.raises(
            ParameterError,
            match=r"message: expected a Message, such as client\.chat\(\.\.\.\), chat\.result\(\), turn\.result\(\)",
        ):
            text_of(odd)


def test_the_text_of_an_answer_is_that_of_its_texts() -> None:
    blocks: list[Any] = [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}, {}, text("b")]
    assert text_of({"content": blocks}) == "ab"
