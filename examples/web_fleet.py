"""The chat of `web_chat.py` for any number of web processes and workers, any of which may be killed in mid-answer.

    anthropix worker --store sqlite:web_fleet.sqlite
    python web_fleet.py 8000
    python web_fleet.py 8001

All of them share a store: `ANTHROPIX_STORE`, by default that file of SQLite; with `redis://...`, they may be on any
machines. A web process keeps nothing of its own, and needs no key. A conversation is a log of questions, to which
anybody posts who knows its name; each answer is a log that a worker writes. The ids of the events that a browser gets
are places in these logs. So a browser that has lost its connection goes on where it was, by its `Last-Event-ID`, at any
web process; a tab that is closed stops nothing; Stop works from anywhere. The page is that of `web_chat.py`. Needs
`fastapi`, `uvicorn`, and workers (docs/workers.md).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from anthropix_actors import AnthropixError, Hub, ParameterError
from anthropix_actors.content import text_of
from anthropix_actors.stores import Lost, open_store
from anthropix_actors.subscribers import SSE_HEADERS, sse, sse_lines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from types import FrameType

STORE = os.environ.get("ANTHROPIX_STORE", "sqlite:web_fleet.sqlite")
MODEL = "claude-haiku-4-5"
PAGE = Path(__file__).with_name("web_chat.html")
PING = 15.0  # seconds
EVERY = 0.2  # seconds between two looks for another question
KEPT = 3600.0  # seconds for which answers are kept after their end, as workers do it by default
OVER = {"done", "failed", "cancelled", "lost"}


class Room:
    """A conversation: what the store knows of it."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name

    @classmethod
    def begin(cls, hub: Hub) -> Room:
        room = cls(hub, f"room-{secrets.token_urlsafe(12)}")  # nobody can guess it: who knows it may read and ask
        hub.store.post(room.name, {"kind": "room"}, key="room")
        room.keep()
        return room

    def keep(self, answers: int = 0) -> None:
        """Keep it, and so many answers, from now on. It goes first: an answer that is missing has never been begun."""
        for number in range(answers):
            self.hub.store.expire(self.answer(number), KEPT)
        self.hub.store.expire(self.name, KEPT * 0.9)

    def questions(self) -> list[str]:
        """Return all of them. Raises `Lost` if there is no such room."""
        return [entry.data["text"] for entry in self._entries() if entry.data["kind"] == "question"]

    def _entries(self) -> Iterator[Any]:
        after = None
        while entries := self.hub.store.read(self.name, after):
            yield from entries
            after = entries[-1].cursor

    def answer(self, number: int) -> str:
        return f"{self.name}-{number}"

    def is_busy(self) -> bool:
        number = len(self.questions())
        return number > 0 and self.hub.status(self.answer(number - 1)).state not in OVER

    def ask(self, question: str) -> bool:
        """Post a question, and a job for it; return whether nobody has been faster."""
        number = len(self.questions())
        posted = self.hub.store.post(self.name, {"kind": "question", "text": question}, key=f"question-{number}")
        self.submit(number)
        self.keep(number)
        return posted

    def submit(self, number: int) -> None:
        """Have a question answered. It is, once, however often and from wherever this is called."""
        self.hub.submit({"model": MODEL, "messages": self.said(number), "max_tokens": 8000}, id=self.answer(number))

    def said(self, number: int) -> list[dict[str, Any]]:
        """Return what was said up to a question. An answer that did not come to its end counts as far as it came."""
        messages: list[dict[str, Any]] = []
        questions = self.questions()
        for before, question in enumerate(questions[:number]):
            if text := self.text(before):
                messages += [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        return [*messages, {"role": "user", "content": questions[number]}]

    def text(self, number: int) -> str:
        try:
            return text_of(self.hub.result(self.answer(number), timeout=10)).strip()
        except AnthropixError as error:
            return text_of(error.partial).strip() if error.partial else ""

    def stop(self) -> None:
        if number := len(self.questions()):
            self.hub.cancel(self.answer(number - 1), "stopped")

    async def watch(self, turn: int, after: str, *, again: bool) -> AsyncGenerator[bytes]:
        """Send what was said after an event, and what is being said, to one visitor, until that one leaves."""
        yield b"retry: 1000\n" + (b": again\n\n" if again else sse({"type": "conversation"}))
        for number in itertools.count(turn):
            async for ping in self.until_asked(number):
                yield ping
            if not after:
                yield sse({"type": "question", "text": self.questions()[number]}, id=f"{number}:")
            async for lines in sse_lines(self.hub.ref(self.answer(number), after=after or None)):
                yield re.sub(rb"^id: ", b"id: %d:" % number, lines, flags=re.MULTILINE)
            after = ""

    async def until_asked(self, number: int) -> AsyncGenerator[bytes]:
        """Wait for a question, and for its answer to be on its way. Raises `Lost` if the room is gone."""
        pinged = time.monotonic()
        while len(await asyncio.to_thread(self.questions)) <= number:
            if time.monotonic() > pinged + PING:
                pinged = time.monotonic()
                yield b": ping\n\n"  # proxies close what is silent
            await asyncio.sleep(EVERY)
        if self.hub.status(self.answer(number)).state == "unknown":  # who asked died in between
            await asyncio.to_thread(self.submit, number)


api = FastAPI(openapi_url=None)
# Or else a page of another site could ask at your expense, under a name of its own that leads here.
api.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
in_room = APIRouter(prefix="/{name}")


def room_of(name: str) -> Room:
    if api.state.hub.store.state(name) is None:
        raise HTTPException(404, "This conversation is gone.")
    return Room(api.state.hub, name)


InRoom = Annotated[Room, Depends(room_of)]
Question = Annotated[str, Body(embed=True, min_length=1, max_length=100_000)]
LastEventId = Annotated[str | None, Header()]


@api.get("/")
def begin() -> RedirectResponse:
    return RedirectResponse(f"/{Room.begin(api.state.hub).name}/")


@in_room.get("/")
def page(room: InRoom) -> FileResponse:
    return FileResponse(PAGE)


@in_room.get("/events")
def events(room: InRoom, last_event_id: LastEventId = None) -> Response:
    turn, _, after = (last_event_id or "0:").partition(":")
    try:
        is_ours = 0 <= int(turn) <= len(room.questions())
        if after:
            room.hub.ref(room.answer(int(turn)), after=after)
    except (ValueError, Lost, ParameterError):
        is_ours = False
    if not is_ours:
        return Response(status_code=204)  # an EventSource does not come back after that
    return StreamingResponse(room.watch(int(turn), after, again=bool(last_event_id)), headers=SSE_HEADERS)


@in_room.post("/ask", status_code=204)
def ask(room: InRoom, question: Question) -> None:
    try:
        if room.is_busy() or not room.ask(question):
            raise HTTPException(409, "The last question is still being answered.")
    except AnthropixError as error:
        raise HTTPException(500, str(error)) from error


@in_room.post("/stop", status_code=204)
def stop(room: InRoom) -> None:
    room.stop()


api.include_router(in_room)


class Server(uvicorn.Server):
    """Cuts the streams of events when it is told to end; it would wait for them. Browsers go on elsewhere."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.force_exit = True


def main(port: int = 8000) -> None:
    with Hub(open_store(STORE)) as hub, socket.create_server(("127.0.0.1", port)) as listener:
        api.state.hub = hub
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        Server(uvicorn.Config(api, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
