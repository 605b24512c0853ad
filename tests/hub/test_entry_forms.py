"""Entries that another program, or version, has written: who reads them goes on, or is told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from click import ClickException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anthropix_actors import AnthropixError, ChatCancelled, ChatDone, ChatEvent, ChatFailed, Hub
from anthropix_actors.cli._answers import follow_answer
from anthropix_actors.cli._store import _show_answer
from anthropix_actors.hub import told
from anthropix_actors.hub.entries import begin_entry
from anthropix_actors.hub.entry_forms import wrong_in
from anthropix_actors.stores import MemoryStore, Unreadable

from actors import TERMINAL, Inbox
from servers import DEADLINE, answer, start

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = begin_entry(1, "elsewhere")
MESSAGE: dict[str, Any] = {**start()["message"], "content": []}
DONE = {"kind": "done", "message": MESSAGE, "resumed": False}
ENTRIES: list[dict[str, Any]] = [
    {**BEGIN, "tag": "night"},
    *({"kind": "event", "event": event} for event in answer("Hi")),
    {"kind": "event", "event": start(), "request_id": "req_1", "attempts": 1},
    {
        "kind": "retrying",
        "attempt": 1,
        "delay": 0.5,
        "error": {"class": "OverloadedError", "says": "no", "status": 529},
    },
    {"kind": "resumed", "attempt": 2, "kept": 1},
    {**DONE, "usage": {"input_tokens": 1}, "lost": [{"input_tokens": 1}], "request_id": "req_1", "attempts": 1},
    {"kind": "failed", "error": {"class": "ParameterError", "says": "no", "problems": [["a", "b"]]}},
    {"kind": "cancelled", "reason": "enough", "partial": MESSAGE},
]
WITH_BENCH = [HealthCheck.function_scoped_fixture]
"""It is one for all examples: what one of them does to it, the next ones would see."""
ODD: Any = st.sampled_from([None, True, -1, 10**30, 0.5, "", "x", [], ["x"], [None], {}, {"type": "x"}, {"a": []}])


@st.composite
def changed(draw: Any) -> dict[str, Any]:
    """Return an entry of ours in which something is missing, or is another thing, at any depth."""
    found: dict[str, Any] = _changed(draw, draw(st.sampled_from(ENTRIES)))
    return found


def _changed(draw: Any, whole: Any) -> Any:
    key = draw(st.sampled_from([*whole] if isinstance(whole, dict) else range(len(whole))))
    parts = {**whole} if isinstance(whole, dict) else [*whole]
    if whole[key] and isinstance(whole[key], (dict, list)) and draw(st.booleans()):
        parts[key] = _changed(draw, whole[key])
    elif draw(st.booleans()):
        del parts[key]
    else:
        parts[key] = draw(ODD)
    return parts


class Bench:
    """A store with a hub that lives through all examples, and a chat that must be followed after each."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.hub = Hub(self.store)
        self.names = (f"a-{number}" for number in itertools.count())
        self.write("good", BEGIN, DONE)

    def write(self, name: str, *entries: dict[str, Any]) -> None:
        self.store.append(name, self.store.claim(name), 0, entries, close=True)


@pytest.fixture
def bench() -> Iterator[Bench]:
    found = Bench()
    with found.hub:
        yield found


@settings(max_examples=150, suppress_health_check=WITH_BENCH)
@given(entries=st.lists(changed(), min_size=1, max_size=3))
def test_whatever_a_log_has_who_follows_it_comes_to_an_end(bench: Bench, entries: list[dict[str, Any]]) -> None:
    name = next(bench.names)
    bench.write(name, BEGIN, *entries, DONE)
    inbox = Inbox()
    bench.hub.ref(name).subscribe(inbox)
    end = inbox.until_end()[-1]
    assert isinstance(end, TERMINAL)
    assert isinstance([*bench.hub.follow(name)][-1], type(end))
    try:
        result = bench.hub.result(name, timeout=DEADLINE)
    except AnthropixError:
        assert isinstance(end, (ChatFailed, ChatCancelled))
    else:
        assert isinstance(end, ChatDone)
        assert result == end.message
    assert bench.hub.status(name).entries == len(entries) + 2
    assert bench.hub.result("good", timeout=DEADLINE) == MESSAGE
    bench.hub.delete(name)


@settings(max_examples=100, suppress_health_check=WITH_BENCH)
@given(entry=changed())
def test_whatever_a_log_has_the_command_line_says_what_it_is(bench: Bench, entry: dict[str, Any]) -> None:
    name = next(bench.names)
    bench.write(name, BEGIN, entry, DONE)
    for command in (_show_answer, follow_answer):
        try:
            command(bench.hub, name)
        except (AnthropixError, ClickException, SystemExit):
            continue
    bench.hub.delete(name)


@pytest.mark.parametrize("kind", ["done", "failed", "cancelled"])
def test_an_end_that_lacks_a_field_is_told_as_an_error(bench: Bench, kind: str) -> None:
    bench.write(f"no-{kind}", BEGIN, {"kind": "event", "event": start()}, {"kind": kind})
    told_of = [*bench.hub.follow(f"no-{kind}")]
    assert [type(each) for each in told_of] == [ChatEvent, ChatFailed]
    end = told_of[-1]
    assert isinstance(end, ChatFailed)
    error = end.error
    assert isinstance(error, Unreadable)
    assert (error.name, error.number, error.partial) == (f"no-{kind}", 2, MESSAGE)
    assert f"entry 2 of the log 'no-{kind}' cannot be read: its kind is '{kind}'" in str(error)


def test_what_comes_after_an_end_is_not_told(bench: Bench) -> None:
    bench.write("twice", BEGIN, {"kind": "event"}, {"kind": "event", "event": start()}, DONE)
    assert [type(each) for each in bench.hub.follow("twice")] == [ChatFailed]
    bench.hub.delete("twice")
    assert bench.hub.metrics().reading == 0


def test_an_error_deep_in_an_entry_is_told_with_its_cause(bench: Bench) -> None:
    bench.write("deep", BEGIN, {"kind": "failed", "error": {"class": ["x"]}})
    with pytest.raises(Unreadable) as caught:
        bench.hub.result("deep", timeout=DEADLINE)
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_kind_that_is_newer_is_passed_over(bench: Bench) -> None:
    bench.write("newer", BEGIN, {"kind": "from the future"}, {"kind": ["done"]}, {}, DONE)
    assert [type(each) for each in bench.hub.follow("newer")] == [ChatDone]
    assert [wrong_in(entry) for entry in ENTRIES] == [None] * len(ENTRIES)


def test_what_cannot_be_understood_tells_of_no_answer() -> None:
    with pytest.raises(Unreadable, match=r"^entry 1 cannot be read: its kind is 'resumed': Object missing"):
        told([BEGIN, {"kind": "resumed"}])
