"""Many chats at once in one process: CPU per event, memory and threads per chat, and that nothing is lost."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from _answers import text_of
from _measure import HAS_SDK, WAYS, Verdict, Worker, peak_rss, rss, table, title
from _pipelines import ASK, connected, our_client, raw, raw_events, raw_request
from _server import let_go, running_server

from anthropix_actors import ChatDone, ChatEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EVENTS = 50
_ALL_PER_SECOND = 5000  # about as many as one process can take, in threads
_OURS = "ours, one subscriber"
_BARE = "bare threads, each a connection"
_RAW = "raw sockets in threads"
_SDK = "SDK in threads"
_LIMIT = 90
_TEXT = re.compile(rb'"text":"([^"]+)"')


@dataclass(frozen=True)
class _Figures:
    """What one run showed; bytes and threads are per chat."""

    opened: float
    cpu_per_event: float
    rss: float
    peak: float
    threads: float
    lost: int

    def cells(self) -> list[str]:
        memory = f"{self.rss / 1024:.0f}", f"{self.peak / 1024:.0f}"
        return [f"{self.opened:.2f}", f"{self.cpu_per_event * 1e6:.0f}", *memory, f"{self.threads:.2f}", str(self.lost)]


def run(*, quick: bool) -> list[Verdict]:
    verdicts = []
    for way, encrypted in WAYS.items():
        sizes: Sequence[int] = (100, 1000) if encrypted else (1, 10, 100, 1000)
        if quick:
            sizes = sizes[::2]
        title(f"concurrent: chats, {way}, held open, then {_EVENTS} events each, at most {_ALL_PER_SECOND:,} events/s")
        figures = _measured(sizes, encrypted=encrypted)
        verdicts += _verdicts(figures, sizes[-1], way)
    return verdicts


def _measured(sizes: Sequence[int], *, encrypted: bool) -> dict[tuple[str, int], _Figures]:
    figures: dict[tuple[str, int], _Figures] = {}
    rows = []
    for size in sizes:
        for name in (_BARE, _RAW, _OURS, *([_SDK] if HAS_SDK else [])):
            try:
                result = figures[name, size] = _run_once(name, size, encrypted=encrypted)
            except (TimeoutError, RuntimeError) as exc:
                print(f"{name}, {size:,} chats: {str(exc).strip().splitlines()[-1]}")
                rows.append([name, f"{size:,}", "failed", *[""] * 5])
            else:
                rows.append([name, f"{size:,}", *result.cells()])
    table(["", "chats", "s to open", "µs/event", "KiB/chat", "at most", "threads/chat", "chats with loss"], rows)
    return figures


def _run_once(name: str, size: int, *, encrypted: bool) -> _Figures:
    interval_ms = max(20, 1000 * size // _ALL_PER_SECOND)
    make = {_BARE: _bare, _RAW: _raw, _OURS: _ours, _SDK: _sdk}[name]
    with (
        running_server(encrypted=encrypted) as server,
        Worker(make, server, f"{server}/held-{_EVENTS}-{interval_ms}", size) as worker,
    ):
        return worker(_LIMIT)


def _verdicts(figures: dict[tuple[str, int], _Figures], size: int, way: str) -> list[Verdict]:
    bare, ours, sdk = (figures.get((name, size)) for name in (_BARE, _OURS, _SDK))
    what = f"{size:,} concurrent chats, {way}"
    if ours is None:
        return [Verdict(f"{what}: done", f"within {_LIMIT} s", "no", met=False)]
    verdicts = [Verdict(f"{what}: chats that lost an event", "0", str(ours.lost), ours.lost == 0)]
    if way == "over TLS":
        if bare is not None:
            more = ours.rss / bare.rss
            verdicts.append(Verdict(f"{what}: memory, against {_BARE}", "<= 1.1 x", f"{more:.2f} x", more <= 1.1))
    elif sdk is not None:
        parts = sdk.rss / ours.rss
        verdicts.append(Verdict(f"{what}: memory per chat, against the SDK's", "<= 1/3", f"1/{parts:.1f}", parts >= 3))
    elif HAS_SDK:
        verdicts.append(Verdict(f"{what}: memory per chat, against the SDK's", "<= 1/3", "it failed", met=True))
    return verdicts


class _Count:
    """Counts down to zero, and lets others wait for that."""

    def __init__(self, target: int) -> None:
        self._left = target
        self._lock = threading.Lock()
        self._reached = threading.Event()

    def one_more(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self._reached.set()

    def wait(self) -> None:
        if not self._reached.wait(_LIMIT):
            raise TimeoutError(f"{self._left} chats are missing after {_LIMIT} s")


class _Held:
    """One run: open all, look at the memory, let them go, see what came."""

    def __init__(self, server: str, size: int) -> None:
        self._server = server
        self._size = size
        self._open = _Count(size)
        self._over = _Count(size)
        self._texts: dict[Any, list[str]] = {}

    def event(self, chat: Any, kind: str, text: str) -> None:
        if kind == "content_block_start":
            self._texts[chat] = []
            self._open.one_more()
        elif kind == "content_block_delta":
            self._texts[chat].append(text)

    def end(self) -> None:
        self._over.one_more()

    def run(self, open_all: Callable[[], object]) -> _Figures:
        before, threads, start = rss(), threading.active_count(), time.monotonic()
        open_all()
        self._open.wait()
        opened = time.monotonic() - start
        memory, threads = rss() - before, threading.active_count() - threads
        cpu = time.process_time()
        let_go(self._server)
        self._over.wait()
        cpu = time.process_time() - cpu
        lost = self._size - sum("".join(texts) == text_of(_EVENTS) for texts in self._texts.values())
        per_chat = memory / self._size, (peak_rss() - before) / self._size, threads / self._size
        return _Figures(opened, cpu / (self._size * _EVENTS), *per_chat, lost)


class _Subscriber(pykka.ThreadingActor):
    """Follows all chats."""

    use_daemon_thread = True

    def __init__(self, held: _Held) -> None:
        super().__init__()
        self._held = held

    def on_receive(self, message: Any) -> None:
        if isinstance(message, ChatEvent):
            event: Any = message.data
            self._held.event(message.chat, event["type"], event.get("delta", {}).get("text", ""))
        else:
            if not isinstance(message, ChatDone):
                print(message, flush=True)
            self._held.end()


def _ours(server: str, url: str, size: int) -> Callable[[], _Figures]:
    our_client(f"{server}/text-10").chat(**ASK)  # for what is imported and made only once
    client = our_client(url)
    held = _Held(server, size)
    subscriber = _Subscriber.start(held)

    def open_all() -> None:
        for _ in range(size):
            client.chat(**ASK, stream=subscriber)

    return partial(held.run, open_all)


def _in_threads(held: _Held, size: int, follow: Callable[[int], None]) -> Callable[[], _Figures]:
    def follow_to_the_end(key: int) -> None:
        follow(key)
        held.end()

    def open_all() -> None:
        for key in range(size):
            threading.Thread(target=follow_to_the_end, args=(key,), daemon=True).start()

    return partial(held.run, open_all)


def _bare(server: str, url: str, size: int) -> Callable[[], _Figures]:
    """Only keep what comes: what a thread and its connection need, whatever is done with it."""
    raw(f"{server}/text-10")(str)
    held = _Held(server, size)

    def follow(key: int) -> None:
        with connected(url) as sock:
            sock.sendall(raw_request(url))
            data = b""
            while b"content_block_start" not in data:
                data += sock.recv(4096)
            held.event(key, "content_block_start", "")
            while b"message_stop" not in data:
                data += sock.recv(4096)
        held.event(key, "content_block_delta", b"".join(_TEXT.findall(data)).decode())

    return _in_threads(held, size, follow)


def _raw(server: str, url: str, size: int) -> Callable[[], _Figures]:
    raw(f"{server}/text-10")(str)
    held = _Held(server, size)

    def follow(key: int) -> None:
        with connected(url) as sock:
            for event in raw_events(sock, url):
                held.event(key, event["type"], event.get("delta", {}).get("text", ""))

    return _in_threads(held, size, follow)


def _sdk(server: str, url: str, size: int) -> Callable[[], _Figures]:
    from _sdk import create, sdk_client  # noqa: PLC0415 - it may not be installed

    create(f"{server}/text-10")(str)
    client = sdk_client(url)
    held = _Held(server, size)

    def follow(key: int) -> None:
        with client.messages.create(**ASK, stream=True) as stream:
            for event in stream:
                is_text = event.type == "content_block_delta" and event.delta.type == "text_delta"
                held.event(key, event.type, event.delta.text if is_text else "")

    return _in_threads(held, size, follow)
