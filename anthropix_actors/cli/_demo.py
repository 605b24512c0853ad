"""The demo: a newcomer sees it first, and can read it next. It uses only the public API."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatRetrying, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MODEL = "claude-haiku-4-5"

ACTORS: list[Any] = [{"role": "user", "content": "In a few sentences: what is an actor, and why stream to one?"}]
WEATHER: list[Any] = [{"role": "user", "content": "Shall I take an umbrella to Bergen tomorrow?"}]
WEATHER_TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the forecast for a city, hour by hour.",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "day": {"type": "string", "enum": ["today", "tomorrow"]},
            "units": {"type": "string", "enum": ["metric", "imperial"]},
            "hours": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["city", "day"],
    },
}
_TOKENS_PER_SECOND = 60
_WORDS_BEFORE_CANCEL = 12
_PATIENCE = 120


class Printer(pykka.ThreadingActor):
    """Prints an answer as it arrives. Everything a subscriber has to do is in `on_receive`."""

    use_daemon_thread = True

    def __init__(self, echo: Callable[..., None], enough: threading.Event, ended: threading.Event) -> None:
        """Print with `echo`; set `enough` after a few words, and `ended` at the end."""
        super().__init__()
        self.echo = echo
        self.enough = enough
        self.ended = ended
        self.pieces = 0

    def on_receive(self, message: Any) -> None:
        """Print one message of a chat, in the actor's thread."""
        match message:
            case ChatEvent(data={"type": "content_block_start", "content_block": {"type": kind}}):
                self.echo(f"\n[{kind}] ", nl=False)
            case ChatEvent(data={"type": "content_block_delta", "delta": dict(delta)}):
                self.echo(delta.get("text") or delta.get("thinking") or delta.get("partial_json") or "", nl=False)
                self.pieces += 1
                if self.pieces >= _WORDS_BEFORE_CANCEL:
                    self.enough.set()
            case ChatRetrying(delay=delay, error=error):
                self.echo(f"\n({error}; once more in {delay:.1f} s)")
            case ChatDone() | ChatFailed() | ChatCancelled():
                self.echo("")
                self.enough.set()
                self.ended.set()


def run_demo(model: str, echo: Callable[..., None]) -> None:
    """Show a chat that streams to an actor, one with thinking and a tool, and one that is cancelled.

    Raises:
        AnthropixError: a chat failed.
    """
    with _client(echo) as client:
        echo(f"\n1. A chat, streamed to an actor\n> {ACTORS[0]['content']}")
        _show(client, echo, model=model, messages=ACTORS, max_tokens=500)

        echo(f"\n2. The model thinks, and calls a tool\n> {WEATHER[0]['content']}")
        thinking = {"type": "enabled", "budget_tokens": 1024}
        _show(client, echo, model=model, messages=WEATHER, tools=[WEATHER_TOOL], thinking=thinking)

        echo(f"\n3. A chat that is cancelled in the middle of its answer\n> {ACTORS[0]['content']}")
        _cancel_one(client, echo, model=model, messages=ACTORS)
    if not os.environ.get("ANTHROPIC_API_KEY"):
        echo("\nThis was a recording. To ask Claude itself: ANTHROPIC_API_KEY=sk-ant-... anthropix demo")


@contextlib.contextmanager
def _client(echo: Callable[..., None]) -> Generator[Client]:
    """Yield a client for the API, or without a key for an emulator that replays the recorded answers."""
    if os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_AUTH_TOKEN"):
        with Client() as client:
            echo(f"Talking to {client.base_url}.")
            yield client
        return
    from anthropix_actors.emulator import Emulator, Pace, recording  # noqa: PLC0415 - an extra of its own

    with Emulator() as emulator, Client("any-key", base_url=emulator.url, proxy="") as client:
        echo("No ANTHROPIC_API_KEY is set: replaying recorded answers from an emulator on this machine.")
        for name in ("actors", "weather", "actors"):
            emulator.queue(Pace(recording(name), tokens_per_second=_TOKENS_PER_SECOND))
        yield client


def _show(client: Client, echo: Callable[..., None], **params: Any) -> None:
    """Have a Printer print an answer, and then print its usage."""
    ended = threading.Event()
    printer = Printer.start(echo, threading.Event(), ended)
    chat = client.chat(stream=printer, **params)
    ended.wait(_PATIENCE)  # first: all is printed that the printer was told, also before an error
    printer.stop()
    answer = chat.result(timeout=_PATIENCE)
    usage = answer["usage"]
    tokens = f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out"
    echo(f"-- {tokens}; stop reason: {answer['stop_reason']}; request {chat.request_id}")


def _cancel_one(client: Client, echo: Callable[..., None], **params: Any) -> None:
    """Cancel a chat after a few words, and print how long that took."""
    enough, ended = threading.Event(), threading.Event()
    printer = Printer.start(echo, enough, ended)
    chat = client.chat(stream=printer, **params)
    enough.wait(_PATIENCE)
    before = time.perf_counter()
    chat.cancel("the demo has seen enough")
    chat.actor_stopped.wait(_PATIENCE)
    ended.wait(_PATIENCE)
    took = (time.perf_counter() - before) * 1000
    printer.stop()
    echo(f"-- cancelled: {took:.1f} ms from cancel() until the request was gone and the actor knew")
