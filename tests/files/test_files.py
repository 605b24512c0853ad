"""Files: up from the disk and down to it, as a stream, and whole or not at all."""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import ssl
import stat
import threading
import tracemalloc
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    AnthropixError,
    APIConnectionError,
    CancelledError,
    CancelToken,
    Client,
    NotFoundError,
    OverloadedError,
    ParameterError,
    Timeout,
    TruncatedError,
)
from anthropix_actors.emulator import Drop, Emulator, Stall, Status

from actors import core_of
from servers import DEADLINE, Always, Peer, Server, acquire, after, head, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = "/v1/files"
AGAIN = {"retry-after-ms": "1"}


@pytest.fixture
def emulator(anthropix_emulator: Emulator) -> Emulator:
    return anthropix_emulator


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(emulator.url, max_retries=2)


def test_a_file_is_uploaded_listed_retrieved_downloaded_and_deleted(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF")
    uploaded = client.files.upload(path)
    assert (uploaded["filename"], uploaded["size_bytes"], uploaded["mime_type"]) == ("paper.pdf", 4, "application/pdf")
    with path.open("rb") as opened:
        others = [client.files.upload(data, filename="x.txt")["id"] for data in (b"1", opened, io.BytesIO(b"2"))]
    assert {file["id"] for file in client.files.list(limit=3)} == {uploaded["id"], *others}
    assert client.files.retrieve(uploaded) == client.files.retrieve(uploaded["id"]) == uploaded
    assert client.files.download(others[1]) == b"%PDF"
    assert client.files.delete(uploaded) == {"id": uploaded["id"], "type": "file_deleted"}
    with pytest.raises(NotFoundError):
        client.files.download(uploaded, tmp_path / "gone")
    assert [each.name for each in tmp_path.iterdir()] == ["paper.pdf"]


def test_a_file_may_be_told_when_to_expire(client: Client) -> None:
    assert client.files.upload(b"x", filename="x", expires_in_seconds=3600).get("expires_at")


@pytest.mark.parametrize("seconds", [3599, 7_776_001, True, "3600", 5.0])
def test_everything_wrong_is_refused_before_anything_is_sent(
    client: Client, emulator: Emulator, tmp_path: Path, seconds: Any
) -> None:
    with pytest.raises(ParameterError) as raised:
        client.files.upload(tmp_path / "missing.pdf", expires_in_seconds=seconds)
    assert [problem.place for problem in raised.value.problems] == ["file", "expires_in_seconds"]
    assert "no such file" in str(raised.value)
    assert "missing.pdf" in str(raised.value)
    with pytest.raises(ParameterError, match="expires_in_seconds"):
        client.files.upload(b"x", expires_in_seconds=seconds)
    with pytest.raises(ParameterError, match=r"^to: expected the path of a file in an existing folder, got"):
        client.files.download("file_1", tmp_path)
    for to in (tmp_path, tmp_path / "no" / "folder", 5, io.StringIO()):
        with pytest.raises(ParameterError, match="to: expected"):
            client.files.download("file_1", to)  # type: ignore[arg-type]
    for file in ("..", "", None):
        with pytest.raises(ParameterError, match="file"):
            client.files.delete(file)  # type: ignore[arg-type]
    assert emulator.requests == []


# Streams, up and down


def test_a_large_file_goes_up_and_down_without_being_in_memory(connect: Callable[..., Client], tmp_path: Path) -> None:
    size, block = 24 << 20, bytes(1 << 16)
    path, copy = tmp_path / "large", tmp_path / "copy"
    with path.open("wb") as file:
        file.truncate(size)
    got: list[int] = []

    def script(peer: Peer) -> None:
        peer.sock.settimeout(DEADLINE)
        data = b""
        while b"\r\n\r\n" not in data:
            data += peer.sock.recv(65536)
        peer.head, _, rest = data.partition(b"\r\n\r\n")
        left = int(peer.header("content-length") or 0) - len(rest)
        got.append(left + len(rest))
        while left:
            left -= len(peer.sock.recv(min(left, 65536)))
        peer.send(json_answer("200 OK", {"id": "file_1"}) if got[0] > size else b"")
        peer.read_request()
        peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
        for _ in range(size // len(block)):
            peer.send(block)

    with Server(script) as server:
        client = connect(server)
        core_of(client).request_factory.build("GET", "/v1/models")  # all code has run
        tracemalloc.start()
        try:
            client.files.upload(path)
            assert client.files.download("file_1", copy) == size
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert got[0] > size
    assert copy.stat().st_size == size
    assert peak < 4 << 20, "both sides together"


def test_an_upload_is_sent_again_from_its_beginning(client: Client, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"0123456789")
    with path.open("rb") as opened:
        opened.seek(4)
        for file in (path, opened, b"456789"):
            emulator.queue(Status(529, headers=AGAIN), path=FILES)
            uploaded = client.files.upload(file, filename="a.txt")
            assert client.files.download(uploaded).endswith(b"456789")
    assert [request.body["file"].size_bytes for request in emulator.requests if request.method == "POST"] == [
        *(10, 10, 6, 6, 6, 6)
    ]


def test_an_upload_from_a_pipe_is_sent_once(client: Client, emulator: Emulator) -> None:
    def pipe() -> Any:
        reading, writing = os.pipe()
        os.write(writing, b"from a pipe")
        os.close(writing)
        return os.fdopen(reading, "rb")

    with pipe() as file:
        assert client.files.download(client.files.upload(file, filename="p")) == b"from a pipe"
    assert "content-length" not in emulator.requests[0].headers
    emulator.queue(Status(529, headers=AGAIN), path=FILES)
    with pipe() as file, pytest.raises(OverloadedError) as raised:
        client.files.upload(file)
    assert raised.value.attempts == 1


def test_a_download_that_is_cut_is_fetched_again_or_leaves_nothing(
    client: Client, emulator: Emulator, connect: Callable[..., Client], tmp_path: Path
) -> None:
    data = bytes(range(256)) * 400
    uploaded = client.files.upload(data, filename="x")
    path = f"{FILES}/{uploaded['id']}/content"
    emulator.queue(Drop(None, after_bytes=70000), path=path)
    assert client.files.download(uploaded, tmp_path / "copy") == len(data)
    assert (tmp_path / "copy").read_bytes() == data
    emulator.queue(Drop(None, after_bytes=70000), path=path)
    assert client.files.download(uploaded) == data
    once = connect(emulator.url)
    (tmp_path / "old").write_bytes(b"old")
    emulator.queue(Drop(None, after_bytes=70000), path=path)
    with pytest.raises(TruncatedError):
        once.files.download(uploaded, str(tmp_path / "old"))
    assert (tmp_path / "old").read_bytes() == b"old"
    assert {each.name for each in tmp_path.iterdir()} == {"copy", "old"}


def test_a_download_that_ends_with_the_connection_is_whole_only_after_a_close_notify(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, connect: Callable[..., Client]
) -> None:
    """TLS says that the server has ended it; without TLS, nothing would."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(framing="close", content_type="application/octet-stream"), b"x" * 70000)
        if peer.number > 1:
            assert isinstance(peer.sock, ssl.SSLSocket)
            peer.sock.unwrap()

    with Server(script, server_tls) as server:
        client = connect(server, verify=client_tls)
        with pytest.raises(TruncatedError, match="without a close_notify") as caught:
            client.files.download("file_1")
        assert caught.value.retryable
        assert client.files.download("file_1") == b"x" * 70000


@pytest.mark.parametrize("wbits", [31, 15], ids=["gzip", "deflate"])
def test_compressed_data_that_are_cut_are_not_whole_though_their_length_fits(
    wbits: int, connect: Callable[..., Client]
) -> None:
    """Such as from a cache with a part of a file. Bytes after the end of gzip are ignored, as gzip itself does."""
    packer, data = zlib.compressobj(wbits=wbits), random.Random(1).randbytes(5000)
    packed = packer.compress(data) + packer.flush()
    coding = {"content-encoding": "gzip" if wbits > 15 else "deflate"}
    sent = [packed[: len(packed) // 2], packed[:-1], packed, packed + b"more"]

    def script(peer: Peer) -> None:
        while sent and peer.read_request():
            body = sent.pop(0)
            peer.send(head(headers=coding, framing=str(len(body)), content_type="application/octet-stream"), body)

    with Server(script) as server:
        client = connect(server)
        for _ in range(2):
            with pytest.raises(TruncatedError, match="compressed") as caught:
                client.files.download("file_1")
            assert caught.value.retryable
        for _ in range(2):
            assert client.files.download("file_1") == data


def test_an_open_file_is_not_written_twice(client: Client, emulator: Emulator) -> None:
    uploaded = client.files.upload(bytes(100_000), filename="x")
    path = f"{FILES}/{uploaded['id']}/content"
    file = io.BytesIO()
    emulator.queue(Status(529, headers=AGAIN), path=path)
    assert client.files.download(uploaded, file) == len(file.getvalue()) == 100_000
    emulator.queue(Drop(None, after_bytes=70000), path=path)
    with pytest.raises(APIConnectionError) as raised:
        client.files.download(uploaded, io.BytesIO())
    assert raised.value.attempts == 1


def test_a_place_that_cannot_be_written_is_an_error_of_ours(client: Client, tmp_path: Path) -> None:
    uploaded = client.files.upload(bytes(100_000), filename="x")
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(AnthropixError, match="the file cannot be written"):
        client.files.download(uploaded, closed)
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(AnthropixError, match="No space left"):
            client.files.download(uploaded, full)
    longest = tmp_path / ("x" * 250)
    assert client.files.download(uploaded, longest) == longest.stat().st_size == 100_000
    with pytest.raises(ParameterError, match=r"to: it cannot be written: .*too long"):
        client.files.download(uploaded, tmp_path / ("x" * 256))


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_token_cancels_from_another_thread_and_leaves_nothing(
    client: Client, emulator: Emulator, tmp_path: Path, direction: str
) -> None:
    token = CancelToken()
    errors: list[BaseException] = []
    began = threading.Semaphore(0)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1 << 20:
                began.release()
            return super().read(size)

    def work() -> None:
        with pytest.raises(CancelledError) as raised:
            if direction == "up":
                with Server(lambda peer: hold.acquire(timeout=DEADLINE) and peer) as server:
                    client_of(server).files.upload(Slow(bytes(64 << 20)), cancel=token)
            else:
                client.files.download(uploaded, tmp_path / "copy", cancel=token)
        errors.append(raised.value)

    hold = threading.Semaphore(0)
    others: list[Client] = []

    def client_of(server: Server) -> Client:
        others.append(Client("key", base_url=server.url, max_retries=0))
        return others[-1]

    uploaded = client.files.upload(bytes(300_000), filename="x")
    emulator.queue(Stall(None, after_bytes=100_000), path=f"{FILES}/{uploaded['id']}/content")
    thread = threading.Thread(target=work)
    thread.start()
    if direction == "up":
        acquire(began)
    else:
        emulator.wait_for_requests(2)
    token.cancel("enough")
    hold.release()
    thread.join(DEADLINE)
    assert [str(error) for error in errors] == ["enough"]
    assert list(tmp_path.iterdir()) == []
    for other in others:
        other.close()


# What is written to, and whose code that is


def serving(data: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(head(framing=str(len(data)), content_type="application/octet-stream"), data)

    return script


DATA = bytes(range(256)) * 1200
"""More than a pipe holds."""


@pytest.fixture
def down(connect: Callable[..., Client]) -> Iterator[Callable[..., Any]]:
    """Download DATA to somewhere."""
    with Server(serving(DATA)) as server:
        client = connect(server, timeout=Timeout(connect=5, read=5, idle=0.5))
        yield partial(client.files.download, "file_1")


class Sink(io.RawIOBase):
    """Takes what it is told to, and says what it is told to say."""

    def __init__(self, takes: Callable[[int], Any]) -> None:
        self.takes = takes
        self.data = b""

    def write(self, data: Any) -> Any:
        taken = self.takes(len(data))
        if isinstance(taken, int) and taken > 0:
            self.data += bytes(data[:taken])
        return taken


def test_a_file_that_takes_little_at_a_time_gets_all_of_it(down: Callable[..., Any]) -> None:
    sink = Sink(lambda size: max(1, size // 3))
    assert down(sink) == len(DATA)
    assert sink.data == DATA


class Writer:
    """A writer of somebody's own, as many are: it says nothing."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.data = b""

    def write(self, data: bytes) -> Any:
        self.data += data
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.mark.parametrize("result", [None, "written", 10**9, object()])
def test_a_writer_that_does_not_say_how_much_it_took_took_all(result: Any, down: Callable[..., Any]) -> None:
    writer = Writer(result)
    assert down(writer) == len(DATA)
    assert writer.data == DATA


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        (Sink(lambda _: None), "it would block"),
        (Sink(lambda _: 0), "it takes nothing"),
        (Sink(lambda _: -5), "it takes nothing"),
        (Writer(RuntimeError("odd")), "RuntimeError: odd"),
        (Writer(OverloadedError("of another request")), "OverloadedError: of another request"),
    ],
    ids=["none", "zero", "minus", "raises", "ours"],
)
def test_what_does_not_take_it_is_an_error(sink: Any, words: str, down: Callable[..., Any]) -> None:
    with pytest.raises(AnthropixError, match=f"the file cannot be written: {words}") as raised:
        down(sink)
    assert type(raised.value) is AnthropixError, "it is no failure of this request, so it is not tried again for it"


def test_one_that_leaves_the_program_leaves_it_and_the_connection_is_closed(down: Callable[..., Any]) -> None:
    with pytest.raises(SystemExit):
        down(Writer(SystemExit(3)))
    assert down(Writer()) == len(DATA)


def test_what_a_buffer_holds_is_written_before_it_counts(down: Callable[..., Any]) -> None:
    full = Path("/dev/full").open("wb", buffering=1 << 20)  # noqa: SIM115 - its close fails, too
    with pytest.raises(AnthropixError, match="No space left"):
        down(full)
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_a_full_disk_is_an_error_and_leaves_nothing(down: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(AnthropixError, match="No space left"):
        down("/dev/full")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(AnthropixError, match=r"copy cannot be written: OSError.*too large"):
            down(tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_to_and_waited_for(down: Callable[..., Any], tmp_path: Path) -> None:
    """Its reader comes late, and takes longer than the idle timeout: that is no silence of the server."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []

    def read() -> None:
        threading.Event().wait(0.7)
        with fifo.open("rb") as file:
            threading.Event().wait(0.7)
            got.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    assert down(fifo) == len(DATA)
    thread.join(DEADLINE)
    assert got == [DATA]
    assert fifo.is_fifo()
    token = CancelToken()
    threading.Timer(0.1, token.cancel, ["nobody reads"]).start()
    with pytest.raises(CancelledError, match="nobody reads"):
        down(fifo, cancel=token)


def test_what_went_into_a_device_is_not_asked_for_again(connect: Callable[..., Client]) -> None:
    script = after(head(framing="9", content_type="application/octet-stream"), b"half")

    with Server(script) as server, pytest.raises(TruncatedError) as raised:
        connect(server, max_retries=3).files.download("file_1", "/dev/null")
    assert raised.value.attempts == 1


def test_a_link_is_followed_and_stays_one(down: Callable[..., Any], tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "target", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(b"old")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "new")
    down(link)
    down(dangling)
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert target.read_bytes() == (tmp_path / "new").read_bytes() == DATA


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_permissions_are_kept(mode: int, down: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.touch()
    path.chmod(mode)
    down(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    umask = os.umask(0o027)
    try:
        down(tmp_path / "new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def refused(*_: object) -> bool:
    return False


def test_a_place_that_must_not_be_written_is_refused_before_anything_is_sent(
    client: Client, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    monkeypatch.setattr("os.access", refused)  # tests may run as root, who may do anything
    for to in (tmp_path / "new", loop, "a\0b", tmp_path / ("x" * 256)):
        with pytest.raises(ParameterError, match=r"^to: "):
            client.files.download("file_1", to)
    assert emulator.requests == []


def test_a_name_that_is_no_utf_8_is_a_place_to_write_to(down: Callable[..., Any], tmp_path: Path) -> None:
    place = tmp_path / "bad\udcff"
    assert down(place) == len(DATA)
    assert place.read_bytes() == DATA


def test_a_file_object_may_use_the_client_that_reads_it(connect: Callable[..., Client]) -> None:
    class Asking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(client.models.retrieve("m")["id"])
            return super().read(size)

    asked: list[str] = []

    script = Always(json_answer("200 OK", {"id": "x"}))

    with Server(script) as server:
        client = connect(server)
        assert client.files.upload(Asking(b"x"))["id"] == "x"
        assert asked == ["x"]
        assert client.models.retrieve("m")["id"] == "x"


def test_proc_and_pipes_are_uploaded_whole(client: Client, emulator: Emulator) -> None:
    uploaded = client.files.upload("/proc/self/status")
    assert b"VmPeak" in client.files.download(uploaded)
    reading, writing = os.pipe()
    os.write(writing, b"by its number")
    os.close(writing)
    assert client.files.download(client.files.upload(f"/dev/fd/{reading}")) == b"by its number"
    os.close(reading)
    assert "content-length" not in emulator.requests[0].headers


class Named:
    """A path whose name is bytes, as `os.scandir` of bytes gives it."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def __fspath__(self) -> bytes:
        return self.name


def test_a_pipe_without_a_name_of_its_own_is_written_to(down: Callable[..., Any], tmp_path: Path) -> None:
    """As /dev/stdout is, when a program's output goes to another one."""
    reading, writing = os.pipe()
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            got.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert down(f"/dev/fd/{writing}") == len(DATA)
    finally:
        os.close(writing)
        thread.join(DEADLINE)
    assert got == [DATA]
    assert down(Named(os.fsencode(tmp_path / "copy"))) == len(DATA)
    with pytest.raises(ParameterError) as raised:
        down(tmp_path)
    assert str(raised.value).count("to: ") == 1
