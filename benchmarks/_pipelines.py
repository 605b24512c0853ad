"""The ways to read a streamed answer. Each is made for an address, and then reads one answer per call.

All do the same work with an event: look whether it is a piece of text, and hand it on.
"""

from __future__ import annotations

import functools
import json
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import pykka
import requests
import sseclient
from _measure import HAS_SDK

from anthropix_actors import ChatDone, ChatEvent, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykka._actor import ActorInbox

OnText: TypeAlias = Callable[[str], object]
Read: TypeAlias = Callable[[OnText], None]

RAW = "raw socket + json.loads"
BY_HAND = "requests + sseclient + json"
ITERATOR = "our iterator"
BLOCKING = "our blocking chat()"
ACTOR = "our actor"
SIMPLE_QUEUE = "our actor, SimpleQueue inbox"
LISTENER = "our Listener"
TELL = "our plain object with tell"
SDK_CREATE = "SDK create(stream=True)"
SDK_STREAM = "SDK stream(), final message"

ASK: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hello"}],
}
_PATIENCE = 300


def our_client(url: str, **options: Any) -> Client:
    return Client("key", base_url=url, max_retries=0, timeout=_PATIENCE, proxy="", **options)


def _text_to(on_text: OnText, event: Any) -> None:
    if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
        on_text(event["delta"]["text"])


def raw(url: str) -> Read:
    """Read as plainly as it can be done in Python without being wrong: the floor."""
    sock = connected(url)

    def read(on_text: OnText) -> None:
        for event in raw_events(sock, url):
            _text_to(on_text, event)

    return read


def raw_events(sock: socket.socket, url: str) -> Iterator[Any]:
    """Ask over a connection, and get the events of the answer."""
    sock.sendall(raw_request(url))
    for block in _event_blocks(_http_chunks(sock)):
        for line in block.split(b"\n"):
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def raw_request(url: str) -> bytes:
    """Make the request of a chat."""
    body = json.dumps({**ASK, "stream": True}).encode()
    return raw_head(url, "/v1/messages", len(body)) + body


def raw_head(url: str, path: str, length: int) -> bytes:
    """Make the head of a request with a body of so many bytes."""
    return f"POST {urlsplit(url).path}{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()


def connected(url: str) -> socket.socket:
    """Connect a plain socket, or one of ssl."""
    address = urlsplit(url)
    sock = socket.create_connection((address.hostname or "", address.port or 80))
    return _tls().wrap_socket(sock, server_hostname=address.hostname) if address.scheme == "https" else sock


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _http_chunks(sock: socket.socket) -> Iterator[bytes]:
    data = sock.recv(65536)
    while (head_end := data.find(b"\r\n\r\n")) < 0:
        data += sock.recv(65536)
    position = head_end + 4
    while True:
        while (size_end := data.find(b"\r\n", position)) >= 0:
            size = int(data[position:size_end], 16)
            stop = size_end + 2 + size
            if len(data) < stop + 2:
                break
            if size == 0:
                return
            yield data[size_end + 2 : stop]
            position = stop + 2
        data = data[position:] + sock.recv(65536)
        position = 0


def _event_blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        yield from blocks


def by_hand(url: str) -> Read:
    """Read as one would with requests and sseclient-py, in a few lines."""
    session = requests.Session()

    def read(on_text: OnText) -> None:
        with session.post(f"{url}/v1/messages", json={**ASK, "stream": True}, stream=True) as response:
            for event in sseclient.SSEClient(response.iter_content(None)).events():
                _text_to(on_text, json.loads(event.data))

    return read


def iterator(url: str) -> Read:
    """Read with our `for event in client.chat(..., stream=True)`."""
    client = our_client(url)

    def read(on_text: OnText) -> None:
        stream = client.chat(**ASK, stream=True)
        for event in stream:
            if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
                on_text(event["delta"]["text"])
        stream.chat.actor_stopped.wait(_PATIENCE)

    return read


def blocking(url: str) -> Read:
    """Read with our `client.chat(...)`; it has the text in one piece."""
    client = our_client(url)

    def read(on_text: OnText) -> None:
        block = client.chat(**ASK)["content"][0]
        if block["type"] == "text":
            on_text(block["text"])

    return read


class SimpleQueueInbox:
    """What an actor inherits from, too, to have the quicker of the standard library's queues as its mailbox."""

    @staticmethod
    def _create_actor_inbox() -> ActorInbox:
        return queue.SimpleQueue()


class _Subscriber(pykka.ThreadingActor):
    """Hands on the text."""

    use_daemon_thread = True

    def __init__(self, on_text: OnText, done: threading.Event) -> None:
        super().__init__()
        self._on_text = on_text
        self._done = done

    def on_receive(self, message: Any) -> None:
        if isinstance(message, ChatEvent):
            _text_to(self._on_text, message.data)
        else:
            if not isinstance(message, ChatDone):
                print(message, flush=True)
            self._done.set()


class _SimpleQueueSubscriber(SimpleQueueInbox, _Subscriber):
    pass


class _Object:
    """Hands on the text, in the chat's own thread."""

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text

    def tell(self, message: Any, /) -> None:
        if isinstance(message, ChatEvent):
            _text_to(self._on_text, message.data)


def plain_object(url: str) -> Read:
    """Read with a subscriber that is a plain object: it has no thread, and no mailbox."""
    client = our_client(url)

    def read(on_text: OnText) -> None:
        chat = client.chat(**ASK, stream=_Object(on_text))
        chat.result(_PATIENCE)
        chat.actor_stopped.wait(_PATIENCE)

    return read


def _to(subscriber: type[pykka.ThreadingActor], url: str) -> Read:
    client = our_client(url)

    def read(on_text: OnText) -> None:
        done = threading.Event()
        ref = subscriber.start(on_text, done)
        chat = client.chat(**ASK, stream=ref)
        done.wait(_PATIENCE)
        ref.stop()
        chat.actor_stopped.wait(_PATIENCE)

    return read


def actor(url: str) -> Read:
    """Read with a subscribing actor."""
    return _to(_Subscriber, url)


def simple_queue_actor(url: str) -> Read:
    """Read with a subscribing actor that has a quicker mailbox than pykka's own."""
    return _to(_SimpleQueueSubscriber, url)


def listener(url: str) -> Read:
    """Read with an actor that has a method for pieces of text."""
    from anthropix_actors.subscribers import Listener  # noqa: PLC0415 - an older checkout may have none

    class Reader(Listener):
        def __init__(self, on_text: OnText, done: threading.Event) -> None:
            super().__init__()
            self._hand_on = on_text
            self._done = done

        def on_text(self, _chat: Any, text: str) -> None:
            self._hand_on(text)

        def on_done(self, _chat: Any, _message: Any) -> None:
            self._done.set()

    return _to(Reader, url)


PIPELINES: dict[str, Callable[[str], Read]] = {
    RAW: raw,
    BY_HAND: by_hand,
    ITERATOR: iterator,
    BLOCKING: blocking,
    ACTOR: actor,
    SIMPLE_QUEUE: simple_queue_actor,
    LISTENER: listener,
    TELL: plain_object,
}

OURS = (ITERATOR, BLOCKING, ACTOR, SIMPLE_QUEUE, LISTENER, TELL)
NAMES = (*PIPELINES, *((SDK_CREATE, SDK_STREAM) if HAS_SDK else ()))


def pipeline(name: str, url: str) -> Read:
    """Make a way to read, by its name."""
    if name in PIPELINES:
        return PIPELINES[name](url)
    import _sdk  # noqa: PLC0415 - it imports slowly, and may not be installed

    return {SDK_CREATE: _sdk.create, SDK_STREAM: _sdk.stream}[name](url)
