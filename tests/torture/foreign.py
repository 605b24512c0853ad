"""Hostile code of other people's, wherever we call it, in every phase of a request: it harms nobody else.

Beside the chat that has to do with it there are, on the same client, an honest subscriber of the same chat and a chat
with a silent server whose time runs out. What must hold, whatever the code does:

- the honest one hears a beginning of the answer, and one terminal message, the last;
- `result()` returns or raises within its time, `cancel()` and `snapshot()` at once;
- the other chat's timeout fires; a further chat of the client gets through;
- when the code returns at last, no thread is left.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import (
    AnthropixError,
    APITimeoutError,
    CancelToken,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    Client,
    Timeout,
)
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import LOGGER

from servers import Peer, Server, chunk, error_body, head, json_answer, send_answer
from torture.subscribers import Notes
from torture.truth import EVENTS, SNAPSHOTS, WHOLE, message_after, wire
from torture.watch import KEY, Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

TOTAL = 1.0
"""The seconds that each chat has in all."""

SLACK = 2.0
"""Seconds by which anything may be late on a machine that does much else."""

AT_ONCE = 8

PHASES = ("before the headers", "between events", "at the end", "in a retry's wait", "while it is cancelled")


class Foreign:
    """The code: what it does whenever it is called.

    Attributes:
        gate: Opened in the end: what blocked returns.
        called: Set when it was called.
        wrong: What it saw go wrong: calls of ours that did not come back in time.
        client: Whose code it is called from.
        subscriber: As what it subscribes, where it does.
        tag: Of the chat that it has to do with.
    """

    def __init__(self, habit: Callable[[Foreign, Any], object], *, times: int = 10**6) -> None:
        self._habit = habit
        self._times = times
        self.gate = threading.Event()
        self.called = threading.Event()
        self.wrong: list[str] = []
        self.client: Any = None
        self.tag = f"foreign {id(self)}"
        self.subscriber: Any = None

    def __call__(self, given: Any = None) -> None:
        self.called.set()
        self._times -= 1
        if self._times >= 0 and not self.gate.is_set():
            self._habit(self, given)

    def ask(self, what: str, call: Callable[[], object], within: float = 1.0) -> None:
        """Call back; whatever comes of it comes in time."""
        start = time.monotonic()
        with contextlib.suppress(AnthropixError, RuntimeError, TimeoutError, pykka.Timeout, pykka.ActorDeadError):
            call()
        if (took := time.monotonic() - start) > within:
            self.wrong.append(f"in it, {what} took {took:.1f} s")

    def take(self, chat: Any) -> None:
        """Find a lock of the library's that is held while this code runs: another thread could not take it."""
        held: list[str] = []

        def run() -> None:
            for name, lock in _locks(chat, self.client):
                if lock.acquire(timeout=0.5):  # another thread may have it for a moment
                    lock.release()
                else:
                    held.append(f"{name} is held")

        taking = threading.Thread(target=run, daemon=True)
        taking.start()
        taking.join(5)
        self.wrong += held


def _locks(chat: Any, client: Any) -> Iterator[tuple[str, Any]]:
    record, core = chat._task, client._core
    yield from {
        "the record's lock": record.lock,
        "the scope's": record.scope.condition,
        "the sweeper's": SWEEPER._lock,
        "the client's": core.registry._lock,
        "the governor's": core.governor._lock,
    }.items()
    for delivery in record.audience.all_deliveries:
        yield "a delivery's", delivery._lock


def _raises(kind: type[BaseException]) -> Callable[[Foreign, Any], object]:
    def act(_: Foreign, __: Any) -> None:
        raise kind("foreign")

    return act


RAISES = {
    f"raises {kind.__name__}": _raises(kind)
    for kind in (ZeroDivisionError, SystemExit, KeyboardInterrupt, GeneratorExit)
}
WAITS: dict[str, Callable[[Foreign, Any], object]] = {
    "blocks": lambda foreign, _: foreign.gate.wait(60),
    "is slow": lambda foreign, _: foreign.gate.wait(0.01),
}
CALLS: dict[str, Callable[[Foreign, Any], object]] = {
    "cancels": lambda foreign, told: foreign.ask("cancel()", told.chat.cancel),
    "unsubscribes": lambda foreign, told: foreign.ask(
        "unsubscribe()", partial(told.chat.unsubscribe, foreign.subscriber)
    ),
    "subscribes another": lambda foreign, told: foreign.ask("subscribe()", lambda: told.chat.subscribe(Notes())),
    "looks": lambda foreign, told: foreign.ask("snapshot()", told.chat.snapshot),
    "waits for the result": lambda foreign, told: foreign.ask("result()", lambda: told.chat.result(timeout=3)),
    "stops it": lambda foreign, told: foreign.ask("stop()", lambda: told.chat.stop(timeout=3)),
    "has its locks taken": lambda foreign, told: foreign.take(told.chat),
}
ASKS: dict[str, Callable[[Foreign, Any], object]] = {
    "asks the client": lambda foreign, _: foreign.ask("a call", lambda: foreign.client.models.retrieve("claude-a")),
}


class Actor(pykka.ThreadingActor):
    """A foreign actor."""

    use_daemon_thread = True

    def __init__(self, foreign: Foreign) -> None:
        super().__init__()
        self._foreign = foreign

    def on_receive(self, message: Any) -> None:
        self._foreign(message)

    def on_failure(self, exception_type: object, exception_value: object, traceback: object) -> None:
        """Say nothing: it was meant to."""


class Plain:
    """A foreign subscriber, or ledger."""

    def __init__(self, foreign: Foreign) -> None:
        self.tell = foreign


@dataclass(frozen=True)
class Told:
    """What a done callback is given, in the form of a message."""

    chat: Any


class Doubtful:
    """A subscriber of whom nobody can say whether it is alive."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign

    def tell(self, message: Any, /) -> None:
        """Take it."""

    def is_alive(self) -> bool:
        self._foreign()
        return True


class Handler(logging.Handler):
    """A foreign handler of the logger's, for the records of the chat that matters."""

    def __init__(self, foreign: Foreign) -> None:
        super().__init__(logging.DEBUG)
        self._foreign = foreign

    def handle(self, record: logging.LogRecord) -> bool:
        """Have no lock of logging's taken: it would make the other chats wait for this one."""
        if getattr(record, "tag", None) == self._foreign.tag:
            self._foreign()
        return True


class Refreshing:
    """An auth whose token has to be refreshed."""

    def __init__(self, foreign: Foreign) -> None:
        self.refresh = foreign

    def __call__(self, _: Any) -> dict[str, str]:
        return {"authorization": "Bearer token"}


@dataclass(frozen=True)
class Case:
    """What which code does when.

    Attributes:
        place: Whose code it is.
        habit: What it does.
        phase: When.
    """

    place: str
    habit: str
    phase: str

    def __str__(self) -> str:
        """Name it."""
        return f"{self.place} that {self.habit}, {self.phase}"

    def ends(self) -> tuple[type, ...]:
        """Get what the chat may end with."""
        ended: tuple[type, ...] = (ChatDone,)
        if self.place in ("an auth", "a refresh") and self.habit not in ("is slow", "asks the client"):
            ended = (ChatFailed,)
        elif self.habit in ("cancels", "stops it") or (self.place == "a subscriber" and "raises" in self.habit):
            ended = (ChatCancelled, ChatDone)  # it may leave before the honest one has come: nobody listens then
        elif self.habit == "blocks" and ("subscriber" in self.place or "log" in self.place):
            ended = (ChatDone, ChatFailed)  # it made room for nothing until the time was up
        return (*ended, ChatCancelled) if self.phase == PHASES[-1] else ended


HABITS: dict[str, dict[str, Callable[[Foreign, Any], object]]] = {
    "a subscriber": {**RAISES, **WAITS, **CALLS, **ASKS},
    "a late subscriber": {**RAISES, **WAITS, **CALLS, **ASKS},
    # for a SystemExit in an actor, pykka stops all actors there are
    "a subscribing actor": {"raises": RAISES["raises ZeroDivisionError"], **WAITS, **CALLS, **ASKS},
    "an is_alive": {**RAISES, **WAITS},
    "a ledger": {**RAISES, **WAITS, **CALLS, **ASKS},
    "a done callback": {**RAISES, **WAITS, **CALLS, **ASKS},
    "a handler of the log": {**RAISES, **WAITS, **ASKS},
    "an auth": {**RAISES, **WAITS, **ASKS},
    "a refresh": {**RAISES, **WAITS, **ASKS},
}


def cases() -> Iterator[Case]:
    for place, habits in HABITS.items():
        for habit in habits:
            for phase in PHASES[:1] if place in ("an auth", "a refresh") else PHASES:
                yield Case(place, habit, phase)


class Stage:
    """The server: in which phase it waits until it may go on, if it is asked by the chat that matters."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._asked = 0
        self.go = threading.Event()

    def script(self, peer: Peer) -> None:
        while peer.read_request():
            if b"claude-silent" in peer.body:
                peer.wait_for_hang_up()
                return
            if b"claude-test" in peer.body:
                self._answer(peer)
            elif b" /v1/messages " in peer.head:
                send_answer(peer, "Hello")
            else:
                peer.send(json_answer("200 OK", {"id": "claude-a", "type": "model"}))

    def _answer(self, peer: Peer) -> None:
        self._asked += 1
        phase, first = self._case.phase, self._asked == 1
        if first and self._case.place == "a refresh":
            peer.send(json_answer("401 No", error_body("authentication_error")))
            return
        if first and phase == "in a retry's wait":
            peer.send(json_answer("529 No", error_body("overloaded_error"), {"retry-after-ms": "50"}))
            return
        some = b"".join(map(wire, EVENTS[:9]))
        if phase == "before the headers":
            self.go.wait(TOTAL + SLACK)
        if phase in ("between events", "while it is cancelled"):
            peer.send(head(), chunk(some))
            self.go.wait(TOTAL + SLACK)
            peer.send(chunk(WHOLE[len(some) :]), b"0\r\n\r\n")
        else:
            peer.send(head(), chunk(WHOLE), b"0\r\n\r\n")


def ask(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}]}


def tried(case: Case) -> list[str]:
    """Have a chat with such code, and get what did not hold."""
    foreign = Foreign(HABITS[case.place][case.habit], times=10**6 if "subscri" in case.place else 1)
    if case.place == "an is_alive":
        foreign = Foreign(HABITS[case.place][case.habit])
    stage = Stage(case)
    clients: dict[str, dict[str, Any]] = {
        "an auth": {"auth": foreign},
        "a refresh": {"auth": Refreshing(foreign)},
        "a ledger": {"api_key": KEY, "ledger": Plain(foreign)},
    }
    options = clients.get(case.place, {"api_key": KEY})
    with Server(stage.script) as server:
        client = Client(base_url=server.url, timeout=Timeout(total=TOTAL), max_retries=1, proxy="", **options)
        foreign.client = client
        handler = Handler(foreign)
        if case.place == "a handler of the log":
            LOGGER.addHandler(handler)
        try:
            return _had(case, client, foreign, stage) + foreign.wrong
        finally:
            LOGGER.removeHandler(handler)
            foreign.gate.set()
            stage.go.set()
            client.close()
            if isinstance(foreign.subscriber, pykka.ActorRef):
                foreign.subscriber.stop(timeout=SLACK)


def _had(case: Case, client: Client, foreign: Foreign, stage: Stage) -> list[str]:
    found: list[str] = []
    honest, silent = Notes(), Notes()
    chat: Any = _begun(case, client, foreign, honest)
    foreign.called.wait(0.3)
    client.chat(**ask("claude-silent"), stream=silent)
    if case.phase == "while it is cancelled":
        found += in_time("cancel()", chat.cancel, 0.5)
    found += in_time("snapshot()", chat.snapshot, 0.5)
    stage.go.set()
    found += in_time("result()", lambda: chat.result(timeout=TOTAL + SLACK), TOTAL + 2 * SLACK)
    found += _heard(case, honest)
    if not silent.over.wait(TOTAL + SLACK):
        found.append("the other chat's timeout did not fire")
    elif not isinstance(getattr(silent.messages[-1], "error", None), APITimeoutError):
        found.append(f"the other chat was told {silent.messages}")
    found += in_time("a further chat", partial(_quick, client), SLACK, good=True)
    return found


def _quick(client: Client) -> None:
    client.chat(**ask("claude-quick"), timeout=2 * TOTAL)


def _begun(case: Case, client: Client, foreign: Foreign, honest: Notes) -> Any:
    if case.place == "a subscribing actor":
        foreign.subscriber = Actor.start(foreign)
    elif case.place == "an is_alive":
        foreign.subscriber = Doubtful(foreign)
    else:
        foreign.subscriber = Plain(foreign)
    if case.place not in ("a subscriber", "a subscribing actor", "an is_alive"):
        chat = client.chat(**ask("claude-test"), stream=honest, tag=foreign.tag)
        if case.place == "a done callback":
            chat.add_done_callback(lambda chat: foreign(Told(chat)))
        if case.place == "a late subscriber":  # it may be told in the thread that lets it follow, and stay there
            late = threading.Thread(target=_subscribed, args=(chat, foreign.subscriber), daemon=True)
            late.start()
        return chat
    chat = client.chat(**ask("claude-test"), stream=foreign.subscriber)
    chat.subscribe(honest)
    return chat


def _subscribed(chat: Any, subscriber: Any) -> None:
    try:
        chat.subscribe(subscriber)
    except AnthropixError as exc:  # it raises what the subscriber does, perhaps
        raise AssertionError from exc


def _heard(case: Case, honest: Notes) -> list[str]:
    if not honest.over.wait(TOTAL + SLACK):
        return [f"the honest one is told no end, but {[type(each).__name__ for each in honest.messages]}"]
    events, last = honest.events(), honest.messages[-1]
    if honest.disorder() or message_after(events) not in SNAPSHOTS:  # what came before it joined may come in fewer
        return [f"{honest.disorder()}; told {events}"]
    return [] if isinstance(last, case.ends()) else [f"ended with {last!r}"]


def in_time(what: str, call: Callable[[], object], seconds: float, *, good: bool = False) -> list[str]:
    """Have something called in a thread of its own; get whether it did not come back in time, with an error of ours."""
    came: list[str] = []

    def run() -> None:
        try:
            call()
        except AnthropixError as exc:
            came.append(f"{what}: {exc!r}" if good else "")
        except BaseException as exc:  # noqa: BLE001
            came.append(f"{what} raised {exc!r}")
        else:
            came.append("")

    thread = threading.Thread(target=run, name="torture-caller", daemon=True)
    thread.start()
    thread.join(seconds)
    return [each for each in came or [f"{what} took more than {seconds} s"] if each]


# Work that is done in the caller's thread: iterables of requests, files that are read, files that are written


class File:
    """A file of somebody else's, for reading and for writing."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign
        self._left = [b"x" * 1000, b"x" * 1000]

    def read(self, _: int = -1, /) -> bytes:
        self._foreign()
        return self._left.pop() if self._left else b""

    def write(self, data: bytes, /) -> int:
        self._foreign()
        return len(data)


def questions(foreign: Foreign) -> Iterator[dict[str, Any]]:
    for number in range(3):
        foreign()
        yield {"custom_id": f"n{number}", "params": ask("claude-test")}


def _run(client: Client, foreign: Foreign, told: Notes, _: CancelToken) -> None:
    client.batches.run(questions(foreign), told, poll=0.01)


def _create(client: Client, foreign: Foreign, _: Notes, token: CancelToken) -> None:
    client.batches.create(questions(foreign), cancel=token)


def _upload(client: Client, foreign: Foreign, _: Notes, token: CancelToken) -> None:
    client.files.upload(File(foreign), filename="a.txt", cancel=token)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def _download(client: Client, foreign: Foreign, _: Notes, token: CancelToken) -> None:
    client.files.download("file_1", File(foreign), cancel=token)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]


WORK: dict[str, Callable[[Client, Foreign, Notes, CancelToken], object]] = {
    "requests for run": _run,
    "requests for create": _create,
    "a file to upload": _upload,
    "a file to download to": _download,
}
WORK_HABITS = {**RAISES, **WAITS, **ASKS}


def work() -> Iterator[Case]:
    for place in WORK:
        for habit in WORK_HABITS:
            yield Case(place, habit, "at work")


def worked(case: Case) -> list[str]:
    """Have such code take part in work in a caller's thread; get what did not hold."""
    foreign, told, silent, token = Foreign(WORK_HABITS[case.habit]), Notes(), Notes(), CancelToken()
    found: list[str] = []
    done = threading.Event()
    came: list[BaseException] = []
    with Server(_serves) as server, Client(KEY, base_url=server.url, max_retries=0, proxy="") as client:
        foreign.client = client

        def run() -> None:
            try:
                WORK[case.place](client, foreign, told, token)
            except BaseException as exc:  # noqa: BLE001
                came.append(exc)
            done.set()

        threading.Thread(target=run, name="torture-worker", daemon=True).start()
        foreign.called.wait(SLACK)
        client.chat(**ask("claude-silent"), stream=silent, timeout=TOTAL)
        found += in_time("cancel()", token.cancel, 0.5) if case.habit == "blocks" else []
        found += in_time("another chat", partial(_quick, client), SLACK, good=True)
        if not silent.over.wait(TOTAL + SLACK):
            found.append("another chat's timeout did not fire")
        if case.habit != "blocks" and not done.wait(SLACK):
            found.append("it does not come back")
        foreign.gate.set()
        if not done.wait(SLACK):
            found.append("it does not come back although the code did")
        found += _came_of(case, came, told)
    return found + foreign.wrong


def _came_of(case: Case, came: list[BaseException], told: Notes) -> list[str]:
    """An exception of the code's comes out, or an error of ours that says so; or who is told is told."""
    deadline = time.monotonic() + SLACK
    while case.place == "requests for run" and not came and time.monotonic() < deadline:
        if told.messages and type(told.messages[-1]).__name__.endswith(("Done", "Failed", "Cancelled")):
            break
        time.sleep(0.01)
    if "raises" in case.habit and not came and case.place != "requests for run":
        return ["what it raised is lost"]
    if case.habit in ("is slow", "asks the client") and came:
        return [f"raised {came[0]!r}"]
    ends = [each for each in told.messages if type(each).__name__.endswith(("Done", "Failed", "Cancelled"))]
    if case.place == "requests for run" and not came and len(ends) != 1:
        return [f"told {told.messages}"]
    return []


def _serves(peer: Peer) -> None:
    """Be an API with one batch, one file and one model."""
    counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 3}
    results = "".join(
        f'{{"custom_id": "n{number}", "result": {{"type": "expired"}}}}\n' for number in range(3)
    ).encode()
    while _read(peer):
        path = peer.head.split(b" ")[1].decode()
        if b"claude-silent" in peer.body:
            peer.wait_for_hang_up()
            return
        if path == "/v1/messages":
            send_answer(peer, "Hello")
        elif path.endswith(("/results", "/content")):
            peer.send(head(content_type="application/x-jsonl", framing=str(len(results))), results)
        elif "batches" in path:
            url = f"http://{peer.header('host')}/v1/messages/batches/msgbatch_1/results"
            batch = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}
            peer.send(json_answer("200 OK", {**batch, "request_counts": counts, "results_url": url}))
        else:
            peer.send(json_answer("200 OK", {"id": "claude-a", "type": "model", "filename": "a.txt"}))


def _read(peer: Peer) -> bool:
    """Read a request, also one whose body comes in chunks."""
    if not peer.read_request():
        return False
    while peer.header("transfer-encoding") and not peer.body.endswith(b"0\r\n\r\n"):
        received = peer.sock.recv(65536)
        if not received:
            return False
        peer.body += received
    return True


@dataclass
class Report:
    """What foreign code did.

    Attributes:
        cases: How much was tried.
        failures: What did not hold.
    """

    cases: int = 0
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def logs_everything() -> Generator[None]:
    """Have all of it written to the logger, so that handlers are called; and nothing of it to stderr."""
    level, nowhere = LOGGER.level, logging.NullHandler()
    loggers = (LOGGER, logging.getLogger("pykka"))
    LOGGER.setLevel(logging.DEBUG)
    for logger in loggers:
        logger.addHandler(nowhere)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(nowhere)
        LOGGER.setLevel(level)


def torture(seed: int, *, short: bool = False, say: Callable[[str], object] = print) -> Report:
    """Try all of it, or in the short form one phase of each."""
    report = Report()
    dice = random.Random(seed)
    chosen = [*cases(), *work()]
    if short:
        phases = {f"{case.place} {case.habit}": case for case in sorted(chosen, key=lambda _: dice.random())}
        chosen = list(phases.values())
    leftovers = Leftovers()
    with logs_everything(), ThreadPoolExecutor(AT_ONCE) as pool:
        for case, found in zip(chosen, pool.map(one, chosen), strict=True):
            report.cases += 1
            report.failures += [f"{case}: {text}" for text in found]
    report.failures += [f"left behind: {left}" for left in leftovers.find()]
    say(f"  {report.cases} kinds of foreign code, {len(report.failures)} failures")
    return report


def one(case: Case) -> list[str]:
    return worked(case) if case.place in WORK else tried(case)
