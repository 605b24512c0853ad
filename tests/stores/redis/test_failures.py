"""What goes wrong with connections and servers: nothing is lost silently, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.stores import Lost, StoreError
from anthropix_actors.stores.redis import RedisStore

from redis_servers import Cutter, RedisServer, blocked, started
from servers import DEADLINE, Server, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def own(redis: RedisServer) -> Iterator[RedisStore]:
    """A store in a server of this test."""
    store = redis.store(patience=DEADLINE)
    yield store
    store.close()


def filled(store: RedisStore, name: str = "a", count: int = 3) -> int:
    epoch = store.claim(name)
    store.append(name, epoch, 0, [{"n": number} for number in range(count)])
    return epoch


def read(store: RedisStore, name: str = "a") -> list[int]:
    return [entry.data["n"] for entry in store.read(name)]


def raised(call: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    return str(caught.value)


# Replies that do not arrive


def test_jobs_of_which_their_holder_heard_nothing_are_those_of_its_next_call(redis: RedisServer) -> None:
    """Nobody else gets them as long as it lives."""
    with Cutter(redis) as cutter:
        store, other = redis.store(cutter.url, patience=0), redis.store()
        store.beat("me", DEADLINE)
        assert store.take("q", "me", 2) == []  # now Redis has the script
        for job_id in "ab":
            other.put("q", job_id, {})
        cutter.armed.set()
        raised(lambda: store.take("q", "me", 2))
        assert other.queue_state("q").taken == 2
        assert [(job.id, job.attempt) for job in store.take("q", "me", 1)] == [("a", 1)]
        assert [(job.id, job.attempt) for job in store.take("q", "me", 1)] == [("b", 1)]
        store.close()
        other.close()


def test_a_job_that_another_has_taken_meanwhile_is_not_had_twice(redis: RedisServer) -> None:
    with Cutter(redis) as cutter:
        store, other = redis.store(cutter.url, patience=0), redis.store()
        store.beat("me", DEADLINE)
        other.beat("you", DEADLINE)
        assert store.take("q", "me", 2) == []
        other.put("q", "a", {})
        cutter.armed.set()
        raised(lambda: store.take("q", "me", 1))
        other.beat("me", 0)
        assert [job.id for job in other.take("q", "you", 1)] == ["a"]
        other.finish("q", "you", "a")
        assert store.take("q", "me", 1) == []
        store.close()
        other.close()


def test_what_was_done_before_its_reply_was_lost_is_not_done_again(redis: RedisServer) -> None:
    with Cutter(redis) as cutter:
        store = redis.store(cutter.url, patience=DEADLINE)
        cut = cutter.armed.set
        cut()
        epoch = store.claim("a")
        assert epoch == 1
        for number in range(100):
            cut()
            store.append("a", epoch, number, [{"n": number}])
        assert read(store) == [*range(100)]
        for number in range(20):
            cut()
            assert store.post("p", {"n": number}, key=str(number))
        assert read(store, "p") == [*range(20)]
        cut()
        store.beat("one", 60)
        for number in range(20):
            cut()
            assert store.put("q", str(number), {"n": number})
        for number in range(20):
            cut()
            [job] = store.take("q", "one", 1)
            assert (job.id, job.attempt) == (str(number), 1)
            cut()
            assert store.give_back("q", "one", job.id)
            assert [each.id for each in store.take("q", "one", 1)] == [job.id]
            cut()
            assert store.finish("q", "one", job.id)
        store.put("q", "x", {})
        cut()
        assert store.remove("q", "x")
        cut()
        store.append("a", epoch, 100, [], close=True)
        assert store.state("a").closed  # type: ignore[union-attr]
        cut()
        store.delete("a")
        assert cutter.cuts == 205
        store.close()


def test_who_never_had_the_reply_gets_the_jobs_when_it_takes_again(redis: RedisServer) -> None:
    with Cutter(redis) as cutter:
        store, other = redis.store(cutter.url, patience=0), redis.store()
        store.beat("one", 60)
        assert store.take("q", "one", 3) == []  # so that the server has the script
        for name in "abc":
            store.put("q", name, {})
        cutter.armed.set()
        with pytest.raises(StoreError):
            store.take("q", "one", 3)
        assert other.queue_state("q").taken == 3
        other.beat("one", 0)
        other.beat("two", 60)
        [job] = other.take("q", "two", 1)
        assert other.finish("q", "two", job.id)
        store.beat("one", 60)
        assert [(job.id, job.attempt) for job in store.take("q", "one", 3)] == [("b", 1), ("c", 1)]
        assert store.take("q", "one", 3) == []
        for each in (store, other):
            each.close()


def test_connections_that_are_dead_but_open_cost_one_timeout(redis: RedisServer) -> None:
    with Cutter(redis) as cutter:
        store = redis.store(cutter.url, timeout=1.0, patience=0)
        filled(store, count=1)

        def follow() -> list[tuple[threading.Thread, list[Any]]]:
            cursor = store.read("a")[-1].cursor
            readers = [started(lambda: store.read("a", cursor, wait=DEADLINE)) for _ in range(5)]
            until(lambda: blocked(redis) == 5)
            return readers

        for number in (1, 2):
            readers = follow()
            store.append("a", 1, number, [{"n": number}])
            for reader, found in readers:
                reader.join(DEADLINE)
                assert [entry.data["n"] for entry in found[0]] == [number]
            cutter.dead = cutter.server.connections
            with pytest.raises(StoreError, match="Timeout reading"):
                store.state("a")
        store.close()


def test_who_has_waited_for_a_dead_connection_tries_another_one_though_its_patience_is_short(
    redis: RedisServer,
) -> None:
    with Cutter(redis) as cutter:
        store = redis.store(cutter.url, timeout=0.5, patience=0.05)
        filled(store, count=1)
        cutter.dead = cutter.server.connections
        assert read(store) == [0]
        store.close()


def given(tokens: Iterator[str]) -> Callable[[int], str]:
    """Return what gives tokens in a given order."""
    return lambda _: next(tokens)


def test_a_take_that_a_server_does_after_it_was_repeated_takes_nothing(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = given(iter(["first", "of the job", "first"]))
    with Cutter(redis) as cutter:
        store, late = redis.store(cutter.url, patience=0), redis.store()
        store.beat("one", 60)
        assert store.take("q", "one", 1) == []  # so that the server has the script
        monkeypatch.setattr("anthropix_actors.stores.redis.queues.secrets", SimpleNamespace(token_hex=tokens))
        cutter.armed.set()
        with pytest.raises(StoreError):
            store.take("q", "one", 1)
        assert store.take("q", "one", 1) == []
        late.put("q", "a", {})
        assert late.take("q", "one", 1) == []  # what was on its way, and is done late
        assert late.queue_state("q").waiting == 1
        for each in (store, late):
            each.close()


def test_a_wait_on_a_connection_that_is_dead_but_open_ends(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.stores.redis.connections._GRACE", 0.05)
    with Cutter(redis) as cutter:
        store, other = redis.store(cutter.url, patience=DEADLINE), redis.store()
        store.beat("one", 60)
        taker, found = started(lambda: store.take("q", "one", 1, wait=0.5))
        until(lambda: blocked(redis))
        cutter.dead = cutter.server.connections
        other.put("q", "a", {})
        taker.join(DEADLINE)
        assert [job.id for job in found[0]] == ["a"]
        for each in (store, other):
            each.close()


def test_a_reader_whose_connection_is_cut_reads_on(redis: RedisServer) -> None:
    with Cutter(redis) as cutter:
        store, writer = redis.store(cutter.url, patience=DEADLINE), redis.store()
        epoch = filled(writer, count=0)
        seen: list[int] = []

        def follow() -> None:
            cursor = None
            while len(seen) < 100:
                entries = store.read("a", cursor, wait=DEADLINE)
                seen.extend(entry.data["n"] for entry in entries)
                cursor = entries[-1].cursor if entries else cursor

        reader, _ = started(follow)
        for number in range(100):
            cutter.armed.set()
            writer.append("a", epoch, number, [{"n": number}])
            until(partial(seen.__contains__, number))
        reader.join(DEADLINE)
        assert seen == [*range(100)]
        assert cutter.cuts >= 50
        store.close()
        writer.close()


def test_a_server_that_cannot_be_reached_is_a_store_error_after_some_patience(redis: RedisServer) -> None:
    store = redis.store(patience=0.1)
    filled(store)
    redis.kill()
    calls: list[Callable[[], object]] = [
        lambda: store.state("a"),
        lambda: store.read("a", wait=DEADLINE),
        lambda: store.take("q", "one", 1, wait=DEADLINE),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"Redis: Error \d+ connecting"):
            call()
    redis.start()
    assert store.state("a") is None
    store.close()


def test_close_ends_the_patience(own: RedisStore, redis: RedisServer) -> None:
    filled(own)
    redis.kill()
    thread, found = started(lambda: own.read("a"))
    own.close()
    thread.join(DEADLINE)
    assert "the store is closed" in str(found[0]) or "connecting to" in str(found[0])


def test_a_server_that_says_nothing_is_a_store_error() -> None:
    released = threading.Event()
    with Server(lambda _: released.wait(DEADLINE)) as server:
        with pytest.raises(StoreError, match="Timeout reading from"):
            RedisStore.from_url(f"redis://127.0.0.1:{server.port}", timeout=0.05, patience=0)
        released.set()


def test_a_server_that_stands_still_for_a_second_loses_nothing(own: RedisStore, redis: RedisServer) -> None:
    epoch = filled(own)
    assert redis.process is not None
    cursor = own.read("a")[-1].cursor
    reader, found = started(lambda: own.read("a", cursor, wait=DEADLINE))
    until(lambda: blocked(redis))
    redis.process.send_signal(signal.SIGSTOP)
    writer, _ = started(lambda: own.append("a", epoch, 3, [{"n": 3}]))
    time.sleep(1.0)  # what is tested is that time passes
    redis.process.send_signal(signal.SIGCONT)
    for thread in (reader, writer):
        thread.join(DEADLINE)
    assert [entry.data["n"] for entry in found[0]] == [3]


def test_a_server_that_stands_still_while_readers_wait_is_told_of(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropix_actors.stores.redis.connections._GRACE", 0.05)
    store = redis.store(timeout=0.1, patience=0)
    filled(store, count=0)
    reader, found = started(lambda: store.read("a", wait=1.0))
    until(lambda: blocked(redis))
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)
    reader.join(DEADLINE)
    redis.process.send_signal(signal.SIGCONT)
    assert "Timeout reading" in str(found[0])
    store.close()


# Servers that come back


def test_with_aof_a_restart_loses_nothing() -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as redis:
        store = redis.store(patience=DEADLINE)
        epoch = filled(store)
        store.put("q", "a", {})
        store.beat("one", 60)
        cursor = store.read("a")[-1].cursor
        reader, found = started(lambda: store.read("a", cursor, wait=DEADLINE))
        until(lambda: blocked(redis))
        redis.restart()
        store.append("a", epoch, 3, [{"n": 3}])
        reader.join(DEADLINE)
        assert [entry.data["n"] for entry in found[0]] == [3]
        assert read(store) == [0, 1, 2, 3]
        assert [job.id for job in store.take("q", "one", 1)] == ["a"]
        store.close()


def test_without_it_all_that_was_there_is_lost_and_said_to_be(own: RedisStore, redis: RedisServer) -> None:
    epoch = filled(own)
    filled(own, "b")
    cursor, other = own.read("a")[-1].cursor, own.read("b")[-1].cursor
    assert own.read("b", other) == []
    waiting, found = started(lambda: own.read("a", cursor, wait=DEADLINE))
    many, both = started(lambda: own.read_many({"a": cursor}, wait=DEADLINE))
    until(lambda: blocked(redis) == 2)
    redis.restart()
    for thread in (waiting, many):
        thread.join(DEADLINE)
    assert isinstance(found[0], Lost)
    assert isinstance(both[0]["a"], Lost)
    later, last = started(lambda: own.read("b", other, wait=3 * DEADLINE))
    later.join(DEADLINE)
    assert isinstance(last[0], Lost)
    with pytest.raises(Lost):
        own.append("a", epoch, 3, [{"n": 3}])


def test_a_log_made_anew_in_an_empty_server_is_not_taken_for_the_old_one(own: RedisStore, redis: RedisServer) -> None:
    epoch = filled(own)
    cursor = own.read("a")[-1].cursor
    redis.restart()
    other = redis.store()
    assert filled(other, count=9) == epoch
    with pytest.raises(Lost, match="made anew"):
        own.read("a", cursor)
    with pytest.raises(Lost, match="another one of this name"):
        own.append("a", epoch, 3, [{"n": 3}])
    own.append("a", own.claim("a"), 9, [{"n": 9}])
    assert read(other) == [*range(10)]
    other.close()


def test_a_log_that_lacks_its_last_entries_is_lost_for_who_has_read_them(own: RedisStore, redis: RedisServer) -> None:
    """As after a loss of power with `appendfsync everysec`, and with another writer since."""
    filled(own)
    cursor = own.read("a")[-1].cursor
    keys = own._keys.log("a")
    redis.run("XDEL", keys.stream, "3-1")
    redis.run("HSET", keys.meta, "length", 2)
    with pytest.raises(Lost, match="has lost entries"):
        own.read("a", cursor)
    own.append("a", own.claim("a"), 2, [{"n": 7}])
    with pytest.raises(Lost, match="has lost entries"):
        own.read("a", cursor)


def test_a_server_that_loads_is_waited_for() -> None:
    with RedisServer("--appendonly", "yes", "--aof-use-rdb-preamble", "no") as redis:
        store, hasty = redis.store(patience=DEADLINE), redis.store(patience=0)
        filled(store, count=6000)  # it answers after each 1,024 of them
        redis.settings += ("--key-load-delay", "300")
        redis.kill()
        redis.start(wait=False)
        until(lambda: "it reads its files yet" in raised(lambda: hasty.state("a")))
        assert len(read(store)) == 1000
        store.close()
        hasty.close()


# Servers that refuse


def test_a_full_server_refuses_and_what_was_there_stays(redis: RedisServer) -> None:
    store = redis.store(patience=0)
    epoch = filled(store)
    redis.run("CONFIG", "SET", "maxmemory", "1")
    calls: list[Callable[[], object]] = [
        lambda: store.append("a", epoch, 3, [{"n": 3}, {"n": 4}]),
        lambda: store.claim("b"),
        lambda: store.put("q", "a", {}),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="its memory is full: raise maxmemory"):
            call()
    assert read(store) == [0, 1, 2]
    store.delete("a")
    assert store.state("a") is None
    redis.run("CONFIG", "SET", "maxmemory", "0")
    filled(store)
    assert read(store) == [0, 1, 2]
    store.close()


def test_a_server_that_may_evict_is_told_of_or_refused(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    redis.store().close()
    assert not caplog.records
    redis.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    redis.store().close()
    assert "its maxmemory-policy is allkeys-lru: set noeviction" in caplog.text
    with pytest.raises(StoreError, match="allkeys-lru"):
        redis.store(eviction="refuse")


def test_what_is_evicted_is_lost_and_said_to_be(redis: RedisServer) -> None:
    redis.run("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    store = redis.store()
    names = [f"log-{number}" for number in range(300)]
    cursors: dict[str, str] = {}
    for name in names:
        store.append(name, store.claim(name), 0, [{"text": "x" * 3000}])
        cursors[name] = store.read(name)[-1].cursor
    used = int(redis.run("INFO", "memory")["used_memory"])
    redis.run("CONFIG", "SET", "maxmemory", str(used - 300_000))
    until(lambda: int(redis.run("INFO", "stats")["evicted_keys"]) > 20)
    redis.run("CONFIG", "SET", "maxmemory", "0")
    lost = {name for name, found in store.read_many(cursors).items() if isinstance(found, Lost)}
    assert lost
    for name in names:
        if name in lost:
            with pytest.raises(Lost):
                store.read(name)
        else:
            assert len(store.read(name)) == 1
    store.close()


def test_a_disk_that_is_full_is_told_of() -> None:
    with RedisServer("--dbfilename", "there", "--save", "3600", "1") as redis:
        store = redis.store(patience=0)
        epoch = filled(store)
        (redis.folder / "there").mkdir()  # nothing can be written in its place
        redis.run("BGSAVE")
        until(lambda: redis.run("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(StoreError, match="it cannot write to its disk"):
            store.append("a", epoch, 3, [{"n": 3}])
        assert read(store) == [0, 1, 2]
        store.close()


def test_a_replica_is_told_of(redis: RedisServer) -> None:
    store = redis.store(patience=0)
    epoch = filled(store)
    redis.run("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreError, match="it is a replica: connect to the primary"):
        store.append("a", epoch, 3, [{"n": 3}])
    store.close()


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "it is a replica"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "too few replicas follow it",
        ),
        (("EVAL", "while true do end", "0"), ("SCRIPT", "KILL"), "a script of another program holds it up"),
    ],
)
def test_what_passes_by_itself_is_waited_for(
    own: RedisStore, redis: RedisServer, begin: tuple[str, ...], end: tuple[str, ...], says: str
) -> None:
    """A replica that is promoted, replicas that come back, a script that ends."""
    hasty = redis.store(patience=0)
    epoch = filled(own)
    redis.run("CONFIG", "SET", "lua-time-limit", "1")

    def refusal() -> str:
        try:
            hasty.expire("a", 60)
        except StoreError as exc:
            return str(exc)
        return ""

    beginner, _ = started(lambda: redis.run(*begin))
    until(lambda: says in refusal())
    writer, found = started(lambda: own.append("a", epoch, 3, [{"n": 3}]))
    until(writer.is_alive)
    redis.run(*end)
    for thread in (beginner, writer):
        thread.join(DEADLINE)
    assert found == [None]
    assert read(own) == [0, 1, 2, 3]
    hasty.close()


def test_a_primary_that_becomes_a_replica_lets_its_readers_look_again(redis: RedisServer) -> None:
    store = redis.store(patience=DEADLINE)
    filled(store, count=0)
    reader, found = started(lambda: store.read("a", wait=0.5))
    until(lambda: blocked(redis))
    redis.run("REPLICAOF", "127.0.0.1", "1")
    reader.join(DEADLINE)
    assert found == [[]]
    store.close()


def test_a_server_that_has_forgotten_the_scripts_gets_them_again(own: RedisStore, redis: RedisServer) -> None:
    epoch = filled(own)
    redis.run("SCRIPT", "FLUSH")
    own.append("a", epoch, 3, [{"n": 3}])
    assert read(own) == [0, 1, 2, 3]


def test_what_is_no_redis_is_told_of() -> None:
    with Server(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(StoreError, match="Redis: "):
            RedisStore.from_url(f"redis://127.0.0.1:{server.port}", patience=0)


def test_an_old_redis_is_told_of() -> None:
    info = b"redis_version:5.0.14\r\nmaxmemory_policy:noeviction\r\n"

    def serve(peer: Any) -> None:
        while data := peer.sock.recv(65536):
            for _ in range(data.count(b"CLIENT")):
                peer.send(b"+OK\r\n")
            if b"INFO\r\n" in data.replace(b"SETINFO\r\n", b""):
                peer.send(b"$%d\r\n%s\r\n" % (len(info), info))

    with Server(serve) as server:
        with pytest.raises(StoreError, match=r"it is 5.0.14: 6.2 or Valkey is needed"):
            RedisStore.from_url(f"redis://127.0.0.1:{server.port}", patience=0)


def test_what_a_reader_may_not_do_is_told_of(redis: RedisServer) -> None:
    redis.run("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-xread")
    store = redis.store(f"redis://blind:secret@127.0.0.1:{redis.port}", patience=DEADLINE)
    filled(store, count=0)
    with pytest.raises(StoreError, match="this user may not do that"):
        store.read("a", wait=DEADLINE)
    store.close()


# Processes


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(own: RedisStore, redis: RedisServer) -> None:
    """Even if a thread of its parent waits at that moment."""
    epoch = filled(own)
    cursor = own.read("a")[-1].cursor
    reader, found = started(lambda: own.read("a", cursor, wait=DEADLINE))
    until(lambda: blocked(redis))
    child = os.fork()
    if not child:
        signal.alarm(int(DEADLINE))
        try:
            seen = read(own) == [0, 1, 2]
            own.append("child", own.claim("child"), 0, [{"n": 1}])
            own.close()
            os._exit(0 if seen else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    own.append("a", epoch, 3, [{"n": 3}])
    reader.join(DEADLINE)
    assert [entry.data["n"] for entry in found[0]] == [3]
    assert read(own, "child") == [1]
    assert redis.run("INFO", "commandstats")["cmdstat_xread"]["calls"] == 1  # the child's close woke nobody here
