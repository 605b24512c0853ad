"""Programs that tests run, and end, as processes of their own."""

from __future__ import annotations

import collections
import contextlib
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from servers import DEADLINE, answer, chunks, head

if TYPE_CHECKING:
    from typing import Self

PREFACE = """
import os, pykka, signal, sys, threading
from anthropix_actors import *

class Teller(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message):
        # In one piece and at once; print could be cut off by the end of the process.
        os.write(1, f"{message.chat.tag} {type(message).__name__}\\n".encode())

def ask(text="Hi", **more):
    return dict(model="m", messages=[{"role": "user", "content": text}], tag=text, **more)

url = sys.argv[1]
client = Client("k", base_url=url, proxy="")
"""

EVENTS = answer("Hello", ", ", "you")
BEGUN = (head(), chunks(EVENTS[:3]))
"""The first bytes of an answer, with some text."""


class Programs:
    """Programs that do not outlive the `with` block."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._started:
            with running:
                running.kill()

    def begin(self, url: str, text: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program: the preface and `text`."""
        return self.run([sys.executable, "-P", "-W", "error", "-c", PREFACE + textwrap.dedent(text), url, *arguments])

    def run(self, command: list[str]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        running = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self._started.append(running)
        return running


def line(running: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    assert running.stdout is not None
    return running.stdout.readline().rstrip("\n")


def ended_by(running: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Send a signal that ends the program; return its output and its errors.

    Python may not notice a signal that comes just when its main thread begins to wait, until another one comes.
    """
    for _ in range(3):
        running.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return running.communicate(timeout=DEADLINE / 2)
    raise AssertionError("the program does not end")


def interrupted(running: subprocess.Popen[str]) -> str:
    """Interrupt a program as Ctrl-C does, check that this alone ends it, and return its output."""
    out, err = ended_by(running, signal.SIGINT)
    assert err.count("Traceback") == 1, err
    assert err.endswith("\nKeyboardInterrupt\n"), err
    assert "ignored" not in err, err
    assert running.returncode == -signal.SIGINT
    return out


def ends(lines: list[str]) -> dict[str, list[str]]:
    """Return the terminal messages of each chat; check that its other messages came before."""
    told: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
    for tag, name in map(str.split, lines):
        assert name in {"ChatDone", "ChatFailed", "ChatCancelled"} or not told[tag], lines
        if name.startswith("Chat") and name not in {"ChatEvent", "ChatRetrying"}:
            told[tag].append(name)
    return dict(told)
