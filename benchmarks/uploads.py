"""A large file that is uploaded, and a large image in a chat: time, CPU, and the memory that it needs meanwhile."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from _measure import (
    HAS_SDK,
    MIB,
    WAYS,
    Verdict,
    Worker,
    forget_peak_rss,
    interleaved,
    median_and_range,
    peak_rss,
    rss,
    table,
    title,
)
from _pipelines import ASK, connected, our_client, raw_head
from _server import running_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

_RAW = "raw socket, piece by piece"
_OURS = "ours"
_SDK = "SDK"

_FILE = "a file of 20 MB"
_IMAGE = "a chat with an image of 10 MB"
_SIZES = {_FILE: 20_000_000, _IMAGE: 10_000_000}
_PIECE = 3 << 14
"""Bytes to read, encode and send at once; base64 needs a multiple of 3."""

_FLAT = 2 * MIB


class _Cost(NamedTuple):
    """Of one upload."""

    wall: float
    cpu: float
    memory: int
    """Bytes, at the most, over what the process had before."""


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 3 if quick else 11
    most = {}
    for what in _SIZES:
        for way, encrypted in WAYS.items():
            title(f"uploads: {what}, {way}; median of {repetitions}")
            most[what, way] = _shown(_measured(what, repetitions, encrypted=encrypted))
    plain, over_tls = WAYS
    verdicts = [_flat(f"{_FILE}, {plain}: memory", most[_FILE, plain])]
    return verdicts + [
        _flat(f"{what}, {over_tls}: memory, beyond {plain}", most[what, over_tls] - most[what, plain])
        for what in _SIZES
    ]


def _measured(what: str, repetitions: int, *, encrypted: bool) -> dict[str, list[_Cost]]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_file(_SIZES[what]))
        server = stack.enter_context(running_server(encrypted=encrypted))
        names = [_RAW, _OURS, *([_SDK] if HAS_SDK else [])]
        workers = {name: stack.enter_context(Worker(_uploading, what, name, server, file)) for name in names}
        return interleaved(workers, repetitions)


def _shown(costs: dict[str, list[_Cost]]) -> int:
    """Print a table; return how many bytes of memory ours needed at the most."""
    most = {name: max(each.memory for each in found) for name, found in costs.items()}
    rows = []
    for name, found in costs.items():
        wall, cpu = [each.wall * 1000 for each in found], [each.cpu * 1000 for each in found]
        rows.append([name, *median_and_range(wall), *median_and_range(cpu), f"{most[name] / MIB:+.1f}"])
    table(["", "ms", "from-to", "CPU ms", "from-to", "memory MiB"], rows)
    return most[_OURS]


def _flat(what: str, memory: int) -> Verdict:
    return Verdict(what, "flat, + 2 MiB", f"{memory / MIB:+.1f} MiB", memory <= _FLAT)


@contextlib.contextmanager
def _file(size: int) -> Iterator[Path]:
    """Get the path of a file that begins as a PNG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.png")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(size - 8))
        yield path


def _uploading(what: str, name: str, server: str, file: Path) -> Callable[[], _Cost]:
    upload = _UPLOADS[what, name](server, file)

    def measured() -> _Cost:
        forget_peak_rss()
        before, wall, cpu = rss(), time.perf_counter(), time.process_time()
        upload()
        return _Cost(time.perf_counter() - wall, time.process_time() - cpu, peak_rss() - before)

    return measured


def _raw_file(server: str, file: Path) -> Callable[[], object]:
    sock = connected(server)
    start = b'--x\r\ncontent-disposition: form-data; name="file"; filename="picture.png"\r\n\r\n'
    end = b"\r\n--x--\r\n"

    def upload() -> None:
        length = len(start) + file.stat().st_size + len(end)
        sock.sendall(raw_head(f"{server}/upload", "/v1/files", length) + start)
        _send_pieces(sock, file, bytes)
        sock.sendall(end)
        _ = json.loads(sock.recv(65536).partition(b"\r\n\r\n")[2])["id"]

    return upload


def _raw_image(server: str, file: Path) -> Callable[[], object]:
    sock = connected(server)
    body = json.dumps({**_with_image(_image_source("|")), "stream": True}).encode()
    start, _, end = body.partition(b"|")

    def upload() -> None:
        encoded = (file.stat().st_size + 2) // 3 * 4
        sock.sendall(raw_head(f"{server}/text-1", "/v1/messages", len(start) + encoded + len(end)) + start)
        _send_pieces(sock, file, base64.b64encode)
        sock.sendall(end)
        answer = b""
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += sock.recv(65536)

    return upload


def _send_pieces(sock: socket.socket, file: Path, encoded: Callable[[bytes], bytes]) -> None:
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            sock.sendall(encoded(piece))


def _our_file(server: str, file: Path) -> Callable[[], object]:
    return functools.partial(our_client(f"{server}/upload").files.upload, file)


def _our_image(server: str, file: Path) -> Callable[[], object]:
    client = our_client(f"{server}/text-1")

    def upload() -> None:
        for _ in client.chat(**_with_image(_image_source(file)), stream=True):
            pass

    return upload


def _sdk_file(server: str, file: Path) -> Callable[[], object]:
    from _sdk import sdk_client  # noqa: PLC0415 - where it is installed

    return functools.partial(sdk_client(f"{server}/upload").beta.files.upload, file=file)


def _sdk_image(server: str, file: Path) -> Callable[[], object]:
    from _sdk import sdk_client  # noqa: PLC0415 - where it is installed

    client = sdk_client(f"{server}/text-1")

    def upload() -> None:
        with client.messages.create(**_with_image(_image_source(file)), stream=True) as stream:
            for _ in stream:
                pass

    return upload


def _image_source(data: str | Path) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def _with_image(block: Any) -> dict[str, Any]:
    return {**ASK, "messages": [{"role": "user", "content": [block]}]}


_UPLOADS: dict[tuple[str, str], Callable[[str, Path], Callable[[], object]]] = {
    (_FILE, _RAW): _raw_file,
    (_FILE, _OURS): _our_file,
    (_FILE, _SDK): _sdk_file,
    (_IMAGE, _RAW): _raw_image,
    (_IMAGE, _OURS): _our_image,
    (_IMAGE, _SDK): _sdk_image,
}
