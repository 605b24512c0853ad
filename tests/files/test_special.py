"""Pipes and devices: read to their end, written whole, and never waited for without the scope."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from anthropix_actors import CancelledError
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._http.attempt_scope import AttemptScope
from anthropix_actors.files.special import Special, is_special

from servers import DEADLINE


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def written(path: Path, data: bytes, scope: CancelScope | None = None) -> None:
    with AttemptScope(scope or CancelScope()).step():
        file = Special(path, writing=True)
        try:
            while data:
                data = data[file.write(data) :]
        finally:
            file.close()
            file.close()


def read(path: Path) -> bytes:
    with AttemptScope(CancelScope()).step():
        file = Special(path)
        pieces = []
        while piece := file.read(1000):
            assert len(piece) <= 1000
            pieces.append(piece)
        file.close()
    return b"".join(pieces)


def test_all_that_goes_in_comes_out_whichever_end_is_opened_first(fifo: Path) -> None:
    data = os.urandom(300_000)  # several times what a pipe holds
    for first, second in ((0, 1), (1, 0)):
        got: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: written(fifo, data)),
            threading.Thread(target=lambda: got.append(read(fifo))),  # noqa: B023 - joined below
        ]
        threads[first].start()
        threads[second].start()
        for thread in threads:
            thread.join(DEADLINE)
        assert got == [data]


@pytest.mark.parametrize("phase", ["open", "write", "read"])
def test_a_cancel_ends_every_wait(fifo: Path, phase: str) -> None:
    scope = CancelScope()
    held = os.open(fifo, os.O_RDWR) if phase != "open" else -1  # the other end, which does nothing
    threading.Timer(0.05, scope.cancel, [CancelledError("enough")]).start()
    with pytest.raises(CancelledError, match="enough"), AttemptScope(scope).step():
        if phase == "read":
            Special(fifo).read(1)
        else:
            written(fifo, bytes(300_000), scope)
    if held >= 0:
        os.close(held)


def test_devices_are_special_and_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_special((tmp_path / "file").stat().st_mode)
    written(Path("/dev/null"), b"x")
    assert read(Path("/dev/null")) == b""
    with pytest.raises(OSError, match="No space left"):
        written(Path("/dev/full"), b"x")
    with pytest.raises(FileNotFoundError):
        Special(tmp_path / "missing")


def test_a_pipe_of_this_process_is_read_by_its_number() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    assert read(Path(f"/dev/fd/{reading}")) == b"from a pipe"
    os.close(reading)


@pytest.mark.parametrize("name", ["read", "write"])
def test_where_another_process_was_faster_it_waits_again(
    fifo: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = os.open(fifo, os.O_RDWR)
    os.write(held, b"x")
    real, calls = getattr(os, name), []

    def busy(descriptor: int, given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise BlockingIOError
        return real(descriptor, given)

    monkeypatch.setattr(os, name, busy)
    with AttemptScope(CancelScope()).step():
        file = Special(fifo, writing=name == "write")
        assert file.read(9) == b"x" if name == "read" else file.write(b"y") == 1
        file.close()
    os.close(held)
    assert len(calls) == 2
