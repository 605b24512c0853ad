"""A chat in the browser: text that streams, Stop, reloads in mid-answer, and as many tabs as you like.

    python web_chat.py 8000 20

listens on port 8000, and keeps an answer that nobody looks at going for 20 seconds. A conversation is whatever has its
address: open that in a second tab, or in another browser, and both show the same. All that a page shows comes from one
stream of server-sent events, which begins with what was said so far. So a page that is loaded again, or has lost its
connection, needs no memory of its own. Needs `fastapi` and `uvicorn`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from anthropix_actors import AnthropixError, ChatRef, Client, ConfigurationError
from anthropix_actors.content import text_of
from anthropix_actors.subscribers import SSE_HEADERS, sse, sse_lines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import FrameType

MODEL = "claude-haiku-4-5"
PAGE = Path(__file__).with_suffix(".html")
PING = 15.0  # seconds
ROOMS = 1000
SAMPLE = """Without a key, I say *this*, whatever the question.

## How it gets here

1. An actor reads the answer from an **emulator** of the API.
2. `sse_lines` makes events of it.
3. The page shows them.

Load the page again while I write, or open its address in a second tab: you see the same."""


class Room:
    """A conversation. It also follows its own chats, so that they go on when nobody looks, for a while.

    A visitor who leaves may come back: a page that is loaded again, a phone in a tunnel. For `grace` seconds without
    any visitor, an answer goes on; then it is cancelled, as nobody would read what it costs. What had been said stays.
    """

    grace = 20.0

    def __init__(self) -> None:
        self.turns: list[tuple[str, ChatRef]] = []
        self.visitors = 0
        self.left = 0.0
        self.changed = asyncio.Event()
        self.closed = False

    def tell(self, message: Any) -> None:
        """Be a subscriber; what is said is read from the chats."""

    def is_alive(self) -> bool:
        """Whether somebody still looks. The library asks all subscribers, ten times a second."""
        return self.visitors > 0 or time.monotonic() - self.left < self.grace

    def ask(self, client: Client, question: str) -> None:
        messages = [*self.said(), {"role": "user", "content": question}]
        self.left = time.monotonic()  # who asks may take as long to look
        chat = client.chat(model=MODEL, messages=messages, max_tokens=8000, stream=self)
        self.turns.append((question, chat))
        self.wake()

    def said(self) -> list[dict[str, Any]]:
        """Return the turns as the API wants them. One that was stopped counts as far as it came."""
        messages: list[dict[str, Any]] = []
        for question, chat in self.turns:
            answer = chat.snapshot()
            if answer and (text := text_of(answer).strip()):
                messages += [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        return messages

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def watch(self) -> AsyncGenerator[bytes]:
        """Send all that was said, and what is being said, to one visitor, until that one leaves."""
        self.visitors += 1
        try:
            yield b"retry: 1000\n" + sse({"type": "conversation"})  # milliseconds until a browser connects again
            for number in itertools.count():
                while (changed := self.changed) and number == len(self.turns):
                    if self.closed:
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), PING)
                    yield b": ping\n\n"  # proxies close what is silent
                question, chat = self.turns[number]
                yield sse({"type": "question", "text": question})
                async for event in sse_lines(chat):
                    yield event
        finally:
            self.visitors -= 1
            self.left = time.monotonic()


rooms: dict[str, Room] = {}
api = FastAPI(openapi_url=None)
# Or else a page of another site could ask at your expense, under a name of its own that leads here.
api.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
in_room = APIRouter(prefix="/{name}")


def room_of(name: str) -> Room:
    if name not in rooms:
        raise HTTPException(404, "This conversation is gone.")
    return rooms[name]


InRoom = Annotated[Room, Depends(room_of)]
Question = Annotated[str, Body(embed=True, min_length=1, max_length=100_000)]


@api.get("/")
async def begin() -> RedirectResponse:
    name = secrets.token_urlsafe(12)  # nobody can guess it: who knows the address may read and ask
    rooms[name] = Room()
    if len(rooms) > ROOMS:
        del rooms[next(iter(rooms))]  # the oldest
    return RedirectResponse(f"/{name}/")


@in_room.get("/")
async def page(room: InRoom) -> FileResponse:
    return FileResponse(PAGE)


@in_room.get("/events")
async def events(room: InRoom) -> StreamingResponse:
    return StreamingResponse(room.watch(), headers=SSE_HEADERS)


@in_room.post("/ask", status_code=204)
async def ask(room: InRoom, question: Question) -> None:
    if room.turns and room.turns[-1][1].state not in {"done", "failed", "cancelled"}:
        raise HTTPException(409, "The last question is still being answered.")
    try:
        room.ask(api.state.client, question)
    except AnthropixError as error:
        raise HTTPException(500, str(error)) from error


@in_room.post("/stop", status_code=204)
async def stop(room: InRoom) -> None:
    if room.turns:
        room.turns[-1][1].cancel("stopped")


api.include_router(in_room)


@contextlib.contextmanager
def connected() -> Generator[Client]:
    """Give a client for the API, or without a key for an emulator."""
    try:
        client = Client()
    except ConfigurationError as error:
        from anthropix_actors.emulator import Emulator, Pace  # noqa: PLC0415 - an extra of its own

        print(f"{error}\nUntil then, an emulator answers.", flush=True)
        with Emulator(handler=lambda _: Pace(SAMPLE, tokens_per_second=20)) as emulator:
            yield Client("any-key", base_url=emulator.url, proxy="")
    else:
        yield client


class Server(uvicorn.Server):
    """Ends the streams of events when it is told to end; it would wait for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        api.state.client.close()
        for room in rooms.values():
            room.closed = True
            room.wake()


def main(port: int = 8000, grace: float = 20.0) -> None:
    Room.grace = grace
    with connected() as client, client, socket.create_server(("127.0.0.1", port)) as listener:
        api.state.client = client
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        Server(uvicorn.Config(api, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
