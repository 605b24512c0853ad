from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request as HTTPRequest

from anthropix_actors.emulator import Cut, Drop, Emulator, Upload
from anthropix_actors.emulator._api.forms import form_body

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 20.0
HEADERS = {"x-api-key": "sk-ant-api03-secret", "anthropic-version": "2023-06-01"}
PATH = "/v1/files"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def send(emulator: Emulator, method: str, path: str, **more: Any) -> requests.Response:
    headers = HEADERS | more.pop("headers", {})
    return requests.request(method, emulator.url + path, headers=headers, timeout=DEADLINE, **more)


def upload(emulator: Emulator, *file: Any, **fields: Any) -> dict[str, Any]:
    response = send(emulator, "POST", PATH, files={"file": file}, data=fields)
    assert response.status_code == 200, response.text
    metadata: dict[str, Any] = response.json()
    return metadata


def test_a_file_comes_back_as_it_was_sent(emulator: Emulator) -> None:
    content = os.urandom(300_000)
    metadata = upload(emulator, "notes.bin", content, "application/x-notes")
    assert re.fullmatch(r"file_01\w{22}", metadata["id"])
    assert metadata == {
        "id": metadata["id"],
        "type": "file",
        "filename": "notes.bin",
        "mime_type": "application/x-notes",
        "size_bytes": 300_000,
        "created_at": metadata["created_at"],
        "downloadable": True,
        "expires_at": None,
    }
    assert send(emulator, "GET", f"{PATH}/{metadata['id']}").json() == metadata
    response = send(emulator, "GET", f"{PATH}/{metadata['id']}/content")
    assert response.content == content
    assert response.headers["content-type"] == "application/x-notes"
    assert response.headers["content-length"] == "300000"


def test_an_empty_file_is_a_file(emulator: Emulator) -> None:
    metadata = upload(emulator, "empty.txt", b"")
    assert (metadata["size_bytes"], metadata["mime_type"]) == (0, "text/plain")
    assert send(emulator, "GET", f"{PATH}/{metadata['id']}/content").content == b""


@pytest.mark.parametrize(
    ("name", "kind", "filename", "mime_type"),
    [
        ("folder/deep/notes.txt", None, "notes.txt", "text/plain"),
        (r"C:\folder\notes.txt", "text/x-notes", "notes.txt", "text/x-notes"),
        ("notes", None, "notes", "application/octet-stream"),
        ("Ærø.pdf", None, "Ærø.pdf", "application/pdf"),
    ],
)
def test_a_file_is_named_and_typed_as_the_api_does(
    emulator: Emulator, name: str, kind: str | None, filename: str, mime_type: str
) -> None:
    # requests encodes a name that is not ASCII in a way that the API does not expect
    disposition = f'form-data; name="file"; filename="{name}"'.encode()
    typed = b"" if kind is None else f"content-type: {kind}\r\n".encode()
    body = b"--x\r\nContent-Disposition: %s\r\n%s\r\nHello\r\n--x--\r\n" % (disposition, typed)
    metadata = send(emulator, "POST", PATH, data=body, headers=form("x")).json()
    assert (metadata["filename"], metadata["mime_type"]) == (filename, mime_type)


@pytest.mark.parametrize(("kind", "filename"), [("application/pdf", "unnamed.pdf"), ("odd/odd", "unnamed")])
def test_a_file_without_a_name_gets_one(emulator: Emulator, kind: str, filename: str) -> None:
    assert upload(emulator, "", b"\xff\x00", kind)["filename"] == filename
    body = f'--x\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: {kind}\r\n\r\n'.encode()
    metadata = send(emulator, "POST", PATH, data=body + b"\xff\x00\r\n--x--\r\n", headers=form("x")).json()
    assert (metadata["filename"], metadata["size_bytes"]) == (filename, 2)
    assert send(emulator, "GET", f"{PATH}/{metadata['id']}/content").content == b"\xff\x00"


@pytest.mark.parametrize("seconds", [3600, 7_776_000])
def test_a_file_may_expire(emulator: Emulator, seconds: int) -> None:
    metadata = upload(emulator, "a", b"", expires_in_seconds=seconds)
    assert metadata["expires_at"] > metadata["created_at"]


def test_a_deleted_file_is_gone(emulator: Emulator) -> None:
    file_id = upload(emulator, "a", b"")["id"]
    assert send(emulator, "DELETE", f"{PATH}/{file_id}").json() == {"id": file_id, "type": "file_deleted"}
    for method, end in [("GET", ""), ("GET", "/content"), ("DELETE", "")]:
        response = send(emulator, method, f"{PATH}/{file_id}{end}")
        assert response.status_code == 404
        assert response.json()["error"]["message"] == f"file: {file_id}"


def test_files_are_listed_page_by_page_the_newest_first(emulator: Emulator) -> None:
    made = [upload(emulator, name, b"")["id"] for name in "abcde"][::-1]
    page = send(emulator, "GET", f"{PATH}?limit=2").json()
    assert [file["id"] for file in page["data"]] == made[:2]
    upload(emulator, "f", b"")
    send(emulator, "DELETE", f"{PATH}/{made[1]}")
    page = send(emulator, "GET", PATH, params={"limit": "2", "page": page["next_page"]}).json()
    assert [file["id"] for file in page["data"]] == made[2:4]
    page = send(emulator, "GET", PATH, params={"limit": "2", "page": page["next_page"]}).json()
    assert ([file["id"] for file in page["data"]], page["next_page"]) == (made[4:], None)


def test_files_are_listed_by_their_ids(emulator: Emulator) -> None:
    made = [upload(emulator, name, b"")["id"] for name in "abc"]
    query = {"ids[]": [made[0], made[2], made[0], "file_1"]}
    assert send(emulator, "GET", PATH, params=query).json()["data"] == [
        send(emulator, "GET", f"{PATH}/{file_id}").json() for file_id in (made[2], made[0])
    ]
    assert send(emulator, "GET", PATH, params=query | {"limit": "2"}).status_code == 400
    many = send(emulator, "GET", PATH, params={"ids[]": [str(number) for number in range(101)]})
    assert many.json()["error"]["message"] == "ids: List should have at most 100 items, not 101"


def form(boundary: str) -> dict[str, str]:
    return {"content-type": f"multipart/form-data; boundary={boundary}"}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "The request body is not a valid form"),
        ({"json": {"file": "a"}}, "The request body is not a valid form"),
        ({"data": {"file": "a"}}, "The request body is not a valid form"),
        (
            {"data": b"--x--", "headers": {"content-type": "multipart/form-data"}},
            "The request body is not a valid form",
        ),
        ({"data": b"no boundary", "headers": form("x")}, "The request body is not a valid form"),
        ({"data": b"--x\r\nno header\r\n\r\n--x--", "headers": form("x")}, "The request body is not a valid form"),
        ({"data": b"--x\r\nA: b\r\n\r\nno end", "headers": form("x")}, "The request body is not a valid form"),
        ({"files": {"fil": b""}}, "file: Field required"),
        ({"files": {"file": b""}, "data": {"purpose": "x"}}, "purpose: Extra inputs are not permitted"),
        ({"files": {"file": b""}, "data": {"expires_in_seconds": "3599"}}, "expires_in_seconds: Input should be"),
        ({"files": {"file": b""}, "data": {"expires_in_seconds": "7776001"}}, "expires_in_seconds: Input should be"),
        ({"files": {"file": b""}, "data": {"expires_in_seconds": "soon"}}, "expires_in_seconds: Input should be"),
        ({"files": {"file": b"", "expires_in_seconds": b"3600"}}, "expires_in_seconds: Input should be"),
    ],
)
def test_bad_uploads_are_refused(emulator: Emulator, sent: dict[str, Any], said: str) -> None:
    response = send(emulator, "POST", PATH, **sent)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]
    assert send(emulator, "GET", PATH).json() == {"data": [], "next_page": None}


def test_an_upload_may_be_larger_than_a_chat(emulator: Emulator) -> None:
    assert upload(emulator, "big", bytes(33 << 20))["size_bytes"] == 33 << 20
    refused = send(emulator, "POST", PATH, headers={**form("x"), "content-length": str((500 << 20) + 1)})
    assert refused.json()["error"]["message"] == "Request exceeds the maximum size of 500 MB"


def test_uploads_are_noted_and_printed_without_their_bytes(emulator: Emulator) -> None:
    upload(emulator, "notes.txt", b"Hello", "text/plain", expires_in_seconds=3600)
    (noted,) = emulator.requests
    assert noted.body == {"file": Upload("notes.txt", "text/plain", b"Hello"), "expires_in_seconds": "3600"}
    assert "Upload(filename='notes.txt', mime_type='text/plain', size_bytes=5)" in repr(noted)
    assert "Hello" not in repr(noted)
    assert noted.body["file"].content == b"Hello"


def test_a_download_is_cut_after_so_many_bytes(emulator: Emulator) -> None:
    content = os.urandom(200_000)
    path = f"{PATH}/{upload(emulator, 'a', content)['id']}/content"
    emulator.queue(Cut(every=1000), Drop(after_bytes=100_000), path=path)
    assert send(emulator, "GET", path).content == content
    response = send(emulator, "GET", path, stream=True)
    received = b""
    with pytest.raises(requests.RequestException):
        for chunk in response.iter_content(1):
            received += chunk
    assert received == content[:100_000]


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="expires_in_seconds"\r\n\r\n3600\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\ncontent-type: text/plain\r\n\r\n'
    b"one\r\n--two\r\n\xff\r\n--x--\r\n"
)


@given(st.lists(st.integers(1, 40), max_size=20))
def test_a_form_cut_anywhere_is_the_same_form(sizes: list[int]) -> None:
    pieces: list[bytes] = []
    left = FORM
    for size in sizes:
        pieces.append(left[:size])
        left = left[size:]
    pieces.append(left)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": headers}
    fields = asyncio.run(form_body(HTTPRequest(scope, receive), 1000))
    assert fields == {"expires_in_seconds": "3600", "file": Upload("a.txt", "text/plain", b"one\r\n--two\r\n\xff")}
