"""Several processes with one file: what is written survives, happens once, and is told."""

from __future__ import annotations

import json
import random
import signal
import sys
import textwrap
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.stores import Held, SQLiteStore

from programs import line
from servers import DEADLINE, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from programs import Programs

    Begin = Callable[..., subprocess.Popen[str]]

PREFACE = """
import json, os, resource, sys, threading, time
from anthropix_actors.stores import *

store = SQLiteStore(sys.argv[1])

def say(*what):
    print(*what, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path)) as store:
        yield store


@pytest.fixture
def program(programs: Programs, path: Path) -> Begin:
    """Start a program with the store; it is ended at the end."""

    def begin(text: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-W", "error", "-c", PREFACE + textwrap.dedent(text), str(path), *arguments]
        return programs.run(command)

    return begin


def tell(running: subprocess.Popen[str], what: str) -> str:
    """Write a line to a program, and return the one that it answers."""
    assert running.stdin is not None
    running.stdin.write(what + "\n")
    running.stdin.flush()
    return line(running)


def everything(store: SQLiteStore, name: str) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while entries := store.read(name, cursor):
        found += [entry.data for entry in entries]
        cursor = entries[-1].cursor
    return found


WRITER = """
    epoch, first, size = store.claim("a"), 0, 50
    say("begun")
    while True:
        store.append("a", epoch, first, [{"n": first + i, "text": "x" * 500} for i in range(size)])
        first += size
        say(first)
"""


def appended_by(writer: subprocess.Popen[str], lines: int) -> int:
    """Kill a writer after so many lines; return how much it has said it had appended."""
    assert line(writer) == "begun"
    told = [int(line(writer)) for _ in range(lines)]
    writer.kill()
    rest = writer.communicate(timeout=DEADLINE)[0].split()
    return int(rest[-1]) if rest else told[-1]


@pytest.mark.parametrize("seed", range(4))
def test_what_a_writer_has_appended_is_there_though_it_is_killed(program: Begin, path: Path, seed: int) -> None:
    """Each append is there as a whole or not at all, in the file as the next process finds it."""
    lines = random.Random(seed).randrange(1, 30)
    appended = appended_by(program(WRITER), lines)
    with closing(SQLiteStore(path)) as store:
        numbers = [data["n"] for data in everything(store, "a")]
        assert numbers == [*range(len(numbers))]
        assert len(numbers) >= appended
        assert len(numbers) % 50 == 0
        assert store.claim("a") == 2


WRITER_OF_MANY = """
    names = [f"log-{number}" for number in range(20)]
    epochs, first, size = {name: store.claim(name) for name in names}, 0, 5
    say("begun")
    while True:
        entries = [{"n": first + i, "text": "x" * 200} for i in range(size)]
        assert store.append_many({name: Append(epochs[name], first, entries) for name in names}) == {}
        first += size
        say(first)
"""


@pytest.mark.parametrize("seed", range(3))
def test_what_was_appended_to_many_logs_is_there_though_the_writer_is_killed(
    program: Begin, path: Path, seed: int
) -> None:
    """What is in the middle is in all of them or in none, as one transaction writes it."""
    lines = random.Random(seed).randrange(1, 20)
    appended = appended_by(program(WRITER_OF_MANY), lines)
    with closing(SQLiteStore(path)) as store:
        found = [[data["n"] for data in everything(store, f"log-{number}")] for number in range(20)]
        assert found == [[*range(len(found[0]))]] * 20
        assert len(found[0]) >= appended
        assert len(found[0]) % 5 == 0


RACER = """
    store.beat(sys.argv[2], 60)
    say("ready")
    sys.stdin.readline()
    epochs = [store.claim("claimed") for _ in range(30)]
    posted = [key for key in range(30) if store.post("posted", {"n": key}, key=str(key))]
    taken = []
    while jobs := store.take("jobs", sys.argv[2], 2):
        taken += [job.id for job in jobs if store.finish("jobs", sys.argv[2], job.id)]
    say(json.dumps([epochs, posted, taken]))
"""


def test_processes_at_once_get_epochs_keys_and_jobs_of_their_own(program: Begin, store: SQLiteStore) -> None:
    for number in range(60):
        store.put("jobs", str(number), {})
    racers = [program(RACER, f"racer-{number}") for number in range(3)]
    assert [line(racer) for racer in racers] == ["ready"] * 3
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    epochs, posted, taken = zip(*(json.loads(line(racer)) for racer in racers), strict=True)
    assert sorted(chain(*epochs)) == [*range(1, 91)]
    assert sorted(chain(*posted)) == sorted(data["n"] for data in everything(store, "posted")) == [*range(30)]
    assert sorted(map(int, chain(*taken))) == [*range(60)]
    assert store.queue_state("jobs").taken == 0


READER = """
    cursor = store.read("a")[-1].cursor
    say("reads")
    say(store.read("a", cursor, wait=60)[0].data["n"])
"""
TAKER = """
    store.beat("other", 60)
    say("takes")
    say(store.take("jobs", "other", 1, wait=60)[0].id)
"""


def test_who_waits_in_another_process_is_woken(program: Begin, store: SQLiteStore) -> None:
    store.append("a", store.claim("a"), 0, [{"n": 0}])
    reader, taker = program(READER), program(TAKER)
    assert (line(reader), line(taker)) == ("reads", "takes")
    store.append("a", 1, 1, [{"n": 1}])
    assert reader.communicate(timeout=DEADLINE)[0] == "1\n"
    store.put("jobs", "b", {})
    assert taker.communicate(timeout=DEADLINE)[0] == "b\n"


HOLDER = """
    for command in map(str.strip, sys.stdin):
        try:
            if command == "claim":
                store.beat("holder", 1.5)
                epoch = store.claim("a", holder="holder")
            elif command == "append":
                store.append("a", epoch, 0, [{"n": "late"}])
            elif command == "finish":
                say(store.finish("jobs", "holder", "b"))
                continue
            elif command == "take":
                assert store.take("jobs", "holder", 1)
            say("done")
        except Exception as exc:
            say(type(exc).__name__)
"""


def test_who_is_stopped_loses_what_it_holds_and_is_fenced_when_it_wakes(program: Begin, store: SQLiteStore) -> None:
    store.put("jobs", "b", {})
    holder = program(HOLDER)
    assert tell(holder, "claim") == "done"
    assert tell(holder, "take") == "done"
    holder.send_signal(signal.SIGSTOP)
    store.beat("other", 60)
    until(lambda: claimed(store, "a", "other"))
    [job] = store.take("jobs", "other", 1, wait=DEADLINE)
    assert (job.id, job.attempt) == ("b", 2)
    store.append("a", 2, 0, [{"n": "in time"}])
    holder.send_signal(signal.SIGCONT)
    assert tell(holder, "append") == "Fenced"
    assert tell(holder, "finish") == "False"
    assert everything(store, "a") == [{"n": "in time"}]


def claimed(store: SQLiteStore, name: str, holder: str) -> bool:
    try:
        return store.claim(name, holder) > 0
    except Held:
        return False


def test_a_holder_that_lives_is_not_fenced(program: Begin, store: SQLiteStore) -> None:
    holder = program(HOLDER)
    assert tell(holder, "claim") == "done"
    with pytest.raises(Held) as caught:
        store.claim("a", "other")
    assert caught.value.holder == "holder"
    assert tell(holder, "append") == "done"


FULL = """
    epoch = store.claim("a")
    store.append("a", epoch, 0, [{"n": 0}])
    most = sum(os.path.getsize(sys.argv[1] + end) for end in ("", "-wal", "-shm")) + 100_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    first = 1
    try:
        while True:
            store.append("a", epoch, first, [{"n": first, "text": "x" * 5000}])
            first += 1
    except StoreError as exc:
        say(type(exc.__cause__).__name__)
    say(len(store.read("a")) == first)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.append("a", epoch, first, [{"n": first}])
    say(*(entry.data["n"] for entry in store.read("a")[-2:]), first)
"""


def test_where_the_disk_is_full_nothing_is_lost_and_it_works_again_when_it_is_not(program: Begin) -> None:
    full = program(FULL)
    assert line(full) == "OperationalError"
    assert line(full) == "True"
    before, last, first = map(int, line(full).split())
    assert (before, last) == (first - 1, first) != (0, 1)


FULL_FOR_ONE = """
    epochs = {name: store.claim(name) for name in "abc"}
    most = sum(os.path.getsize(sys.argv[1] + end) for end in ("", "-wal", "-shm")) + 200_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    appends = {name: Append(epoch, 0, [{"text": "x" * 100}]) for name, epoch in epochs.items()}
    appends["b"] = Append(epochs["b"], 0, [{"text": "x" * 1_000_000}])
    refused = store.append_many(appends)
    say({name: type(error).__name__ for name, error in refused.items()}, [store.state(name).length for name in "abc"])
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    say(store.append_many(appends), [store.state(name).length for name in "abc"])
"""


def test_where_the_disk_has_room_for_some_logs_these_are_written(program: Begin) -> None:
    full = program(FULL_FOR_ONE)
    assert line(full) == "{'b': 'StoreError'} [1, 0, 1]"
    assert line(full) == "{} [1, 1, 1]"


READ_ONLY = """
    epoch = store.claim("a")
    store.close()
    folder = os.path.dirname(sys.argv[1])
    os.chmod(folder, 0o555)
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o444)
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        SQLiteStore(sys.argv[1]).append("a", epoch, 0, [{}])
    except StoreError as exc:
        say(exc.__cause__)
"""


def test_what_cannot_be_written_to_is_told(program: Begin, tmp_path: Path) -> None:
    tmp_path.parent.chmod(0o755)
    tmp_path.parents[1].chmod(0o755)
    told = line(program(READ_ONLY))
    tmp_path.chmod(0o755)
    assert told in {"attempt to write a readonly database", "unable to open database file"}


FORKS = """
    import warnings
    warnings.simplefilter("ignore")  # Python warns of any fork while threads run
    done = threading.Event()

    def write(name):
        epoch, number = store.claim(name), 1
        while not done.is_set():
            store.append(name, epoch, number, [{"n": number}])
            number += 1

    def read(name):
        cursor, number = None, 0
        while not done.is_set():
            for entry in store.read(name, cursor, wait=0.01):
                assert entry.number == number
                cursor, number = entry.cursor, number + 1

    store.append("a", store.claim("a"), 0, [{"n": 0}])
    threads = [threading.Thread(target=each, args=("a",)) for each in (write, read)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(8):
        if (child := os.fork()) == 0:
            name = f"child-{number}"
            store.append(name, store.claim(name), 0, [{"n": number}])
            assert store.read("a")[0].number == 0
            locked = [each for each in open("/proc/locks") if each.split()[4] == str(os.getpid())]
            os.write(1, b"locked\\n" if locked else b"not locked\\n")  # in one piece
            store.close()
            sys.exit(3)
        children.append(child)
    ended = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    done.set()
    for thread in threads:
        thread.join()
    say(ended, len(store.names("child-")))
    store.close()
"""


def test_forks_at_any_moment_disturb_nobody_and_a_child_has_locks_of_its_own(program: Begin) -> None:
    """SQLite takes a child for one that has the locks of connections that its parent had open: there must be none."""
    forking = program(FORKS)
    out, err = forking.communicate(timeout=3 * DEADLINE)
    assert out.splitlines() == ["locked"] * 8 + ["{3} 8"], err
