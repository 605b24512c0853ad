from __future__ import annotations

import contextlib
import email
import email.policy
import io
import os
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import AnthropixError, APITimeoutError, ParameterError
from anthropix_actors.files.multipart import Multipart


def read(body: Multipart, size: int = 1000) -> bytes:
    file, length = body.open()
    data = b""
    with contextlib.closing(file):
        while piece := file.read(size):
            assert len(piece) <= size
            data += piece
    assert length in {None, len(data)}
    return data


def parts_of(body: Multipart, size: int = 1000) -> list[tuple[str, str | None, str, bytes]]:
    """Get name, file name, type and bytes of each part, as the standard library reads them."""
    text = f"Content-Type: {body.content_type}\r\n\r\n".encode() + read(body, size)
    parsed: Any = email.message_from_bytes(text, policy=email.policy.HTTP)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in parsed.iter_parts()
    ]


def places_of(fields: Any, files: Any) -> list[str]:
    with pytest.raises(ParameterError) as raised:
        Multipart(fields, files)
    return [problem.place for problem in raised.value.problems]


@given(st.binary().filter(lambda data: b"\r" not in data and b"\n" not in data), st.integers(1, 50))
def test_bytes_come_out_as_they_went_in_however_they_are_read(data: bytes, size: int) -> None:
    body = Multipart({"a": 1, "b": True, "c": "ü"}, {"file": ("x.bin", data)})
    assert body.repeatable
    first = read(body, size)
    assert first == read(body) == read(body, 1)
    found = parts_of(body)
    assert [(name, payload) for name, _, _, payload in found[:3]] == [("a", b"1"), ("b", b"true"), ("c", "ü".encode())]
    assert found[3] == ("file", "x.bin", "application/octet-stream", data)


def test_a_file_may_be_given_in_many_ways(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"<p>")
    with path.open("rb") as opened:
        opened.read(1)
        files = {
            "a": path,
            "b": str(path),
            "c": [bytearray(b"1"), ("two.txt", memoryview(b"2"))],
            "d": opened,
            "e": ("other.png", path),
            "f": io.BytesIO(b"3"),
        }
        body = Multipart({}, files)
        expected = [
            ("a", "page.html", "text/html", b"<p>"),
            ("b", "page.html", "text/html", b"<p>"),
            ("c", "file", "application/octet-stream", b"1"),
            ("c", "two.txt", "text/plain", b"2"),
            ("d", "page.html", "text/html", b"p>"),
            ("e", "other.png", "image/png", b"<p>"),
            ("f", "file", "application/octet-stream", b"3"),
        ]
        assert parts_of(body) == parts_of(body, 3) == expected
        assert not opened.closed


def test_a_pipe_has_no_length_and_is_sent_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        body = Multipart({}, {"file": pipe})
        assert not body.repeatable
        assert body.open()[1] is None
        assert parts_of(body)[0][3] == b"from a pipe"


def test_names_cannot_leave_their_header() -> None:
    data = read(Multipart({'a"\r\nx-evil: 1': "v"}, {"f": ('b"\r\nx: "ü', b"")}))
    assert b'name="a%22%0D%0Ax-evil: 1"' in data
    assert 'filename="b%22%0D%0Ax: %22ü"'.encode() in data
    assert b"\r\nx-evil" not in data


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    with (tmp_path / "text").open("w") as text:
        files = {
            "a": tmp_path / "missing",
            "b": tmp_path,
            "c": text,
            "d": 5,
            "e": [b"", None],
            "f": ("", b""),
            "g": (5, b""),
            "h": "a\0b",
        }
        assert places_of({"x": {}, "y": None}, files) == [
            *("json.x", "json.y", "files.a", "files.b", "files.c", "files.d", "files.e[1]"),
            *("files.f", "files.g", "files.h"),
        ]
    with pytest.raises(ParameterError, match="no such file"):
        Multipart({}, {"file": tmp_path / "missing"})


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789")
    body = Multipart({}, {"file": path})
    path.write_bytes(b"01234")
    with pytest.raises(AnthropixError, match="data: it has become shorter"):
        read(body)
    path.write_bytes(b"0123456789 and more")
    assert parts_of(body)[0][3] == b"0123456789"
    path.unlink()
    with pytest.raises(AnthropixError, match="data: it cannot be opened"):
        read(body)
    assert body.open()[1] is not None


def test_a_file_that_cannot_be_read_any_more_is_an_error() -> None:
    file = io.BytesIO(b"x")
    body = Multipart({}, {"file": file})
    reader = body.open()[0]
    assert reader.read(1000).startswith(b"--")
    assert reader.read(1) == b"x"
    file.close()
    with pytest.raises(AnthropixError, match="file: it cannot be"):
        read(body)
    reader.close()


def test_a_file_that_fails_while_it_is_read_is_an_error() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, f"no more than {size}")

    with pytest.raises(AnthropixError, match="it cannot be read"):
        read(Multipart({}, {"file": Failing(b"abc")}))


def test_what_lies_in_proc_or_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    proc = Path("/proc/self/status")
    body = Multipart({}, {"file": proc})
    assert body.repeatable
    assert b"VmPeak" in parts_of(body)[0][3]
    assert body.open()[1] is None, "it says that it is empty"
    (tmp_path / "empty").touch()
    assert Multipart({}, {"file": tmp_path / "empty"}).open()[1] is not None
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    body = Multipart({}, {"file": ("p.txt", f"/dev/fd/{reading}")})
    assert not body.repeatable
    assert parts_of(body) == [("file", "p.txt", "text/plain", b"from a pipe")]
    os.close(reading)


def refused(*_: object) -> bool:
    return False


def test_a_pipe_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr("os.access", refused)  # tests may run as root, who may do anything
    with pytest.raises(ParameterError, match=r"files\.f: it cannot be read: no permission to read .*fifo"):
        Multipart({}, {"f": tmp_path / "fifo"})


NO_UTF_8 = "bad\udcff.txt"


def test_a_name_that_is_no_utf_8_is_named_unless_there_is_another(tmp_path: Path) -> None:
    path = tmp_path / NO_UTF_8
    path.write_bytes(b"x")
    with pytest.raises(ParameterError, match=r"files\.f: its name is not UTF-8: 'bad\\udcff\.txt'"):
        Multipart({}, {"f": path})
    assert parts_of(Multipart({}, {"f": ("good.txt", path)}))[0][3] == b"x"
    assert places_of({"a": NO_UTF_8, NO_UTF_8: "b"}, {"f": (NO_UTF_8, b""), NO_UTF_8: b""}) == [
        *("json.a", "json", "files.f", "files")
    ]
    assert places_of({5: "x"}, {None: b""}) == ["json", "files"]


class Odd(io.BytesIO):
    """A file object whose methods do what they should not."""

    def __init__(self, **does: Any) -> None:
        super().__init__(b"0123456789")
        self.does = does

    def _odd(self, method: str, *args: Any) -> Any:
        does = self.does.get(method, getattr(super(), method))
        if isinstance(does, BaseException):
            raise does
        return does if not callable(does) else does(*args) if method not in self.does else does()

    def read(self, *args: Any) -> Any:
        return self._odd("read", *args)

    def seek(self, *args: Any) -> Any:
        return self._odd("seek", *args)

    def tell(self) -> Any:
        return self._odd("tell")

    def seekable(self) -> Any:
        return self._odd("seekable")


@pytest.mark.parametrize(
    "does",
    [
        {"seekable": RuntimeError("odd")},
        {"tell": KeyError("odd")},
        {"tell": "3"},
        {"seek": OSError(5, "odd")},
        {"seek": "x"},
        {"seekable": AnthropixError("odd")},
    ],
)
def test_a_file_object_that_cannot_say_how_long_it_is_is_named(does: dict[str, Any]) -> None:
    assert places_of({}, {"f": Odd(**does), "g": 5}) == ["files.f", "files.g"]


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def giving(result: Any) -> Any:
    """Get what `read` does so that it raises, or returns, this."""
    return result if isinstance(result, BaseException) else repeat(result).__next__


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (RuntimeError("odd"), "it cannot be read: RuntimeError: odd"),
        (OSError(5, "odd"), r"it cannot be read: \[Errno 5\] odd"),
        (APITimeoutError("of another request", retryable=True), "it cannot be read: APITimeoutError: of another"),
        (UnspeakableError(), "it cannot be read: UnspeakableError: "),
        ("text", "expected bytes, got str"),
        (None, "expected bytes, got NoneType"),
        (5, "expected bytes, got int"),
        (b"", "it has become shorter"),
    ],
)
def test_whatever_a_file_object_raises_or_returns_is_an_error_of_ours(result: Any, words: str) -> None:
    body = Multipart({}, {"f": Odd(read=giving(result))})
    with pytest.raises(AnthropixError, match=words) as caught:
        read(body)
    assert type(caught.value) is AnthropixError, "it is no failure of this request, so it is not tried again for it"


@pytest.mark.parametrize("leaving", [SystemExit(3), KeyboardInterrupt()])
def test_one_that_leaves_the_program_leaves_it(leaving: BaseException) -> None:
    with pytest.raises(type(leaving)):
        read(Multipart({}, {"f": Odd(read=leaving)}))


@given(st.integers(1, 30), st.integers(1, 30))
def test_one_that_gives_more_than_it_was_asked_for_spoils_nothing(size: int, more: int) -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read((size or 0) + more)

    body = Multipart({}, {"f": ("a.bin", Generous(b"0123456789" * 5)), "g": ("b.bin", memoryview(b"next"))})
    assert [part[3] for part in parts_of(body, size)] == [b"0123456789" * 5, b"next"]


def test_what_a_file_object_has_too_much_is_not_sent() -> None:
    """It would be taken for the beginning of another request."""
    file = Odd(read=giving(b"x" * 100))
    assert parts_of(Multipart({}, {"f": ("a.bin", file), "g": b"1"}))[0][3] == b"x" * 10


def test_one_that_cannot_be_opened_again_is_an_error() -> None:
    file = Odd()
    body = Multipart({}, {"f": file})
    file.does["seek"] = RuntimeError("odd")
    with pytest.raises(AnthropixError, match="file: it cannot be opened: RuntimeError: odd"):
        read(body)
