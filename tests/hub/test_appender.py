"""The appender: all that is due in one call, none for long behind another, and a fault is nobody else's."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ChatDone, ChatEvent, Hub
from anthropix_actors.hub._write import appender
from anthropix_actors.stores import MemoryStore, StoreError

from servers import DEADLINE, until, wait
from stores_for_tests import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors import AnthropixError
    from anthropix_actors.hub import LogWriter
    from anthropix_actors.stores import Append

NOBODY: Any = None
END = ChatDone(NOBODY, {"id": "msg_1", "content": []})  # type: ignore[typeddict-item]


class Watched(MemoryStore):
    """Notes what is appended at once.

    Attributes:
        calls: For each call, name of a log → how many entries it was to get.
        sizes: The same in characters.
        gate: What the first call waits for.
        broken: Which logs have bad places, each with how often it is tried in vain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, int]] = []
        self.sizes: list[dict[str, int]] = []
        self.gate = Gate()
        self.broken: dict[str, int] = {}

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        self.calls.append({name: len(part.entries) for name, part in appends.items()})
        self.sizes.append({name: len(repr(part.entries)) for name, part in appends.items()})
        if len(self.calls) == 1:
            self.gate()
        fine = {name: part for name, part in appends.items() if not self.broken.get(name)}
        refused = super().append_many(fine)
        for name in appends.keys() - fine.keys():
            self.broken[name] -= 1
            refused[name] = StoreError("a bad place")
        return refused


def tell(writer: LogWriter, count: int, text: str = "") -> None:
    for number in range(count):
        event: Any = {"type": "content_block_delta", "index": number, "delta": {"type": "text_delta", "text": text}}
        writer.tell(ChatEvent(NOBODY, event))


def has(store: Watched, name: str, count: int) -> bool:
    return len(store.read(name)) == count


@pytest.fixture
def store() -> Watched:
    return Watched()


def behind_a_gate(hub: Hub, store: Watched) -> LogWriter:
    """Have something on its way to the store, while what a test tells becomes due; return what writes it."""
    writer = hub.to("first")
    writer.tell(END)
    wait(store.gate.reached)
    return writer


def ended(writers: list[LogWriter]) -> bool:
    for writer in writers:
        writer.tell(END)  # nothing follows an end
    return all(writer.wait(DEADLINE) for writer in writers)


def test_all_that_is_due_is_written_in_one_call(store: Watched, hubs: Callable[..., Hub]) -> None:
    hub = hubs(store)
    writers = [hub.to(f"log-{number}") for number in range(50)]
    first = behind_a_gate(hub, store)
    for writer in writers:
        tell(writer, 2)
        writer.tell(END)
    store.gate.open.set()
    assert ended([first, *writers])
    assert store.calls == [{"first": 1}, {writer.name: 4 for writer in writers}]  # with what a log begins with
    metrics = hub.metrics()
    assert (metrics.entries, metrics.batches, metrics.logs) == (201, 2, 51)
    assert [writer.outcome for writer in writers] == ["closed"] * 50


def test_one_that_has_much_comes_after_what_the_others_have(
    store: Watched, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "_SHARE", 5_000)
    monkeypatch.setattr(appender, "_MOST", 10_000)
    hub = hubs(store)
    much, *others = [hub.to(f"log-{number}") for number in range(21)]
    first = behind_a_gate(hub, store)
    tell(much, 100, "x" * 900)
    for writer in others:
        tell(writer, 1, "x" * 900)
        writer.tell(END)
    store.gate.open.set()
    assert ended([first, much, *others])
    assert max(size for sizes in store.sizes for size in sizes.values()) < 6_500
    assert max(sum(sizes.values()) for sizes in store.sizes) < 17_000
    those_of_others = [number for number, call in enumerate(store.calls) if {*call} - {much.name, "first"}]
    those_of_it = [number for number, call in enumerate(store.calls) if much.name in call]
    assert those_of_others == [1, 2, 3]
    assert those_of_it[0] == 1
    assert those_of_it[1] >= 3
    assert len(those_of_it) > 15
    assert [entry.number for entry in store.read(much.name)] == [*range(102)]


def test_an_entry_that_is_larger_than_a_share_is_written(
    store: Watched, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "_SHARE", 1)
    store.gate.open.set()
    writer = hubs(store).to("a")
    tell(writer, 5, "x" * 1000)
    assert ended([writer])
    assert all(call == {"a": 1} for call in store.calls)
    assert len(store.read("a")) == 7


def test_what_is_wrong_with_one_log_holds_up_no_other(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is tried again, that is never waited for."""
    monkeypatch.setattr(appender, "_FIRST_PAUSE", 1000.0)
    monkeypatch.setattr(appender, "_LONGEST_PAUSE", 1000.0)
    store.broken["bad"] = 1000
    with Hub(store) as hub:
        bad, good = hub.to("bad"), hub.to("good")
        tell(bad, 1)
        wait(store.gate.reached)
        tell(bad, 1)  # while that is tried
        store.gate.open.set()
        until(lambda: hub.metrics().write_failures)
        for number in range(20):
            tell(good, 1)
            tell(bad, 1)
            until(partial(has, store, "good", number + 2))
        assert ended([good])
        assert hub.metrics().write_failures == 1
    assert bad.outcome == "gone"


def test_what_failed_is_tried_again_by_itself_and_loses_nothing(
    store: Watched, hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    store.broken = {"bad-0": 3, "bad-1": 5}
    hub = hubs(store)
    bad = [hub.to(f"bad-{number}") for number in range(2)]
    good = [hub.to(f"good-{number}") for number in range(5)]
    first = behind_a_gate(hub, store)
    for writer in [*bad, *good]:
        tell(writer, 3)
    store.gate.open.set()
    until(lambda: not any(store.broken.values()))
    assert ended([first, *bad, *good])
    for writer in [*bad, *good]:
        assert [entry.number for entry in store.read(writer.name)] == [*range(5)]
    tries = [{*call} for call in store.calls[2:] if {*call} & {"bad-0", "bad-1"}]
    assert all(call <= {"bad-0", "bad-1"} for call in tries[:3])
    assert sum("could not be written" in record.getMessage() for record in caplog.records) == 1


def test_what_is_no_json_ends_its_own_log(store: Watched, hubs: Callable[..., Hub]) -> None:
    store.gate.open.set()
    hub = hubs(store)
    odd, good = hub.to("odd"), hub.to("good")
    event: Any = {"type": "ping", "odd": object()}
    odd.tell(ChatEvent(NOBODY, event))
    tell(good, 1)
    assert ended([good])
    assert odd.wait(DEADLINE)
    assert (odd.outcome, good.outcome) == ("gone", "closed")


def test_a_store_that_answers_nonsense_is_given_up(hubs: Callable[..., Hub]) -> None:
    class Nonsense(MemoryStore):
        def append_many(self, appends: Mapping[str, Append]) -> Any:  # noqa: ARG002
            return None

    writer = hubs(Nonsense(), patience=0.05).to("a")
    tell(writer, 1)
    assert writer.wait(DEADLINE)
    assert writer.outcome == "gone"


class Older:
    """A store that has no `append_many` yet."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.appends = 0

    def __getattr__(self, name: str) -> Any:
        if name == "append_many":
            raise AttributeError(name)
        return getattr(self._store, name)

    def append(self, *args: Any, **options: Any) -> None:
        self.appends += 1
        if self.appends == 3:
            raise SystemExit("foreign")
        self._store.append(*args, **options)


def test_a_store_without_it_is_written_one_log_after_the_other(hubs: Callable[..., Hub]) -> None:
    store: Any = Older()
    hub = hubs(store)
    writers = [hub.to(f"log-{number}") for number in range(5)]
    for writer in writers:
        tell(writer, 1)
    assert ended(writers)
    assert [writer.outcome for writer in writers] == ["closed"] * 5
    assert [len(store.read(writer.name)) for writer in writers] == [3] * 5


def test_a_log_that_is_given_away_has_all_that_was_told(
    store: Watched, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "_SHARE", 1)
    hub = hubs(store)
    writer = hub.to("a")
    tell(writer, 10)
    wait(store.gate.reached)
    writer.give_away()
    store.gate.open.set()
    assert writer.wait(DEADLINE)
    assert writer.outcome == "released"
    assert len(store.read("a")) == 11


def test_an_end_that_comes_as_the_rest_is_taken_closes_nothing_before_it_is_there(hubs: Callable[..., Hub]) -> None:
    """The appender looks what waits, while the chat tells its end."""
    store = MemoryStore()
    hub = hubs(store)
    writers = [hub.to(f"log-{number}") for number in range(100)]

    def run(writer: LogWriter) -> None:
        tell(writer, 3)
        writer.tell(END)

    threads = [threading.Thread(target=run, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert all(writer.wait(DEADLINE) for writer in writers)
    assert [writer.outcome for writer in writers] == ["closed"] * 100
