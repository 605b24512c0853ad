"""SIGTERM and the interpreter's exit: chats end with their process, and whoever follows them is told."""

from __future__ import annotations

import signal
import textwrap
from typing import TYPE_CHECKING

import pytest

from programs import BEGUN, ended_by, ends, line
from servers import (
    DEADLINE,
    Halt,
    Server,
    acquire,
    answering,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


DAEMON = """
client = Client("k", base_url=url, proxy="", max_concurrency=8)
workers = [Teller.start() for _ in range(3)]
refused = Client("k", base_url="http://127.0.0.1:" + sys.argv[2], proxy="", max_retries=20)

def work():
    for n in range(10):
        client.chat(**ask(f"{n}"), stream=workers[n % 3])
    refused.chat(**ask("refused"), stream=workers[0])
    os.write(1, b"ready -\\n")
"""

FLAVOURS = {
    "sys.exit": """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        work()
        threading.Event().wait()
    """,
    "an event, close and stop_all": """
        end = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: end.set())
        work()
        end.wait()
        client.close()
        refused.close()
        pykka.ActorRegistry.stop_all()
    """,
    "close in the handler": """
        end = threading.Event()
        def handler(*_):
            client.close()
            refused.close()
            end.set()
        signal.signal(signal.SIGTERM, handler)
        work()
        end.wait()
        pykka.ActorRegistry.stop_all()
    """,
    "non-daemonic workers": """
        for worker in workers:
            worker.stop()
        Teller.use_daemon_thread = False
        workers[:] = [Teller.start() for _ in range(3)]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            work()
            threading.Event().wait()
        finally:
            pykka.ActorRegistry.stop_all()
    """,
}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sigterm_to_a_daemon_ends_its_chats_and_each_is_told_once(
    begin: Callable[..., subprocess.Popen[str]], flavour: str
) -> None:
    """Of ten chats, eight have been sent, two wait for their turn; another one cannot connect."""
    with Server(answering("gone")) as closed:
        pass
    halts = [Halt(*BEGUN), Halt()]
    with Server(lambda peer: halts[peer.number % 2](peer)) as server:
        running = begin(server.url, DAEMON + textwrap.dedent(FLAVOURS[flavour]), str(closed.port))
        for halt in halts * 4:
            acquire(halt.reached)
        lines = [line(running)]
        while lines[-1] != "ready -":
            lines.append(line(running))
        out, err = ended_by(running, signal.SIGTERM)
        for _ in range(8):
            acquire(server.hung_up)
        assert server.connections == 8
    assert (err, running.returncode) == ("", 0)
    lines.remove("ready -")
    assert ends(lines + out.splitlines()) == {tag: ["ChatCancelled"] for tag in [*map(str, range(10)), "refused"]}


def test_finalizers_run_when_all_chats_have_ended(begin: Callable[..., subprocess.Popen[str]]) -> None:
    """Such as those of urllib3, which close the idle connections that the end of a chat may still need."""
    halt = Halt(*BEGUN)
    with Server(halt) as server:
        running = begin(
            server.url,
            """
            import weakref
            weakref.finalize(client, os.write, 1, b"finalizer -\\n")
            client.chat(**ask("Hi"), stream=Teller.start())
            sys.stdin.readline()
            """,
        )
        acquire(halt.reached)
        out, err = running.communicate(timeout=DEADLINE)
    assert (err, running.returncode) == ("", 0)
    assert out.splitlines()[-2:] == ["Hi ChatCancelled", "finalizer -"]


EXITS = {
    "the end of the program": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "sys.exit with a text": ("sys.exit('enough')", 1, "enough\n"),
    "an exception": ("raise ValueError('a bug')", 1, "ValueError: a bug\n"),
}


@pytest.mark.parametrize("way", EXITS)
def test_at_the_interpreters_exit_all_chats_are_told_their_end(
    begin: Callable[..., subprocess.Popen[str]], way: str
) -> None:
    statement, status, complaint = EXITS[way]
    halt = Halt(*BEGUN)
    with Server(halt) as server:
        running = begin(
            server.url,
            f"""
            client = Client("k", base_url=url, proxy="", max_concurrency=3)
            workers = [Teller.start(), Teller.start()]
            for n in range(5):
                client.chat(**ask(str(n)), stream=workers[n % 2])
            unread = client.chat(**ask(), stream=True) # a stream that nobody loops over
            threading.Thread(target=lambda: client.chat(**ask("blocking")), daemon=True).start()
            threading.excepthook = lambda args: os.write(1, b"blocking " + args.exc_type.__name__.encode() + b"\\n")
            sys.stdin.readline()
            {statement}
            """,
        )
        for _ in range(3):
            acquire(halt.reached)
        out, err = running.communicate(timeout=DEADLINE)
        for _ in range(3):
            acquire(server.hung_up)
        assert server.connections == 3  # those who waited for their turn had none
    assert err.endswith(complaint) if complaint else err == ""
    assert err.count("Traceback") == ("exception" in way and bool(complaint))
    assert running.returncode == status
    # The blocking call may have begun after the end has: then it has no thread.
    told = [each for each in out.splitlines() if each not in {"blocking CancelledError", "blocking AnthropixError"}]
    assert ends(told) == {str(n): ["ChatCancelled"] for n in range(5)}
