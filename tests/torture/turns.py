"""Random conversations: real threads that say, cancel, fork and stop, tools that hang, requests that fail; then checks.

Each conversation follows from the seed and its number (`turn_plans`); the model's answers, their usage and the ids of
their calls follow from the conversation and from how often it has asked.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import AnthropixError, APITimeoutError, Client, Ledger, ParameterError, Usage
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.chat.parameters import chat_body
from anthropix_actors.content import text_of
from anthropix_actors.emulator import Emulator
from anthropix_actors.emulator.rules import active, first_refusal
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.errors import BadRequestError, ConfigurationError
from anthropix_actors.messages import (
    AnswerDone,
    ApprovalGiven,
    ApprovalNeeded,
    LimitReached,
    ToolStarted,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)

from torture.ears import Ear, EarActor, by_turn, wrong_in
from torture.turn_plans import FAULTS, LAST, PLANNED, Asked, Model, Plan, plan
from torture.turn_tools import Bench
from torture.watch import KEY, Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Self

    from anthropix_actors.conversation.ref import ConversationRef

AT_ONCE = 12
HUNG = 60.0
"""Seconds within which everything ends, even where many sub-agents share a busy machine."""

PATIENCE = 1.0
"""Seconds after which turns are cancelled that may wait for ever."""

RULES = active(["unknown-key"])
GO_ON = {"role": "user", "content": [{"type": "text", "text": "go on"}]}
OUR_FAULTS = ("an error in a conversation", "a %s ended by an error of its own", "a ledger could not count a %s")
"""What is logged where the package itself is at fault."""

STOPPED = frozenset({None, "requests", "tokens", "seconds", "max_tokens", "refusal", "pause_turn"})
"""How a turn may be done."""


@dataclass
class Report:
    """What the conversations showed."""

    plans: int = 0
    conversations: int = 0
    turns: int = 0
    calls: int = 0
    messages: int = 0
    checks: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __iadd__(self, other: Report) -> Self:
        """Add what another run showed."""
        self.plans += other.plans
        self.conversations += other.conversations
        self.turns += other.turns
        self.calls += other.calls
        self.messages += other.messages
        self.checks += other.checks
        self.ended += other.ended
        self.failures += other.failures
        return self


def torture(seed: int, first: int = 0, count: int = 100, say: Callable[[str], object] = print) -> Report:
    """Run the conversations with these numbers."""
    report = Report()
    leftovers = Leftovers()
    model = Model(seed)
    with _quiet() as faults, Emulator(handler=model) as emulator, Clients(emulator.url) as clients:
        storms = [Storm(plan(seed, number), clients.one(number), model) for number in range(first, first + count)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for storm in storms:
                pool.submit(storm.run)
        for storm in storms:
            storm.check(report)
        report.failures += [f"logged: {text}" for text in faults] + model.problems
    pykka.ActorRegistry.stop_all(timeout=HUNG)
    report.failures += [f"left behind: {left}" for left in leftovers.find()]
    report.failures += [f"watched for ever: {left}" for left in SWEEPER._watched]
    report.checks += 2
    numbers = f"conversations {first} to {first + count - 1}"
    say(f"  seed {seed}, {numbers}: {dict(report.ended)}, {len(report.failures)} failures")
    return report


@contextlib.contextmanager
def _quiet() -> Generator[list[str]]:
    """Say nothing of what tools and subscribers raise; collect what is logged of the package's own faults."""
    faults: list[str] = []

    class Ours(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg in OUR_FAULTS:
                faults.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")

    loggers, handler = [logging.getLogger(name) for name in ("anthropix_actors", "pykka")], Ours()
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield faults
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.level, logger.propagate = level, propagate


class Clients:
    """Clients that share an API: with a retry and without, with a small window, with few slots."""

    def __init__(self, url: str) -> None:
        options: list[dict[str, Any]] = [{"max_retries": 1}, {}, {"window": 2}, {"max_concurrency": 8}]
        common: dict[str, Any] = {"base_url": url, "max_retries": 0, "proxy": ""}
        self._clients = [Client(KEY, ledger=Ledger(), **{**common, **each}) for each in options]

    def one(self, number: int) -> Client:
        return self._clients[number % len(self._clients)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close(grace=0)


@dataclass
class Say:
    """Something that was said.

    Attributes:
        text: The text, which nobody else says.
        turn: The state of its turn.
        ordered: Whether it was said after those before it; what subscribers say has no such order.
    """

    text: str
    turn: Any
    ordered: bool = True


class Storm:
    """One conversation, its forks, and all who have to do with them."""

    def __init__(self, mine: Plan, client: Client, model: Model) -> None:
        self.plan = mine
        self._client = client
        self._model = model
        self._bench = Bench(mine)
        self._dice = random.Random(f"{mine.number}-storm")
        self._talks: list[tuple[str, ConversationRef]] = []
        self._says: defaultdict[Any, list[Say]] = defaultdict(list)  # by conversation
        self._ears: list[Ear] = []
        self._actors: list[pykka.ActorRef[Any]] = []
        self._problems: list[str] = []
        self._won: Counter[str] = Counter()
        self._allowed: set[str] = set()
        self._over = threading.Event()
        self._stopped = self._disturbed = False
        self._checks = 0

    # What is done

    def run(self) -> None:
        try:
            self._run()
        except BaseException as exc:  # noqa: BLE001 - it is reported
            self._problems.append(f"the driver failed: {exc!r}")
        self._over.set()
        self._bench.end()

    def _run(self) -> None:
        talk = self._begin()
        self._say(talk, "next")
        doing: list[Callable[[], object]] = [partial(what, talk) for what in (self._sayer, self._other, self._reader)]
        doing += [self._approver, self._approver] if self.plan.answers else []
        threads = [threading.Thread(target=self._safely, args=(what,)) for what in doing]
        for thread in threads:
            thread.start()
        for thread in threads[:2]:
            thread.join(HUNG)
        self._wait_for_ends()
        for ear in self._ears:
            ear.over = True
        self._over.set()
        for thread in threads:
            thread.join(HUNG)
        self._bench.let.set()
        for tag, each in self._talks:
            self._hears(tag, each)
        self._books()
        for _, each in self._talks:
            each.stop(timeout=HUNG)
        self._flush()

    def _safely(self, what: Callable[[], object]) -> None:
        try:
            what()
        except BaseException as exc:  # noqa: BLE001 - it is reported
            self._problems.append(f"{what}: {exc!r}")

    def _begin(self) -> ConversationRef:
        """Start the conversation and its subscribers."""
        subscribers = [self._ear(kind) for kind in self.plan.ears]
        talk = self._client.converse(self._bench.agent(), stream=subscribers[0], tag=self.plan.tag)
        self._talks.append((self.plan.tag, talk))
        for ear in self._ears:
            ear.talk = talk
        for subscriber in subscribers[1:]:
            talk.subscribe(subscriber, coalesce=isinstance(subscriber, pykka.ActorRef) and self._dice.random() < 0.5)
        return talk

    def _ear(self, kind: str) -> Any:
        """Make a subscriber; get what is to be subscribed."""
        ear = Ear(kind, self._dice.randint(1, 30))
        self._disturbed |= kind == "meddles"
        self._ears.append(ear)
        if kind not in {"actor", "slow"}:
            return ear
        actor = EarActor.start(ear, 0.002 if kind == "slow" else 0.0)
        self._actors.append(actor)
        return actor

    def _say(self, talk: ConversationRef, when: Any, tag: str = "") -> Any:
        """Say something; None if the conversation has stopped."""
        text = f"#{tag or self.plan.tag} say {len(self._says[talk])} {when}."
        try:
            turn = talk.say(text, when=when)
        except ConfigurationError:
            if not self._stopped:
                raise
            return None
        self._says[talk].append(Say(text, turn._task))
        return turn

    def _sayer(self, talk: ConversationRef) -> None:
        for seconds, when in self.plan.says:
            self._over.wait(seconds)
            self._say(talk, when)

    def _other(self, talk: ConversationRef) -> None:
        """Be another thread that does things to the conversation."""
        for seconds, what in self.plan.others:
            self._over.wait(seconds)
            match what:
                case "cancel":
                    self._disturbed = True
                    talk.cancel("from outside")
                case "cancel a turn":
                    self._disturbed = True
                    self._dice.choice(self._says[talk]).turn.ref.cancel("this one")
                case "fork":
                    self._fork(talk)
                case "history":
                    self._look(talk)
                case "usage":
                    talk.usage()
                case "join" | "join and leave":
                    self._join(talk, leaves=what == "join and leave")
                case "stop":
                    self._stopped = self._disturbed = True
                    talk.stop(block=False)

    def _fork(self, talk: ConversationRef) -> None:
        tag = f"{self.plan.tag}f{len(self._talks)}"
        try:
            other = talk.fork()
        except ParameterError as exc:
            self._problems.append(f"no fork: {exc}")
            return
        self._talks.append((tag, other))
        self._say(other, "next", tag)

    def _join(self, talk: ConversationRef, *, leaves: bool) -> None:
        subscriber = self._ear(self._dice.choice(("plain", "actor")))
        ear = self._ears[-1]
        ear.talk, ear.goes = talk, True  # it has missed turns
        talk.subscribe(subscriber)
        if leaves:
            talk.unsubscribe(subscriber)
            self._disturbed |= self.plan.lonely

    def _reader(self, talk: ConversationRef) -> None:
        """Look at the history again and again."""
        while not self._over.wait(self._dice.choice((0.001, 0.01, 0.05))):
            self._look(talk)

    def _look(self, talk: ConversationRef) -> None:
        history = talk.history()
        self._checks += 1
        refusal = refusal_of([*history, GO_ON], talk)
        if refusal is not None:
            self._problems.append(f"the history is not legal: {refusal}; {history[-3:]}")

    def _approver(self) -> None:
        """Answer approvals, as others do."""
        dice, seen = random.Random(threading.get_ident()), 0
        while not self._over.wait(0.003):
            messages = self._ears[0].messages
            while seen < len(messages):
                message = messages[seen]
                seen += 1
                if isinstance(message, ApprovalNeeded):
                    self._answer(message, dice)

    def _answer(self, message: ApprovalNeeded, dice: random.Random) -> None:
        allow, call_id = dice.random() < 0.7, message.approval.call_id
        if allow:
            self._allowed.add(call_id)
        try:
            message.turn._task.talk.actor.answer(message.approval, allow=allow, by="a racer")
        except ParameterError:
            return
        self._won[call_id] += 1

    # The end

    def _turns(self) -> list[Any]:
        """Get the states of all turns."""
        found = [say.turn for says in self._says.values() for say in says]
        found += [turn for ear in self._ears for turn in by_turn([*ear.messages])]
        return [*dict.fromkeys(found)]

    def _wait_for_ends(self) -> None:
        """Wait until all turns have ended; those that may wait for ever are cancelled."""
        deadline = time.monotonic() + (PATIENCE if self.plan.patient else HUNG)
        for turn in self._turns():
            if turn.finished.wait(max(0.0, deadline - time.monotonic())):
                continue
            if not self.plan.patient:
                self._problems.append(f"turn {turn.number} does not end: {doing(turn)}")
            self._disturbed = True
            turn.ref.cancel("it takes too long")
            if not turn.finished.wait(HUNG):
                self._problems.append(f"turn {turn.number} does not end after a cancel: {doing(turn)}")

    def _hears(self, tag: str, talk: ConversationRef) -> None:
        """See that the next say is accepted, unless the conversation has stopped."""
        if self._stopped and talk is self._talks[0][1]:
            return
        ear = Ear("plain", 0)
        talk.subscribe(ear)
        turn = talk.say(f"#{tag} {LAST}", when="idle")
        self._says[talk].append(Say(f"#{tag} {LAST}", turn._task))
        try:
            message = turn.result(HUNG)
        except (AnthropixError, TimeoutError) as exc:
            if isinstance(exc, APITimeoutError) and self.plan.stalls:
                return  # the machine is busy, and the timeout short
            self._problems.append(f"the next say is not accepted: {exc!r}")
        else:
            if not text_of(message).endswith("Yes."):
                self._problems.append(f"the next say is answered with {message}")
        talk.unsubscribe(ear)

    def _books(self) -> None:
        """See that what all turns used is what the ledger has, and what the model says."""
        ledger: Any = self._client._core.ledger
        deadline = time.monotonic() + HUNG
        while (ours := self._usage()) != (theirs := ledger.by_tag().get(self.plan.tag, Usage())):
            if time.monotonic() > deadline:
                self._problems.append(f"turns used {ours}, the ledger has {theirs}")
                break
            time.sleep(0.01)
        asked = self._model.asked(self.plan.tag)
        for name, place in (("input_tokens", 0), ("output_tokens", 1)):
            used, most = getattr(ours, name), sum(each.usage[place] for each in asked)
            certain = [each for each in asked if not (each.fault or self.plan.stalls or ours.estimate)]
            least = sum(each.usage[place] for each in certain)  # what timed out and was tried again counts nothing
            if (place == 0 and used > most) or (not ours.estimate and not least <= used <= most):
                self._problems.append(f"turns used {ours}, the model says {least} to {most} {name}")

    def _usage(self) -> Usage:
        return sum((talk.usage() for _, talk in self._talks), Usage())

    def _flush(self) -> None:
        """Wait until the subscribers have all that they were told."""
        deadline = time.monotonic() + HUNG
        for turn in self._turns():
            if not turn.audience.delivered.wait(max(0.0, deadline - time.monotonic())):
                self._problems.append(f"the end of turn {turn.number} is not delivered to {turn.audience.deliveries}")
        for actor in self._actors:
            with contextlib.suppress(pykka.ActorDeadError):
                actor.stop(timeout=HUNG)

    # What must hold

    def check(self, report: Report) -> None:
        """Look at everything that came of it."""
        turns, asked = self._turns(), self._model.asked(self.plan.tag)
        for check in (self._wrong_told, self._wrong_ends, self._wrong_fates, self._wrong_calls, self._wrong_limits):
            self._problems += check(turns, asked)
        report.plans += 1
        report.conversations += len(self._talks)
        report.turns += len(turns)
        report.calls += sum(self._bench.runs.values())
        report.messages += sum(len(ear.messages) for ear in self._ears)
        report.checks += self._checks + 5 * len(turns) + len(self._ears) * len(turns)
        report.ended.update(type(turn.terminal).__name__ for turn in turns)
        report.failures += [f"conversation {self.plan.number}: {text:.1500} ({self.plan})" for text in self._problems]

    def spoil(self) -> None:
        """Make up what must not be, to see that it is noticed."""
        [(tag, talk), *_] = self._talks
        first = self._says[talk][0]
        self._says[talk].append(Say(f"#{tag} never said.", first.turn))
        self._bench.runs["toolu_made_up"] = 2
        self._won["toolu_made_up"] = 2
        self._ears[0].overlapped = True

    def _wrong_told(self, turns: list[Any], _: list[Asked]) -> Iterator[str]:
        """What subscribers were told."""
        for ear in self._ears:
            if ear.overlapped:
                yield f"{ear.kind}: told by two threads at once"
            told = by_turn(ear.messages)
            for turn in turns if not ear.goes else told:
                if self._follows(ear, turn):
                    for text in wrong_in(told.get(turn, []), goes=ear.goes):
                        yield f"{ear.kind}, turn {turn.number}: {text}"

    def _follows(self, ear: Ear, turn: Any) -> bool:
        """Whether somebody follows a turn from its beginning, or for some time."""
        return ear.goes or turn.talk.actor == ear.talk

    def _wrong_ends(self, turns: list[Any], asked: list[Asked]) -> Iterator[str]:
        """How turns ended."""
        faults = {each.fault for each in asked if each.fault}
        expected = *(FAULTS[fault][1] for fault in faults), *([APITimeoutError] if self.plan.stalls else [])
        for turn in turns:
            match turn.terminal:
                case TurnDone(stopped=stopped) if stopped not in STOPPED:
                    yield f"a turn is done, stopped by {stopped}"
                case TurnFailed(error=error) if not isinstance(error, expected):
                    yield f"failed with {error!r}, and the faults are {faults}"
                case TurnFailed(error=BadRequestError() as error) if PLANNED not in str(error):
                    yield f"refused: {error}"
                case TurnCancelled(reason=reason) if not (self._disturbed or self.plan.lonely):
                    yield f"cancelled, and nobody did: {reason}"
                case TurnSuspended() if not self._stopped:
                    yield "suspended, and nobody stopped it"
                case None:
                    yield f"turn {turn.number} has no end"

    def _wrong_fates(self, turns: list[Any], _: list[Asked]) -> Iterator[str]:
        """What became of what was said."""
        for tag, talk in self._talks:
            texts = said_in(talk.history(), tag)
            own = [turn for turn in turns if turn.talk.actor == talk]
            handed_back = Counter(
                block["text"] for turn in own for content in turn.terminal.undelivered for block in content
            )
            for say in self._says[talk]:
                fates = texts.count(say.text), handed_back[say.text]
                if sum(fates) != 1:
                    yield f"{say.text!r} is {fates[0]} times in the history, and {fates[1]} times handed back"
                undelivered = [block["text"] for content in say.turn.terminal.undelivered for block in content]
                # One that failed without an answer leaves it to those after it, which may be refused with it.
                if fates[1] and say.text not in undelivered and not isinstance(say.turn.terminal, TurnFailed):
                    yield f"{say.text!r} is handed back with another turn"
            order = [(say.turn.number, place, say.text) for place, say in enumerate(self._says[talk])]
            delivered = [text for _, _, text in sorted(order) if text in texts]
            if [text for text in texts if text in delivered] != delivered:
                yield f"said out of order: {texts}, not {delivered}"
            if refusal := refusal_of([*talk.history(), GO_ON], talk):
                yield f"the last history is not legal: {refusal}"

    def _wrong_calls(self, turns: list[Any], asked: list[Asked]) -> Iterator[str]:
        """Which calls ran."""
        known = {call for each in asked for call in each.calls}
        runs = self._bench.runs
        yield from (f"{call} ran {times} times" for call, times in runs.items() if times > 1)
        yield from (f"{call} ran, and nobody asked for it" for call in runs if call not in known)
        yield from (f"{call} was answered {times} times" for call, times in self._won.items() if times > 1)
        told = [message for turn in turns for message in turn.told]
        given = Counter(message.approval.call_id for message in told if isinstance(message, ApprovalGiven))
        yield from (f"the decision about {call} is told {times} times" for call, times in given.items() if times > 1)
        asking = {message.approval.call_id for message in told if isinstance(message, ApprovalNeeded)}
        ran = {message.call.id for message in told if isinstance(message, ToolStarted) and message.call.name == "asks"}
        yield from (f"{call} ran without approval" for call in ran if call not in asking & self._allowed)
        for message in told:
            if isinstance(message, AnswerDone):
                yield from self._wrong_answer(message, asked)

    def _wrong_answer(self, message: AnswerDone, asked: list[Asked]) -> Iterator[str]:
        mark = re.search(r"\[(n\w+)\.(\d+)\]", text_of(message.message))
        if mark is None:
            yield f"an answer of nobody: {message.message}"
            return
        mine = [each for each in asked if each.tag == mark[1]][int(mark[2])]
        usage = message.message["usage"]
        if (usage["input_tokens"], usage["output_tokens"]) != mine.usage:
            yield f"{mark[0]} used {mine.usage}, and is told as {usage}"

    def _wrong_limits(self, turns: list[Any], asked: list[Asked]) -> Iterator[str]:
        """What limits allow."""
        closing = {(each.tag, len(each.messages)) for each in asked if each.closing}
        yield from (f"{tag} is a sub-agent's, and sent a closing request" for tag, _ in closing if "h" in tag)
        for tag, talk in self._talks:
            own = [turn for turn in turns if turn.talk.actor == talk]
            reached = sum(
                any(isinstance(message, LimitReached) and not message.path for message in turn.told) for turn in own
            )
            closed = sum(each == tag for each, _ in closing)
            if closed > reached:
                yield f"{tag}: {closed} closing requests in {reached} turns that reached a limit"
            limit = self.plan.limits.requests or 0
            tree = {(each.tag, len(each.messages)) for each in asked if each.tag.startswith(tag) and _is_in(each, tag)}
            if len(tree) > len(own) * (limit + 1):
                yield f"{tag}: {len(tree)} requests in {len(own)} turns of {limit}"


def _is_in(asked: Asked, tag: str) -> bool:
    """Whether a request is of a conversation or its sub-agents, and of no fork of it."""
    return asked.tag == tag or asked.tag[len(tag)] == "h"


def doing(turn: Any) -> str:
    """Say what a turn is doing."""
    calls = [(call.name, call.status) for call in turn.talk.state.calls]
    return f"{turn.talk.state.phase}, in turn {turn.talk.state.turn}, chat {turn.chat}, calls {calls}"


def refusal_of(messages: Iterable[Any], talk: ConversationRef) -> str | None:
    """Return why the API, or the client, would refuse these messages; None if neither does."""
    params = talk._talk.agent.request(talk._talk.toolbox.wire, closing=False)
    params.pop("timeout")
    try:
        sent = chat_body({**params, "messages": [*messages]}, api_version="2023-06-01")
    except ParameterError as exc:
        return str(exc)
    return first_refusal(ChatRequest(sent), RULES)


def said_in(messages: list[Any], tag: str) -> list[str]:
    """Return what was said, of these messages; what a fork had before it is not its own."""
    blocks = [block for message in messages if message["role"] == "user" for block in message["content"]]
    return [block["text"] for block in blocks if block["type"] == "text" and block["text"].startswith(f"#{tag} ")]
