"""What takes long and is in order: transfers that flow, and answers that overtake each other."""

from __future__ import annotations

import io
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from anthropix_actors import AnthropixError, Client, StalledError, Timeout

from servers import DEADLINE, PING, Peer, Server, answer, chunk, chunks, head, json_answer, sse, start
from torture.watch import KEY, Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 0.8
"""The `idle` of the clients, in seconds."""

STEPS, STEP = 12, 0.12
"""How many pieces a transfer has, and the seconds between two of them: it takes much longer than `IDLE`."""

SIZE = 6 << 20
"""More than fits into the sockets, so that an upload takes as long as the server does."""


def _slowly(peer: Peer, *pieces: bytes) -> None:
    for piece in pieces:
        time.sleep(STEP)
        peer.send(piece)


def _transfers(peer: Peer) -> None:
    """Read and write everything slowly, and without a break."""
    body, length = _taken_slowly(peer)
    path = peer.head.split(b" ")[1].decode()
    if path.endswith("/content"):
        peer.send(head(content_type="application/pdf", framing=str(1000 * STEPS)))
        _slowly(peer, *([b"x" * 1000] * STEPS))
    elif path.endswith("/results"):
        lines = [
            json.dumps({"custom_id": f"n{n}", "result": {"type": "expired"}}).encode() + b"\n" for n in range(STEPS)
        ]
        peer.send(head(content_type="application/x-jsonl"))
        _slowly(peer, *map(chunk, lines), chunk(b""))
    elif "batches" in path:
        counts = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        batch = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended", "request_counts": counts}
        batch["results_url"] = "/v1/messages/batches/msgbatch_1/results"
        peer.send(json_answer("200 OK", batch, {"connection": "close"}))
    elif path.endswith("/models/slow"):
        data = json.dumps({"id": "slow", "type": "model", "text": "x" * 1000}).encode()
        step = len(data) // STEPS + 1
        peer.send(head(content_type="application/json", framing=str(len(data))))
        _slowly(peer, *(data[at : at + step] for at in range(0, len(data), step)))
    elif path == "/v1/messages":
        peer.send(head(), chunks([start()]))
        _slowly(peer, *([chunk(sse(PING))] * 3 * STEPS))
    else:
        peer.send(json_answer("200 OK", {"id": "file_1", "size_bytes": length, "got": len(body)}))


def _taken_slowly(peer: Peer) -> tuple[bytes, int]:
    data = b""
    while b"\r\n\r\n" not in data and (received := peer.sock.recv(65536)):
        data += received
    peer.head, _, body = data.partition(b"\r\n\r\n")
    length = int(peer.header("content-length") or 0)
    step = max(1, length // STEPS) if length > SIZE // 2 else length
    at = step
    while len(body) < length and (received := peer.sock.recv(65536)):
        body += received
        if len(body) >= at and step < length:
            time.sleep(STEP)
            at += step
    return body, length


def _upload(client: Client) -> None:
    assert client.files.upload(io.BytesIO(b"x" * SIZE), filename="a.bin")["id"] == "file_1"


def _download(client: Client) -> None:
    assert len(client.files.download("file_1")) == 1000 * STEPS


def _download_to(client: Client) -> None:
    assert client.files.download("file_1", io.BytesIO()) == 1000 * STEPS


def _request(client: Client) -> None:
    assert client.request("GET", "/models/slow")["id"] == "slow"


def _request_bytes(client: Client) -> None:
    assert len(b"".join(client.request("GET", "/files/file_1/content", stream=True))) == 1000 * STEPS


def _create(client: Client) -> None:
    long = [{"role": "user", "content": "x" * SIZE}]
    question = {"custom_id": "n0", "params": {"model": "claude-test", "messages": long}}
    assert client.batches.create([question])["id"] == "msgbatch_1"


def _results(client: Client) -> None:
    assert len(client.batches.results("msgbatch_1")) == STEPS  # by an address without an origin, too


def _results_loop(client: Client) -> None:
    assert sum(1 for _ in client.batches.results("msgbatch_1", stream=True)) == STEPS


def _pings(client: Client) -> None:
    try:
        client.chat(model="claude-test", messages=[{"role": "user", "content": "Hello"}])
    except StalledError:
        return
    raise AssertionError("a stream of pings is not idle")


TRANSFERS: dict[str, Callable[[Client], None]] = {
    "an upload": _upload,
    "a download into memory": _download,
    "a download into a file": _download_to,
    "a slow JSON answer": _request,
    "bytes in a loop": _request_bytes,
    "a batch that is large": _create,
    "results, by a relative address": _results,
    "results in a loop, by a relative address": _results_loop,
    "nothing but pings": _pings,
}


def transferred(name: str) -> list[str]:
    """Have one transfer that flows for longer than `idle`; get what was wrong."""
    with Server(_transfers) as server:
        client = Client(KEY, base_url=server.url, proxy="", max_retries=0, timeout=Timeout(idle=IDLE, read=5, total=30))
        with client:
            try:
                TRANSFERS[name](client)
            except (AnthropixError, AssertionError) as exc:
                return [f"{name}: {exc!r:.500}"]
    return []


# Answers that overtake each other, with limits that change meanwhile


KINDS = ("requests", "tokens", "input-tokens", "output-tokens")


def _limits(dice: random.Random) -> dict[str, str]:
    """Get headers as some answer has them: of some kinds, with limits that others do not name, and always with room."""
    headers = {}
    for kind in dice.sample(KINDS, dice.randint(0, len(KINDS))):
        limit = dice.choice([20_000, 50_000, 4_000_000])
        headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{kind}-remaining"] = str(dice.randint(limit // 2, limit))
    return headers


class _Overtaking:
    """Answers in another order than it is asked, each time with other limits; so many requests are open at once."""

    def __init__(self, seed: int, together: int) -> None:
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._open: list[threading.Event] = []
        self._together = together
        self.left = 0

    def script(self, peer: Peer) -> None:
        while peer.read_request():
            with self._lock:
                mine = threading.Event()
                self._open.append(mine)
                headers = _limits(self._dice)
                self.left -= 1
                if len(self._open) >= self._together or self.left <= 0:
                    self._let_go()
            mine.wait(0.5)  # whoever is held back for longer has nobody to wait for
            peer.send(head(headers=headers), chunks(answer("Hello")), b"0\r\n\r\n")

    def _let_go(self) -> None:
        self._dice.shuffle(self._open)
        while self._open:
            self._open.pop().set()


def overtaken(seed: int, chats: int = 48) -> list[str]:
    """Have chats of one model whose answers overtake each other; none may be held for long."""
    stage = _Overtaking(seed, 6)
    stage.left = chats
    with (
        Server(stage.script) as server,
        Client(KEY, base_url=server.url, proxy="", max_retries=0, governor=True) as client,
        ThreadPoolExecutor(12) as pool,
    ):

        def ask(number: int) -> str:
            began = time.monotonic()
            try:
                messages: list[Any] = [{"role": "user", "content": f"{number}"}]
                client.chat(model="claude-test", messages=messages, max_tokens=8, timeout=DEADLINE)
            except AnthropixError as exc:
                return f"seed {seed}, chat {number}, after {time.monotonic() - began:.1f} s: {exc!r}"
            return ""

        return [text for text in pool.map(ask, range(chats)) if text]


class Report:
    """What patience showed.

    Attributes:
        cases: How much was tried.
        failures: What did not hold.
    """

    def __init__(self) -> None:
        self.cases = 0
        self.failures: list[str] = []


def torture(seed: int, *, schedules: int = 20, say: Callable[[str], object] = print) -> Report:
    report = Report()
    leftovers = Leftovers()
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(transferred, TRANSFERS), *pool.map(overtaken, range(seed, seed + schedules))]
    report.cases = len(found)
    report.failures = [text for each in found for text in each]
    report.failures += [f"left behind: {left}" for left in leftovers.find()]
    say(f"  {report.cases} transfers and schedules of limits, {len(report.failures)} failures")
    return report
