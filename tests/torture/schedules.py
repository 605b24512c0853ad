"""Random schedules: hundreds of chats at a time on shared clients, each by its plan, with what must hold checked."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import (
    AnthropixError,
    CancelledError,
    CancelToken,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    Client,
    Timeout,
)

from servers import Server, chunk, error_body, head, json_answer, sse
from torture import subscribers
from torture.plans import Plan, plan
from torture.subscribers import Notes
from torture.truth import message_after
from torture.watch import KEY, Leftovers, names_the_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from servers import Peer

AT_ONCE = 48
SILENCE = 0.7
HUNG = 30.0
RETRIES = 1


@dataclass
class Report:
    """What the schedules showed."""

    chats: int = 0
    messages: int = 0
    checks: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __iadd__(self, other: Report) -> Self:
        """Add what another run showed."""
        self.chats += other.chats
        self.messages += other.messages
        self.checks += other.checks
        self.ended += other.ended
        self.failures += other.failures
        return self


def torture(seed: int, first: int = 0, count: int = 1000, say: Callable[[str], object] = print) -> Report:
    """Run the chats with these numbers."""
    report = Report()
    leftovers = Leftovers()
    logging.getLogger("pykka").setLevel(logging.CRITICAL)  # actors that fail are part of it
    stage = Stage(seed)
    try:
        with Server(stage.script) as server, Clients(server.url) as clients, ThreadPoolExecutor(AT_ONCE) as pool:
            chats = [Chat(plan(seed, number), clients.one(number)) for number in range(first, first + count)]
            for chat in chats:
                pool.submit(chat.run)
            pool.shutdown()
            for chat in chats:
                chat.check(report)
    finally:
        logging.getLogger("pykka").setLevel(logging.NOTSET)
    pykka.ActorRegistry.stop_all(timeout=HUNG)
    report.failures += [f"left behind: {left}" for left in leftovers.find()]
    report.checks += 1
    say(f"  seed {seed}, chats {first} to {first + count - 1}: {dict(report.ended)}, {len(report.failures)} failures")
    return report


class Clients:
    """Three clients that share a server: one as it is, one with few slots, one without a governor."""

    def __init__(self, url: str) -> None:
        options: list[dict[str, Any]] = [{"window": 16}, {"max_concurrency": 8, "window": 1}, {"governor": False}]
        self._clients = [Client(KEY, base_url=url, max_retries=RETRIES, proxy="", **each) for each in options]

    def one(self, number: int) -> Client:
        return self._clients[number % len(self._clients)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self._clients:
            client.close()


class Stage:
    """The server's side: does to each chat what its plan says."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._attempts: Counter[int] = Counter()

    def script(self, peer: Peer) -> None:
        while peer.read_request():
            number = json.loads(peer.body)["messages"][0]["content"]
            mine = plan(self._seed, int(number))
            with self._lock:
                self._attempts[mine.number] += 1
                attempt = self._attempts[mine.number]
            if attempt <= mine.refused:
                peer.send(json_answer("529 Overloaded", error_body("overloaded_error"), {"retry-after-ms": "5"}))
                continue
            peer.send(head())
            for piece in mine.pieces():
                if mine.paces:
                    threading.Event().wait(subscribers.BREATH)
                peer.send(chunk(piece))
            if not _FINISH[mine.fault](peer):
                return


def _finish(peer: Peer) -> bool:
    peer.send(b"0\r\n\r\n")
    return True


def _reset(peer: Peer) -> bool:
    peer.reset()
    return False


def _stall(peer: Peer) -> bool:
    peer.wait_for_hang_up()
    return False


def _say(kind: str, peer: Peer) -> bool:
    peer.send(chunk(sse(error_body(kind))))
    return False


_FINISH: dict[str, Callable[[Peer], bool]] = {
    "none": _finish,
    "end": _finish,
    "reset": _reset,
    "close": lambda _: False,
    "stall": _stall,
    "overloaded": partial(_say, "overloaded_error"),
    "broken": partial(_say, "api_error"),
}


class Chat:
    """One chat and all who have to do with it."""

    def __init__(self, mine: Plan, client: Client) -> None:
        self.plan = mine
        self._client = client
        self._notes: dict[str, Notes] = {}
        self._actors: list[pykka.ActorRef[Any]] = []
        self._problems: list[str] = []
        self._outcomes: list[tuple[str, Any]] = []  # who got what: a Message or an error
        self._may_be_cancelled = mine.subscriber in subscribers.CANCELLING

    # What is done

    def run(self) -> None:
        try:
            self._run()
        except BaseException as exc:  # noqa: BLE001 - it is reported
            self._problems.append(f"the driver failed: {exc!r}")
        for actor in self._actors:
            with contextlib.suppress(pykka.ActorDeadError):
                actor.stop(timeout=HUNG)

    def _run(self) -> None:
        kind = self.plan.subscriber
        silence = SILENCE if self.plan.fault == "stall" else HUNG
        ask: dict[str, Any] = {
            "model": "claude-test",
            "messages": [{"role": "user", "content": str(self.plan.number)}],
            "timeout": Timeout(connect=HUNG, read=silence, idle=HUNG, first_byte=silence),
        }
        if kind == "call":
            token = CancelToken()
            outsiders = threading.Thread(target=self._outside, args=(None, token))
            outsiders.start()
            self._outcome("call", partial(self._client.chat, **ask, cancel=token))
            outsiders.join(HUNG)
            return
        if kind.startswith("loop"):
            stream = self._client.chat(**ask, stream=True)
            outsiders = threading.Thread(target=self._outside, args=(stream.chat, None))
            outsiders.start()
            self._outcome("loop", lambda: self._loop(stream))
            chat = stream.chat
        else:
            subscriber, self._notes["first"] = self._subscriber(kind, self.plan.after)
            chat = self._client.chat(**ask, stream=subscriber, coalesce=kind == "coalescing actor")
            outsiders = threading.Thread(target=self._outside, args=(chat, None))
            outsiders.start()
        outsiders.join(HUNG)
        if not chat.actor_stopped.wait(HUNG):
            self._problems.append("it does not end")
        for who, notes in self._notes.items():
            if not notes.leaves and not notes.over.wait(HUNG):
                self._problems.append(f"{who} is told no end")
        self._outcome("result", lambda: chat.result(timeout=HUNG))

    def _subscriber(self, kind: str, after: int) -> tuple[Any, Notes]:
        subscriber, notes = subscribers.start(kind, after)
        if isinstance(subscriber, pykka.ActorRef):
            self._actors.append(subscriber)
        return subscriber, notes

    def _loop(self, stream: Any) -> Any:
        notes = self._notes["loop"] = Notes(leaves=True)
        chat = stream.chat
        for number, event in enumerate(stream, 1):
            notes.messages.append(ChatEvent(chat, event))
            if self.plan.subscriber == "loop that is left" and number >= self.plan.after:
                break
        return chat.result(timeout=HUNG)

    def _outside(self, chat: Any, token: CancelToken | None) -> None:
        """Be another thread that does things to the chat."""
        pause = threading.Event()
        for number, (moment, what) in enumerate(self.plan.outsiders):
            pause.wait(moment)
            if what in ("cancel", "cancel twice", "stop"):
                self._may_be_cancelled = True
            if token is not None:
                if what == "cancel":
                    token.cancel("from outside")
                continue
            try:
                self._act(chat, what, f"joiner {number}")
            except BaseException as exc:  # noqa: BLE001 - it is reported
                self._problems.append(f"{what}: {exc!r}")

    def _act(self, chat: Any, what: str, who: str) -> None:
        match what:
            case "cancel":
                chat.cancel("from outside")
            case "cancel twice":
                chat.cancel("from outside")
                if chat.cancel("again"):
                    self._problems.append("the second cancel did it again")
            case "stop":
                chat.stop()
            case "result":
                self._outcome("an early result", partial(chat.result, timeout=HUNG))
            case "snapshot":
                snapshot = chat.snapshot()
                if snapshot is not None and not self._is_beginning(snapshot):
                    self._problems.append(f"a snapshot that is none: {snapshot}")
            case "join" | "join and leave":
                subscriber, notes = self._subscriber("inbox" if self.plan.cuts else "actor", 0)
                notes.leaves = what == "join and leave"
                self._notes[who] = notes
                chat.subscribe(subscriber)
                if notes.leaves:
                    chat.unsubscribe(subscriber)
                    self._may_be_cancelled = True

    def _outcome(self, who: str, get: Callable[[], Any]) -> None:
        try:
            self._outcomes.append((who, get()))
        except AnthropixError as error:
            self._outcomes.append((who, error))

    # What must hold

    def check(self, report: Report) -> None:
        """Look at everything that came of it."""
        self._problems += [text for who, notes in self._notes.items() if (text := self._wrong(who, notes))]
        self._problems += [f"{who}: {text}" for who, got in self._outcomes if (text := self._unexpected(got))]
        kinds = {type(got) for _, got in self._outcomes}
        if len(kinds) > 1:
            self._problems.append(f"not of one mind: {self._outcomes}")
        told = [message for notes in self._notes.values() for message in notes.messages]
        if names_the_key(*told[-3:], *(got for _, got in self._outcomes)):
            self._problems.append("the key is in a text")
        report.chats += 1
        report.messages += len(told)
        report.checks += 2 + 3 * len(self._notes) + len(self._outcomes)
        kind = kinds.pop() if len(kinds) == 1 else object
        report.ended["a whole answer" if kind is dict else kind.__name__] += 1
        report.failures += [f"chat {self.plan.number}: {text} ({self.plan})" for text in self._problems]

    def _wrong(self, who: str, notes: Notes) -> str:
        wrong = "" if who == "loop" else notes.disorder()
        events = notes.events()
        # Beside others, a subscriber that is behind is told merged deltas; a loop never is.
        alone = not any(what.startswith("join") for _, what in self.plan.outsiders)
        alone = alone and self.plan.subscriber != "coalescing actor"
        exact = who == "loop" or (who == "first" and alone)
        truth = self.plan.events()
        if exact and events != truth[: len(events)]:
            wrong += f"told {events}"
        if not exact and not self._is_beginning(message_after(events)):
            wrong += f"what was told makes {message_after(events)}"
        match notes.messages[-1:]:
            case [ChatDone()] if message_after(events) != self.plan.message():
                wrong += f"done after {events}"
            case [ChatCancelled(partial=partial)] if not self._is_beginning(partial):
                wrong += f"partial {partial}"
            case [ChatFailed(error=error)] if not self._is_beginning(error.partial):
                wrong += f"partial {error.partial}"
        return wrong and f"{who}: {wrong}"

    def _is_beginning(self, message: Any) -> bool:
        """Whether a Message is a state of the true one."""
        if message is None:
            return True
        whole = self.plan.message()["content"]
        blocks = message["content"]
        return len(blocks) <= len(whole) and all(
            true["text"].startswith(block["text"]) and (number == len(blocks) - 1 or true == block)
            for number, (block, true) in enumerate(zip(blocks, whole, strict=False))
        )

    def _unexpected(self, got: Any) -> str:
        expected = self.plan.error()
        if isinstance(got, CancelledError):
            return "" if self._may_be_cancelled else f"cancelled, and nobody did: {got}"
        if isinstance(got, AnthropixError):
            return "" if type(got) is expected else f"expected {expected}, got {got!r}"
        return "" if expected is None and got == self.plan.message() else f"expected {expected}, got {got}"
