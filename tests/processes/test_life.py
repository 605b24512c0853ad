"""Ctrl-C ends a program and its chats, whatever they are doing.

Each program is a process of its own. What `Halt` says it has reached, and lines on the program's output, tell when.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import APITimeoutError
from anthropix_actors.emulator import Emulator

from actors import ASK, Inbox, until_at_rest
from programs import BEGUN, EVENTS, PREFACE, ends, interrupted, line
from servers import (
    DEADLINE,
    Halt,
    Peer,
    Server,
    acquire,
    answering,
    chunk,
    chunks,
    error_body,
    head,
    json_answer,
    sse,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from anthropix_actors import Client

OVERLOADED = json_answer("529 Overloaded", error_body("overloaded_error"), {"retry-after": "30"})


WAYS = (
    "for event in client.chat(**ask(), stream=True): pass",
    "client.chat(**ask())",
    "client.chat(**ask(), stream=Ledger()).result()",
)

MOMENTS: dict[str, tuple[bytes, ...]] = {
    "before the headers": (),
    "inside the headers": (head()[:40],),
    "before the first event": (head(),),
    "between two events": (head(), chunks(EVENTS[:4])),
    "inside an event": (head(), chunks(EVENTS[:4]), chunk(sse(EVENTS[4])[:30])),
    "in the wait for a retry": (OVERLOADED,),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_every_way_to_wait_for_an_answer(begin: Callable[..., subprocess.Popen[str]], moment: str) -> None:
    halt = Halt(*MOMENTS[moment])
    with Server(halt) as server:
        running = [begin(server.url, way) for way in WAYS]
        for _ in running:
            acquire(halt.reached)
        for each in running:
            assert interrupted(each) == ""
        for _ in running:
            acquire(server.hung_up)


@pytest.mark.parametrize("seed", range(4))
def test_ctrl_c_after_any_byte_of_an_answer(begin: Callable[..., subprocess.Popen[str]], seed: int) -> None:
    dice = random.Random(seed)
    whole = head() + chunks(EVENTS)
    halt = Halt(whole[: dice.randrange(len(whole) - len(chunks(EVENTS[-1:])))])
    with Server(halt) as server:
        running = begin(server.url, dice.choice(WAYS))
        acquire(halt.reached)
        interrupted(running)
        acquire(server.hung_up)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system does not say who connects")
def test_ctrl_c_while_it_connects(begin: Callable[..., subprocess.Popen[str]], full_backlog: int) -> None:
    def connecting() -> int:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
        return sum(row[2].endswith(f":{full_backlog:04X}") and row[3] == "02" for row in rows)

    before = connecting()
    running = [begin(f"http://127.0.0.1:{full_backlog}", way) for way in (*WAYS, "list(client.models.list())")]
    until(lambda: connecting() == before + len(running))
    for each in running:
        interrupted(each)


def test_ctrl_c_while_it_waits_to_connect_again(begin: Callable[..., subprocess.Popen[str]]) -> None:
    with Server(answering("gone")) as server:
        url = server.url  # where soon nobody listens
    retries = 'client = Client("k", base_url=url, proxy="", max_retries=20)\n'
    running = begin(url, retries + "client.chat(**ask(), stream=Teller.start()).result()")
    while line(running) != "Hi ChatRetrying":
        pass
    interrupted(running)


def test_ctrl_c_while_it_waits_for_its_turn(begin: Callable[..., subprocess.Popen[str]]) -> None:
    halt = Halt(*BEGUN)
    with Server(halt) as server:
        running = begin(
            server.url,
            """
            client = Client("k", base_url=url, proxy="", max_concurrency=1)
            client.chat(**ask("first"), stream=Teller.start())
            waits = client.chat(**ask("second"), stream=Teller.start())
            os.write(1, b"both\\n")
            waits.result()
            """,
        )
        while line(running) != "both":
            pass
        acquire(halt.reached)
        out = interrupted(running)
        acquire(server.hung_up)
    assert sorted(told for told in out.splitlines() if "Cancelled" in told) == [
        "first ChatCancelled",
        "second ChatCancelled",
    ]


CALLS = {
    "a list": "list(client.models.list())",
    "the results of a batch": 'list(client.batches.results("msgbatch_1", stream=True))',
    "the counting of tokens": 'client.count_tokens(model="m", messages=ask()["messages"])',
}


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_calls_that_block(begin: Callable[..., subprocess.Popen[str]], call: str) -> None:
    reached = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"batches/msgbatch_1 " in peer.head:
                results = f"http://{peer.header('host')}/v1/messages/batches/msgbatch_1/results"
                batch = {"id": "msgbatch_1", "processing_status": "ended", "request_counts": {}, "results_url": results}
                peer.send(json_answer("200 OK", batch))
            else:
                peer.send(head(framing="1000", content_type="application/json"), b'{"half": "of it')
                reached.release()

    with Server(script) as server:
        running = begin(server.url, CALLS[call])
        acquire(reached)
        interrupted(running)
        acquire(server.hung_up)


def test_ctrl_c_leaves_nothing_of_half_a_download(begin: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    halt = Halt(head(framing="1000000", content_type="application/octet-stream"), b"x" * 100_000)
    with Server(halt) as server:
        running = begin(server.url, 'client.files.download("file_1", sys.argv[2])', str(tmp_path / "download"))
        until(lambda: any(path.stat().st_size for path in tmp_path.iterdir()))
        interrupted(running)
        acquire(server.hung_up)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_it_waits_for_a_batch_or_a_session(begin: Callable[..., subprocess.Popen[str]]) -> None:
    requests = '[{"custom_id": "one", "params": {"model": "m", "max_tokens": 9, "messages": ask()["messages"]}}]'
    with Emulator(batch_seconds=1000) as emulator:
        emulator.session("sesn_1")
        running = [
            begin(emulator.url, f"client.batches.run({requests}, Ledger()).result()"),
            begin(emulator.url, 'for event in client.sessions.events("sesn_1"): pass'),
        ]
        until(lambda: {("GET", "batches"), ("GET", "stream")} <= {seen(request) for request in emulator.requests})
        for each in running:
            interrupted(each)


def seen(request: object) -> tuple[str, str]:
    path = str(getattr(request, "path", ""))
    return str(getattr(request, "method", "")), "batches" if "batches/" in path else path.rpartition("/")[2]


def test_ctrl_c_with_chats_of_actors_tells_each_of_them_its_end_once(
    begin: Callable[..., subprocess.Popen[str]],
) -> None:
    halt = Halt(*BEGUN)
    with Server(halt) as server:
        running = begin(
            server.url,
            """
            workers = [Teller.start() for _ in range(3)]
            chats = [client.chat(**ask(str(n)), stream=workers[n % 3]) for n in range(9)]
            threading.Event().wait()
            """,
        )
        for _ in range(9):
            acquire(halt.reached)
        told = interrupted(running).splitlines()
        for _ in range(9):
            acquire(server.hung_up)
    assert ends(told) == {str(n): ["ChatCancelled"] for n in range(9)}


def test_another_ctrl_c_does_not_wait_for_a_subscriber(begin: Callable[..., subprocess.Popen[str]]) -> None:
    halt = Halt(*BEGUN)
    with Server(halt) as server:
        running = begin(
            server.url,
            """
            class Slow(Teller):
                def on_receive(self, message):
                    super().on_receive(message)
                    if isinstance(message, ChatCancelled):
                        threading.Event().wait()
            client.chat(**ask(), stream=Slow.start()).result()
            """,
        )
        acquire(halt.reached)
        running.send_signal(signal.SIGINT)
        while line(running) != "Hi ChatCancelled":
            pass
        interrupted(running)  # the second one
        acquire(server.hung_up)


def test_a_shell_sees_the_status_130_after_ctrl_c_in_its_terminal(tmp_path: Path) -> None:
    """Both get the signal, as the control character comes from the keyboard of their terminal."""
    keyboard, screen = os.openpty()
    program = tmp_path / "program.py"
    program.write_text(PREFACE + "client.chat(**ask())")
    script = 'exec < "$1" > "$1" 2>&1; trap : INT; "$2" -P "$3" "$4"; echo "status $?"'
    halt = Halt()
    try:
        with Server(halt) as server:
            command = ["/bin/sh", "-c", script, "sh", os.ttyname(screen), sys.executable, str(program), server.url]
            with subprocess.Popen(command, start_new_session=True, env={**os.environ, "PYTHON_COLORS": "0"}) as shell:
                acquire(halt.reached)
                os.write(keyboard, b"\x03")
                assert shell.wait(DEADLINE) == 0
            acquire(server.hung_up)
        shown = os.read(keyboard, 1 << 16).decode()
    finally:
        os.close(keyboard)
        os.close(screen)
    assert shown.endswith("KeyboardInterrupt\r\nstatus 130\r\n")


PLACES = {
    "before the sweeper starts": ("start", "anthropix-sweeper"),
    "while the sweeper starts": ("wait", "anthropix-sweeper"),
    "before its actor starts": ("start", "ChatActor"),
    "while its actor starts": ("wait", "ChatActor"),
}


@pytest.mark.parametrize("moment", PLACES)
def test_ctrl_c_that_is_caught_while_a_chat_starts_leaves_no_chat_behind(
    connect: Callable[..., Client], moment: str
) -> None:
    """The signal comes when Python is about to enter a function of `threading`: the start of a thread, or its wait."""
    function, name = PLACES[moment]

    def press(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == function and code.co_filename == threading.__file__:
            caller = frame if function == "start" or frame.f_back is None else frame.f_back
            if getattr(caller.f_locals.get("self"), "name", "").startswith(name):
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    until_at_rest()
    inbox, halt = Inbox(), Halt()
    with Server(halt) as server:
        client = connect(server, max_concurrency=1)
        try:
            sys.setprofile(press)
            with pytest.raises(KeyboardInterrupt):
                client.chat(**ASK, stream=inbox)
        finally:
            sys.setprofile(None)
        assert inbox.until_end()[-1].reason == "interrupted while it started"
        chat = client.chat(**ASK, stream=Inbox(), timeout=0.1)
        with pytest.raises(APITimeoutError):  # it had its turn, and the sweeper sweeps
            chat.result(DEADLINE)
