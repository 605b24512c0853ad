"""Thousands of chats through a client that runs few at once: in order, and those that are cancelled are never sent."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anthropix_actors import ChatCancelled, ChatDone, Client

from servers import DEADLINE, Server, chunk, head
from torture.subscribers import Notes
from torture.truth import EVENTS, MESSAGE, WHOLE
from torture.watch import KEY, Leftovers, rss

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Peer


@dataclass
class Report:
    """What the pool showed.

    Attributes:
        chats: How many there were.
        cancelled: How many of them while they waited.
        at_once: The most that ran at the same time.
        threads: The most threads there were.
        seconds: How long it took.
        growth: The bytes of memory for each chat that waited.
        checks: How many things were checked.
        failures: What did not hold.
    """

    chats: int
    cancelled: int = 0
    at_once: int = 0
    threads: int = 0
    seconds: float = 0.0
    growth: float = 0.0
    checks: int = 0
    failures: list[str] = field(default_factory=list)


class _Stage:
    """Answers, and notes who came when, and how many at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.came: list[int] = []
        self.running = 0
        self.most = 0
        self.threads = 0

    def script(self, peer: Peer) -> None:
        while peer.read_request():
            with self.lock:
                self.came.append(int(json.loads(peer.body)["messages"][0]["content"]))
                self.running += 1
                self.most = max(self.most, self.running)
                self.threads = max(self.threads, threading.active_count())
            self.open.wait(DEADLINE)
            with self.lock:  # before the client can know that it is over
                self.running -= 1
            peer.send(head(), chunk(WHOLE), b"0\r\n\r\n")


def torture(seed: int, *, chats: int, at_once: int, say: Callable[[str], object] = print) -> Report:
    """Queue so many chats, cancel a tenth of them while they wait, and let the others through."""
    report = Report(chats)
    dice = random.Random(seed)
    leftovers, before, start = Leftovers(), rss(), time.monotonic()
    stage = _Stage()
    with (
        Server(stage.script) as server,
        Client(KEY, base_url=server.url, proxy="", max_concurrency=at_once, governor=False) as client,
    ):
        notes = [Notes() for _ in range(chats)]
        refs = [client.chat(**_ask(number), stream=each) for number, each in enumerate(notes)]
        report.growth = (rss() - before) / chats
        waiting = range(at_once, chats)
        cancelled = set(dice.sample(waiting, chats // 10))
        report.failures += _cancelled(refs, notes, cancelled)
        stage.open.set()
        for number, each in enumerate(notes):
            if not each.over.wait(DEADLINE * 6):
                report.failures.append(f"chat {number} is told no end")
        for ref in refs:
            ref.actor_stopped.wait(DEADLINE)
    report.seconds = time.monotonic() - start
    report.cancelled, report.at_once, report.threads = len(cancelled), stage.most, stage.threads
    if at_once == 1 and stage.came != sorted(stage.came):  # those of many that start in order may race to the server
        report.failures.append("one was overtaken")
    report.failures += [
        f"chat {number}: {each.disorder() or each.messages}"
        for number, each in enumerate(notes)
        if number not in cancelled and not _whole(each)
    ]
    if sorted(stage.came) != sorted(set(range(chats)) - cancelled):
        report.failures.append("not all were sent, or one that had been cancelled")
    if stage.most > at_once:
        report.failures.append(f"{stage.most} at once")
    report.failures += [f"left behind: {left}" for left in leftovers.find()]
    report.checks = 2 * chats + 3
    say(f"  {chats:,} chats, {at_once} at once: {report.seconds:.1f} s, {len(report.failures)} failures")
    return report


def _ask(number: int) -> dict[str, Any]:
    return {"model": "claude-test", "messages": [{"role": "user", "content": str(number)}]}


def _cancelled(refs: list[Any], notes: list[Notes], cancelled: set[int]) -> list[str]:
    """Cancel those that wait; each must be told so at once, while none that runs can end."""
    found = []
    for number in cancelled:
        refs[number].cancel("enough")
    for number in cancelled:
        notes[number].over.wait(DEADLINE)
        if [type(message) for message in notes[number].messages] != [ChatCancelled]:
            found.append(f"chat {number} was cancelled in the queue and told {notes[number].messages}")
    return found


def _whole(notes: Notes) -> bool:
    last: Any = notes.messages[-1]
    return (
        not notes.disorder()
        and isinstance(last, ChatDone)
        and last.message == MESSAGE
        and len(notes.messages) == len(EVENTS)
    )  # one is a ping, and the end is a message more
