"""The front door: jobs, names, deletes, metrics; a process that ends, or forks."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, Client, Hub, ParameterError
from anthropix_actors._foreign.threads import IDLE
from anthropix_actors.hub._read.crew import Crew
from anthropix_actors.hub._read.writer_check import WriterCheck
from anthropix_actors.hub._write.appender import Appender
from anthropix_actors.hub._write.open_log import Counts, OpenLog
from anthropix_actors.stores import Lost, MemoryStore, StoreError

from actors import ASK
from servers import DEADLINE, Halt, Server, answering, until, wait
from stores_for_tests import Shaky, Written, raising

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from anthropix_actors.stores import Store


# Jobs


def test_a_job_is_put_once_and_can_be_followed_at_once(
    any_store: Store, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    web, worker = hubs(any_store), hubs(any_store)
    assert web.submit(ASK, id="a", tag="night") == web.submit(ASK, id="a") == "a"
    assert any_store.queue_state("jobs").waiting == 1
    assert (web.status("a").state, web.status("a").tag) == ("queued", "night")
    followed = web.follow("a")
    with Server(answering("Hello")) as server, worker.lives():
        (job,) = any_store.take("jobs", worker.holder, 5)
        assert job.data["tag"] == "night"
        chat = connect(server).chat(**job.data["params"], stream=(writer := worker.to(job.id, tag="night")))
        assert web.submit(ASK, id="a") == "a"
        assert writer.wait(DEADLINE)
        any_store.finish("jobs", worker.holder, job.id)
        assert followed.message() == chat.result()
        assert web.submit(ASK, id="a") == "a"  # it has ended
    assert any_store.queue_state("jobs").waiting == 0
    assert web.status("a").state == "done"


def test_names_that_are_made_up_cannot_be_guessed(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    names = {hub.submit(ASK) for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) > 20 for name in names)
    assert hub.names() == sorted(names)


def test_a_job_whose_parameters_are_wrong_is_not_put(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    with pytest.raises(ParameterError, match="model"):
        hub.submit({**ASK, "model": ""}, id="a")
    assert hub.status("a").state == "unknown"
    assert hub.names() == []


def test_a_job_is_put_where_the_first_try_failed_in_the_middle(hubs: Callable[..., Hub]) -> None:
    class Half(MemoryStore):
        away = True

        def put(self, queue: str, job_id: str, data: Mapping[str, Any]) -> bool:
            if self.away:
                raise StoreError("away")
            return super().put(queue, job_id, data)

    store = Half()
    hub = hubs(store)
    with pytest.raises(StoreError):
        hub.submit(ASK, id="a")
    store.away = False
    hub.submit(ASK, id="a")
    assert store.job("jobs", "a") is not None


def test_a_job_of_a_name_that_is_written_is_none(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub, other = hubs(store), hubs(store)
    written = [hub.to("a")]
    other.submit(ASK, id="a")
    assert store.job("jobs", "a") is None

    def begin() -> None:
        store.faults.clear()
        written.append(hub.to("b"))

    store.faults["claim"] = begin  # between the look and the claim
    other.submit(ASK, id="b")
    assert store.job("jobs", "b") is None


def test_a_job_is_cancelled_while_it_waits(any_store: Store, hubs: Callable[..., Hub]) -> None:
    hub = hubs(any_store)
    hub.submit(ASK, id="a", tag="night")
    assert hub.cancel("a", "enough")
    assert hub.store.job("jobs", "a") is None
    assert hub.status("a").state == "cancelled"
    with pytest.raises(CancelledError, match="enough"):
        hub.result("a", timeout=DEADLINE)
    assert not hub.cancel("a")


def test_a_ctrl_c_in_a_cancel_leaves_no_job_without_an_end(hubs: Callable[..., Hub]) -> None:
    store, raised = Shaky(), threading.Event()
    hub, me = hubs(store), threading.get_ident()

    def interrupt() -> None:
        signal.pthread_kill(me, signal.SIGINT)
        wait(raised)

    store.faults["removed"] = interrupt
    hub.submit(ASK, id="a")
    with pytest.raises(KeyboardInterrupt):
        hub.cancel("a", "enough")
    raised.set()
    with pytest.raises(CancelledError, match="enough"):
        hub.result("a", timeout=DEADLINE)


def test_a_cancel_whose_store_fails_says_so(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store)
    hub.submit(ASK, id="a")
    store.faults["removed"] = raising(StoreError("away"))
    with pytest.raises(StoreError, match="away"):
        hub.cancel("a")


def test_a_job_that_was_taken_is_cancelled_where_it_runs(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = MemoryStore()
    web, worker = hubs(store), hubs(store)
    web.submit(ASK, id="a")
    with Server(Halt()) as server, worker.lives():
        (job,) = store.take("jobs", worker.holder, 1)
        assert web.cancel("a", "enough")
        connect(server).chat(**job.data["params"], stream=worker.to("a"))
        with pytest.raises(CancelledError, match="enough"):
            web.result("a", timeout=DEADLINE)


def test_a_job_that_begins_as_it_is_cancelled_goes_on(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    web, worker = hubs(store), hubs(store)
    web.submit(ASK, id="a")
    written = []

    def begin() -> None:
        store.faults.clear()
        written.append(worker.to("a"))

    store.faults["claim"] = begin
    assert web.cancel("a")
    assert web.status("a").holder == worker.holder
    assert written[0].outcome is None


def test_another_queue(hubs: Callable[..., Hub]) -> None:
    hub = hubs(queue="night")
    hub.submit(ASK, id="a")
    assert hub.store.queue_state("night").waiting == 1
    assert hub.store.queue_state("jobs").waiting == 0


# All chats


def test_the_names_are_those_of_chats(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    written = hub.to("b-2"), hub.to("b-1"), hub.to("c")
    assert hub.names() == ["b-1", "b-2", "c"]
    assert hub.names("b-") == ["b-1", "b-2"]
    assert len(written) == 3


def test_a_deleted_chat_is_unknown(hubs: Callable[..., Hub]) -> None:
    hub = hubs()
    hub.submit(ASK, id="a")
    Written(hub.store, "b").end()
    hub.delete("a")
    hub.delete("b")
    hub.delete("b")
    assert (hub.status("a").state, hub.status("b").state) == ("unknown", "unknown")
    assert hub.store.names() == []
    assert hub.store.job("jobs", "a") is None


def test_a_status_of_what_is_deleted_just_then(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    Written(store)
    store.faults["read"] = lambda: store.delete("a")
    status = hubs(store).status("a")
    assert status.entries == 0


def test_a_store_that_is_away_is_an_error_of_each_call(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    hub = hubs(store)
    for method in ("state", "read", "beat"):
        store.faults[method] = raising(StoreError("away"))
    calls: list[Callable[[], object]] = [
        lambda: hub.to("a"),
        lambda: hub.follow("a"),
        lambda: hub.cancel("a"),
        lambda: hub.status("a"),
        lambda: hub.submit(ASK),
        lambda: hub.result("a"),
    ]
    for call in calls:
        with pytest.raises(StoreError):
            call()
    store.faults.clear()


def test_threads_that_are_idle_end_when_the_hub_is_closed() -> None:
    crew, done = Crew(), threading.Event()
    crew.run(done.set)
    wait(done)
    until(lambda: crew._idle)
    crew.close()
    crew.run(crew.close)  # one that is started all the same ends with what it does
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "anthropix-reader"])


def test_a_thread_that_is_about_to_leave_takes_the_action_that_was_meant_for_it() -> None:
    class Late:
        """Has an action just after a wait for one ended, as its sender had found an idle thread before."""

        def __init__(self) -> None:
            self.waits = 0

        def get(self, **_: object) -> Any:
            self.waits += 1
            if self.waits == 1:
                crew._idle -= 1
                raise queue.Empty
            return print

    crew = Crew()
    crew._actions = late = Late()  # type: ignore[assignment]
    assert crew._next() is print
    assert late.waits == 2


def test_a_log_that_is_being_claimed_as_the_process_forks_is_the_parents(hubs: Callable[..., Hub]) -> None:
    writing = hubs()._writing
    writing._open["a"] = None
    writing.after_fork()
    assert writing.open == []


def test_a_log_that_is_not_there_any_more_is_lost() -> None:
    lost = WriterCheck(MemoryStore(), "jobs", "a").look()
    assert isinstance(lost, Lost)
    assert "was deleted, or has expired" in str(lost)


def test_the_thread_that_writes_stays_while_a_chat_is_written(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    """From Python 3.12 on, none can be started when a chat is cancelled as the interpreter exits."""
    hub = hubs()
    with Server(Halt()) as server:
        chat = connect(server).chat(**ASK, stream=(writer := hub.to("a")))
        until(lambda: hub.status("a").state == "running")
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "anthropix-appender"]
        thread.join(2 * IDLE)
        assert thread.is_alive()
        chat.cancel("enough")
        assert writer.wait(DEADLINE)
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_what_becomes_due_as_the_thread_ends_is_written() -> None:
    store, counts = MemoryStore(), Counts()
    appender = Appender(store, counts, 1.0)
    epoch = store.claim("a")
    opened = OpenLog(store, appender, counts, "a", holder="h", epoch=epoch, first=0, begin={"kind": "begin"}, ttl=60)
    opened.is_due = True
    appender._due.put(opened)
    appender._thread = threading.current_thread()
    appender._leave()
    assert appender._thread is threading.current_thread()
    appender._start()  # another thread has seen that there was none
    assert appender._thread is threading.current_thread()
    assert appender._all_due() == [opened]


# Processes

WITH_A_STORE = """
from anthropix_actors import Hub
from anthropix_actors.stores import MemoryStore, SQLiteStore
import atexit
store = MemoryStore()
hub = Hub(store)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def kinds(name):
    return [entry.data["kind"] for entry in store.read(name)]
"""


def said(program: subprocess.Popen[str]) -> list[str]:
    out, _ = program.communicate(timeout=3 * DEADLINE)
    assert program.returncode == 0
    return out.splitlines()


def test_at_the_end_of_the_process_the_ends_are_written(begin: Callable[..., subprocess.Popen[str]]) -> None:
    with Server(Halt()) as server:
        program = begin(
            server.url,
            WITH_A_STORE
            + """
import anthropix_actors._cancel.exit_and_fork as exits
slow = store.append_many
def append_many(appends):
    threading.Event().wait(0.1)
    return slow(appends)
store.append_many = append_many
end = exits.end
chat = client.chat(**ask(), stream=hub.to("a"))
while not store.state("a").length:
    pass
atexit.unregister(exits.end)
atexit.register(lambda: (end(exits.SWEEPER), say(*kinds("a"))))
""",
        )
        assert said(program) == ["begin cancelled"]


def test_a_forked_child_leaves_what_the_parent_writes_and_follows_alone(
    begin: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with Server(answering("Hello")) as server:
        program = begin(
            server.url,
            WITH_A_STORE.replace(
                "MemoryStore()", "SQLiteStore(sys.argv[2])"
            )  # a lock in memory may be held by a thread
            + """
import gc, warnings
warnings.simplefilter("ignore")
writer, holder = hub.to("a"), hub.holder
followed = hub.follow("a")
loop = threading.Thread(target=lambda: [message for message in followed])
loop.start()
while hub.metrics().reading < 2:
    pass
if (pid := os.fork()) == 0:
    assert hub.holder != holder and hub.metrics().writing == 0 and hub.metrics().reading == 0
    assert writer.outcome == "gone"
    del writer
    gc.collect()
    client.chat(**ask(), stream=hub.to("b")).result(timeout=10)
    say("child", hub.result("b", timeout=10)["content"][0]["text"], store.state("a").epoch)
    hub.close()
    sys.exit(0)
os.waitpid(pid, 0)
chat = client.chat(**ask(), stream=writer)
say("parent", hub.result("a", timeout=10)["content"][0]["text"], store.state("a").epoch)
loop.join(10)
""",
            str(tmp_path / "chats.db"),
        )
        assert said(program) == ["child Hello 1", "parent Hello 1"]


def test_a_process_that_gets_no_thread_tells_in_the_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ran: list[int] = []
    Crew().run(lambda: ran.append(threading.get_ident()))
    assert ran == [threading.get_ident()]


def test_a_hub_starts_no_thread_before_it_is_used() -> None:
    before = set(threading.enumerate())
    hub = Hub(MemoryStore())
    hub.submit(ASK, id="a")
    assert hub.status("a").state == "queued"
    assert set(threading.enumerate()) == before
    hub.close()


def test_its_threads_end_when_they_are_not_needed(connect: Callable[..., Client], hubs: Callable[..., Hub]) -> None:
    hub = hubs(lease=0.3)
    with Server(answering("Hello")) as server:
        connect(server).chat(**ASK, stream=hub.to("a"))
        assert hub.result("a", timeout=DEADLINE)
    ours = {f"anthropix-{what}" for what in ("appender", "beat", "follower", "reader")}
    until(lambda: not ours & {thread.name for thread in threading.enumerate()})


UNUSED = """
from anthropix_actors import Hub
from anthropix_actors.stores import MemoryStore

writer = Hub(MemoryStore()).to("a")
"""


def test_a_program_ends_though_a_log_was_never_written() -> None:
    subprocess.run([sys.executable, "-c", UNUSED], timeout=DEADLINE, check=True)


def test_an_inbox_that_failed_when_its_chat_had_just_ended_is_read_no_more(hubs: Callable[..., Hub]) -> None:
    hub = hubs(MemoryStore())
    writer = hub.to("a")
    ((inbox,),) = hub._follower._readings.values()
    writer.give_away()
    until(lambda: writer.outcome is not None and hub._follower.count == 0)
    inbox.fail(StoreError("late"))
    assert hub._follower.count == 0


def test_an_inbox_that_cannot_be_made_again_rests_and_is_read_again(hubs: Callable[..., Hub]) -> None:
    class Away(MemoryStore):
        away = False

        def post(self, *args: Any, **more: Any) -> Any:
            if self.away:
                raise StoreError("away")
            return super().post(*args, **more)

    hub = hubs(store := Away())
    writer = hub.to("a")
    ((inbox,),) = hub._follower._readings.values()
    store.away = True
    inbox.fail(Lost("a"))
    assert not inbox.wants_more()
    assert hub._follower.count == 1
    store.away = False
    writer.give_away()
