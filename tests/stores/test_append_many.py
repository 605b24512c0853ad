"""An append to many logs is an append to each, in every store."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anthropix_actors import ParameterError
from anthropix_actors.stores import Append, Fenced, Lost, MemoryStore, SQLiteStore, StoreError, append_each

from redis_servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from anthropix_actors.stores import Store

_numbers = itertools.count()


class ModelLog:
    """A log, as simply as can be."""

    def __init__(self) -> None:
        self.epoch = 0
        self.entries: list[int] = []
        self.closed = False

    def error(self, epoch: int, first: int, count: int) -> type[Exception] | None:
        """Return what refuses an append."""
        if epoch != self.epoch:
            return Fenced
        too_late = self.closed and first + count > len(self.entries)
        return ParameterError if first > len(self.entries) or too_late else None

    def append(self, first: int, entries: Sequence[int], *, close: bool) -> None:
        self.entries += entries[len(self.entries) - first :]
        self.closed |= close


class Model:
    """Logs by name, some of which have been deleted."""

    def __init__(self) -> None:
        self.logs: dict[str, ModelLog] = {}

    def claim(self, name: str, epoch: int) -> None:
        self.logs.setdefault(name, ModelLog()).epoch = epoch

    def append(self, name: str, epoch: int, first: int, entries: Sequence[int], *, close: bool) -> Any:
        if name not in self.logs:
            return Lost
        error = self.logs[name].error(epoch, first, len(entries))
        if error is None:
            self.logs[name].append(first, entries, close=close)
        return error


NAMES = st.sampled_from("abcde")
PARTS = st.tuples(
    st.integers(-1, 0), st.integers(-3, 1), st.integers(0, 4), st.sampled_from([False, False, False, True])
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), NAMES),
        st.tuples(st.just("delete"), NAMES),
        st.tuples(st.just("append"), st.dictionaries(NAMES, PARTS)),
        st.tuples(st.just("append"), st.dictionaries(NAMES, PARTS, min_size=3)),
    ),
    max_size=25,
)


def appends_of(model: Model, parts: Mapping[str, tuple[int, int, int, bool]]) -> dict[str, tuple[Any, ...]]:
    """Return what is to be appended to each: relative to what is there, so that much of it is taken."""
    found = {}
    for name, (epoch, distance, count, close) in parts.items():
        log = model.logs.get(name, ModelLog())
        first = max(0, len(log.entries) + distance)
        found[name] = max(0, log.epoch + epoch), first, [*range(first, first + count)], close
    return found


def as_model(store: Store, prefix: str, steps: Sequence[Any]) -> None:
    """Do the same with a store and a model, and see that both have done the same."""
    model = Model()
    for name in "abc":
        model.claim(name, store.claim(prefix + name))
    for what, of in steps:
        if what == "claim":
            model.claim(of, store.claim(prefix + of))
        elif what == "delete":
            model.logs.pop(of, None)
            store.delete(prefix + of)
        else:
            parts = appends_of(model, of)
            expected = {name: model.append(name, *each[:3], close=each[3]) for name, each in parts.items()}
            refused = store.append_many(
                {
                    prefix + name: Append(epoch, first, [{"n": number} for number in numbers], close)
                    for name, (epoch, first, numbers, close) in parts.items()
                }
            )
            found = {name.removeprefix(prefix): type(error) for name, error in refused.items()}
            assert found == {name: error for name, error in expected.items() if error is not None}
        for name in "abcde":
            log, state = model.logs.get(name), store.state(prefix + name)
            assert (state is None) == (log is None)
            if log is not None and state is not None:
                assert (state.epoch, state.length, state.closed) == (log.epoch, len(log.entries), log.closed)
                assert [entry.data["n"] for entry in store.read(prefix + name)] == log.entries


@given(STEPS)
def test_in_memory_it_does_as_a_model_does(steps: list[Any]) -> None:
    as_model(MemoryStore(), "", steps)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(tmp_path_factory.mktemp("logs") / "logs.db", synchronous="normal")) as store:
        yield store


@settings(max_examples=25)
@given(steps=STEPS)
def test_in_a_file_it_does_as_a_model_does(file: SQLiteStore, steps: list[Any]) -> None:
    as_model(file, f"{next(_numbers)}-", steps)


@pytest.fixture(scope="module")
def redis() -> Iterator[Store]:
    with RedisServer() as server, closing(server.store()) as store:
        yield store


@settings(max_examples=25)
@given(steps=STEPS)
def test_in_redis_it_does_as_a_model_does(redis: Store, steps: list[Any]) -> None:
    as_model(redis, f"{next(_numbers)}-", steps)


class OneByOne(MemoryStore):
    """A store that has nothing better than `append`, and whose disk has bad places."""

    errors: Mapping[str, BaseException] = {}

    def append(self, name: str, *args: Any, **options: Any) -> None:
        if name in self.errors:
            raise self.errors[name]
        super().append(name, *args, **options)

    def append_many(self, appends: Mapping[str, Append]) -> Any:
        return append_each(self, appends)


@given(STEPS)
def test_one_after_the_other_it_does_as_a_model_does(steps: list[Any]) -> None:
    as_model(OneByOne(), "", steps)


def test_what_one_log_raises_keeps_no_other_from_being_written() -> None:
    store = OneByOne()
    store.errors = {"b": OSError("a bad place"), "c": SystemExit("foreign"), "d": StoreError("away")}
    appends = {name: Append(store.claim(name), 0, [{}]) for name in "abcde"}
    refused = store.append_many(appends)
    assert {name: str(error) for name, error in refused.items()} == {
        "b": "the log 'b' could not be written: OSError('a bad place')",
        "c": "the log 'c' could not be written: SystemExit('foreign')",
        "d": "away",
    }
    assert all(isinstance(error, StoreError) for error in refused.values())
    assert [refused[name].__cause__ for name in "bc"] == [store.errors[name] for name in "bc"]
    assert [store.state(name).length for name in "abcde"] == [1, 0, 0, 0, 1]  # type: ignore[union-attr]


# A file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs.db"


def claimed(store: Store, *names: str) -> dict[str, int]:
    return {name: store.claim(name) for name in names}


def test_one_transaction_writes_all_of_them(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        epochs = claimed(store, *(f"log-{number}" for number in range(100)))
        said: list[str] = []
        store._writer.run(lambda db: db.set_trace_callback(said.append))
        store.append_many({name: Append(epoch, 0, [{}]) for name, epoch in epochs.items()})
        assert [text for text in said if text == "COMMIT"] == ["COMMIT"] * 2  # that of the transaction above is one


def test_what_a_call_of_all_could_not_do_each_does_by_itself(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        epochs = claimed(store, "a", "b", "c")
        store._writer.run(lambda db: db.execute("PRAGMA max_page_count = 1"))
        appends = {name: Append(epoch, 0, [{"text": "x" * 50_000}]) for name, epoch in epochs.items()}
        appends["d"] = Append(1, 0, [{}])
        assert {name: type(error) for name, error in store.append_many(appends).items()} == {"d": Lost}
        assert [store.state(name).length for name in epochs] == [1, 1, 1]  # type: ignore[union-attr]
        store._writer.run(lambda db: db.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(StoreError, match="full"):
            store.append_many({"a": Append(1, 1, [{"text": "x" * 50_000}])})


def test_a_file_that_others_use_for_too_long_is_waited_for_once(path: Path) -> None:
    with closing(SQLiteStore(path, timeout=0.1)) as store, closing(SQLiteStore(path)) as other:
        epochs = claimed(store, *(f"log-{number}" for number in range(100)))
        appends = {name: Append(epoch, 0, [{}]) for name, epoch in epochs.items()}
        waits: list[object] = []
        run = store._writer.run

        def counted(step: Any) -> Any:
            waits.append(step)
            return run(step)

        def meanwhile(_: object) -> None:
            with pytest.raises(StoreError, match="database is locked"):
                store.append_many(appends)

        store._writer.run = counted  # type: ignore[method-assign]
        other._writer.run(meanwhile)
        assert len(waits) == 1
        assert store.append_many(appends) == {}
