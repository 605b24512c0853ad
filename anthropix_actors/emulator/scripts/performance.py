"""`Performance`: scripts that are played to conversations, and what came of it.

A conversation is recognised by its messages: a request that goes on from an earlier one begins with all its blocks.
What lies between (who wrote which answer, which ids it had) is not compared. So:

- a request whose messages go on from none begins a conversation, and a script with it;
- one that goes on from a request continues its script. If that has been continued before, it is a fork: the script is
  played anew up to there, with the same requests, and goes on from there;
- the same request again, after a complete answer, gets the same answer. After one that failed (an error, a fault), the
  script goes on, with `ask.repeated`: what follows an error is the script's to say;
- after a compaction, its summary stands for the messages that it replaced.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._foreign.log import log
from anthropix_actors.emulator._model.json import is_array
from anthropix_actors.emulator.answers import Raw, Reply, Status, unwrap
from anthropix_actors.emulator.faults import Drop, ErrorEvent, Reset, Stall
from anthropix_actors.emulator.reply_parts import Compaction
from anthropix_actors.emulator.scripts.asks import Ask, ask_of
from anthropix_actors.emulator.scripts.errors import ScriptError
from anthropix_actors.emulator.scripts.lawful import lawful

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.scripts.script import Lines, Script

_ERRORS = 400


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that was played. After a fork, the part before it belongs to both.

    Attributes:
        script: The script's name.
        asks: The requests, in order, without those that got the same answer again.
        answers: The answers that the script gave to them.
    """

    script: str
    asks: tuple[Ask, ...]
    answers: tuple[Answer, ...]


class _Play:
    """A script that is being played to one conversation."""

    def __init__(self, script: Script) -> None:
        """Begin nothing yet."""
        self.script = script
        self.at: _Turn | None = None
        self._lines: Lines | None = None

    def answer(self, ask: Ask) -> Answer:
        """Let the script answer.

        Raises:
            ScriptError: it raised, has ended, or answered what the API would not.
        """
        try:
            given, self._lines = asked_script(self.script, self._lines, ask)
            return lawful(given, ask.body, unknown_tools=self.script.unknown_tools)
        except ScriptError as exc:
            where = f"the script {self.script.name}, at request {ask.number} of a conversation"
            raise ScriptError(f"{where}: {exc}") from exc.__cause__


@dataclass(slots=True, eq=False)
class _Turn:
    """One request, and the answer to it."""

    ask: Ask
    play: _Play
    before: _Turn | None
    body: bytes
    system: bytes
    answer: Answer = None
    failure: ScriptError | None = None

    @property
    def path(self) -> list[_Turn]:
        """Return the turns up to this one."""
        turns: list[_Turn] = []
        turn: _Turn | None = self
        while turn is not None:
            turns.insert(0, turn)
            turn = turn.before
        return turns


class Performance:
    """Scripts that answer an emulator's chats; made by `Emulator.answer_with`.

    Args:
        scripts: The scripts; the first that takes a conversation plays it.
    """

    def __init__(self, scripts: Sequence[Script]) -> None:
        """Start without conversations."""
        self._scripts = scripts
        self._turns: list[_Turn] = []
        self._found: defaultdict[bytes, list[_Turn]] = defaultdict(list)
        self._summaries: dict[str, _Turn] = {}
        self._failures: list[ScriptError] = []

    def __repr__(self) -> str:
        """Show its scripts."""
        return f"<Performance of {', '.join(script.name for script in self._scripts)}>"

    @property
    def conversations(self) -> list[Conversation]:
        """The conversations so far, in the order of their latest requests. Any thread."""
        turns = list(self._turns)
        continued = {id(turn.before) for turn in turns}
        paths = [turn.path for turn in turns if id(turn) not in continued]
        return [
            Conversation(
                path[0].play.script.name, tuple(turn.ask for turn in path), tuple(turn.answer for turn in path)
            )
            for path in paths
        ]

    def check(self) -> None:
        """Raise what went wrong with the scripts first. Any thread.

        Raises:
            ScriptError: one raised, ended early, or answered what the API would not; or none took a request.
        """
        if self._failures:
            raise self._failures[0]

    def answer(self, request: Request) -> Answer:
        """Return the answer to a chat. Runs in the emulator's thread, and so do the scripts."""
        try:
            return self._answer(request.body)
        except ScriptError as exc:
            if exc not in self._failures:
                self._failures.append(exc)
                log(logging.ERROR, "a script failed: %s", exc, exc_info=exc.__cause__)
            # It would fail again.
            return Status(500, f"the emulator failed to answer: {exc}", headers={"x-should-retry": "false"})

    def _answer(self, body: Mapping[str, Any]) -> Answer:
        places = list(_digests(body["messages"]))
        turn = self._same(body, places[-1])
        if turn is None:
            turn = self._next(body, places)
            self._turns.append(turn)
            self._found[places[-1]].append(turn)
            self._play(turn)
        if turn.failure is not None:
            raise turn.failure
        return turn.answer

    def _same(self, body: Mapping[str, Any], place: bytes) -> _Turn | None:
        """Return the turn whose request is repeated, if it is to get the same answer."""
        digest = _body_digest(body)
        for turn in reversed(self._found[place]):
            if turn.body == digest and (turn.failure is not None or _is_complete(turn.answer)):
                return turn
        return None

    def _next(self, body: Mapping[str, Any], places: list[bytes]) -> _Turn:
        """Return the turn for a request that is new, or whose answer failed; without its answer.

        Raises:
            ScriptError: no script takes it.
        """
        ask = ask_of(body)
        system = _digest(body.get("system"))
        before, repeated = self._before(ask, places, system)
        if before is not None:
            script = before.play.script
            ask = ask_of(body, before.ask.number + 1, repeated=repeated)
        else:
            taking = [script for script in self._scripts if _takes(script, ask)]
            if not taking:
                raise ScriptError(f"no script takes a request with the text {ask.text!r}, of {ask.model}")
            script = taking[0]
        play = before.play if before is not None and before.play.at is before else _Play(script)
        return _Turn(ask, play, before, _body_digest(body), system)

    def _before(self, ask: Ask, places: list[bytes], system: bytes) -> tuple[_Turn | None, bool]:
        """Return the turn that a request goes on from, and whether it repeats that turn's request."""
        failed = [turn for turn in self._found[places[-1]] if turn.failure or not _is_complete(turn.answer)]
        for place, turns in ((None, failed), *((place, self._found.get(place, [])) for place in places[-2:0:-1])):
            fitting = [turn for turn in turns if turn.play.script.may_answer(ask)]
            if fitting:
                return next((turn for turn in reversed(fitting) if turn.system == system), fitting[-1]), place is None
        summaries = [self._summaries.get(text) for text in _summaries(ask.messages)]
        return next(filter(None, reversed(summaries)), None), False

    def _play(self, turn: _Turn) -> None:
        """Have the script answer; play it up to there, if it is a fork."""
        before, play = turn.before, turn.play
        try:
            if before is not None and before.failure is not None:
                raise before.failure
            if before is not None and play.at is not before:
                for earlier in before.path:
                    play.answer(earlier.ask)
            turn.answer = play.answer(turn.ask)
        except ScriptError as exc:
            turn.failure = exc
        play.at = turn
        self._summaries |= dict.fromkeys(_compacted(turn.answer), turn)


def asked_script(script: Script, playing: Lines | None, ask: Ask) -> tuple[Answer, Lines]:
    """Let a script answer, from its beginning if it is not playing yet.

    Raises:
        ScriptError: it raised, or has ended.
    """
    try:
        if playing is None:
            playing = script.play(ask)
            return next(playing), playing
        return playing.send(ask), playing
    except StopIteration as end:
        returned = "" if end.value is None else f"; it returned {end.value!r}, and has to yield it"
        brought = f"the text {ask.text!r}, {len(ask.results)} results"
        error, cause = ScriptError(f"it has ended, and is asked once more ({brought}){returned}"), None
    except BaseException as exc:  # noqa: BLE001 - of the test's code; pytest's outcomes are no Exceptions
        error, cause = ScriptError(f"it raised {exc!r}"), exc
    raise error from cause


def _takes(script: Script, ask: Ask) -> bool:
    try:
        return script.takes(ask)
    except BaseException as exc:
        raise ScriptError(f"the script {script.name}: its `when` raised {exc!r}") from exc


def _is_complete(answer: Answer) -> bool:
    """Return whether an answer arrives whole, and so ends its request."""
    plain, faults = unwrap(answer)
    if any(isinstance(fault, Drop | Reset | Stall | ErrorEvent) for fault in faults):
        return False
    return not (isinstance(plain, Raw | Status) and plain.status >= _ERRORS)


def _compacted(answer: Answer) -> Iterator[str]:
    plain, _ = unwrap(answer)
    for part in plain.content if isinstance(plain, Reply) else ():
        if isinstance(part, Compaction) and part.content:
            yield part.content


def _summaries(messages: Sequence[Any]) -> Iterator[str]:
    for _, block in _blocks(messages):
        if block.get("type") == "compaction" and isinstance(block.get("content"), str):
            yield block["content"]


def _blocks(messages: Sequence[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the blocks of messages, with their roles; a text in place of blocks as one."""
    for message in messages:
        content = message.get("content")
        for block in content if is_array(content) else ({"type": "text", "text": content},):
            yield message.get("role"), block


def _digests(messages: Sequence[Any]) -> Iterator[bytes]:
    """Yield a digest of all blocks so far, after each. A breakpoint of the cache moves on, and does not count."""
    hashed = hashlib.sha256()
    yield hashed.digest()
    for role, block in _blocks(messages):
        hashed.update(_encoded((role, {key: value for key, value in block.items() if key != "cache_control"})))
        yield hashed.digest()


def _body_digest(body: Mapping[str, Any]) -> bytes:
    """Return a digest of a request; a stream gets the same answer as none."""
    return _digest({key: value for key, value in body.items() if key not in {"stream", "messages"}})


def _digest(value: Any) -> bytes:
    return hashlib.sha256(_encoded(value)).digest()


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
