"""A process that works with batches is killed; another one goes on from the batches' ids."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.emulator import Emulator

from servers import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path

PREFACE = """
import queue, sys
from anthropix_actors import BatchDone, BatchProgress, BatchResult, Client

url, notes, stop_after = sys.argv[1], open(sys.argv[2], "a"), int(sys.argv[3])
question = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
client = Client("key", base_url=url)

class Inbox:
    def __init__(self):
        self.queue, self.told = queue.SimpleQueue(), 0

    def tell(self, message):
        if isinstance(message, BatchResult):
            self.told += 1
            print("result", message.custom_id, file=notes, flush=True)
            print(message.custom_id, flush=True)
            if self.told == stop_after:
                sys.stdin.read()  # here it is killed
        elif isinstance(message, BatchProgress):
            for batch_id in message.batch.ids:
                print("batch", batch_id, file=notes, flush=True)
            print("made", flush=True)
        self.queue.put(message)

inbox = Inbox()
"""

RUN = """
client.batches.run(({"custom_id": f"n{n}", "params": question} for n in range(40)), inbox, poll=float(sys.argv[4]))
while not isinstance(inbox.queue.get(timeout=30), BatchDone):
    pass
"""

FOLLOW = """
noted = [line.split() for line in open(sys.argv[2])]
ids = {name for kind, name in noted if kind == "batch"}
seen = {name for kind, name in noted if kind == "result"}
client.batches.follow(ids, inbox, seen=seen, poll=0.01)
while not isinstance(inbox.queue.get(timeout=30), BatchDone):
    pass
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    code = textwrap.dedent(PREFACE + program)
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("stop_after", "last_words", "poll"),
    [(11, "n10", 0.01), (1, "n0", 0.01), (40, "n39", 0.01), (999, "made", 60)],
    ids=["in the middle of the results", "after the first", "after the last", "before the batch has ended"],
)
def test_a_run_killed_by_a_signal_and_followed_again_yields_every_result_once(
    tmp_path: Path, stop_after: int, last_words: str, poll: float
) -> None:
    notes = tmp_path / "notes"
    with Emulator(batch_polls=3) as emulator:
        with start(RUN, emulator.url, notes, stop_after, poll) as first:
            assert first.stdout is not None
            for line in first.stdout:
                if line.strip() == last_words:
                    break
            first.send_signal(signal.SIGKILL)
            assert first.wait(DEADLINE) == -signal.SIGKILL
        with start(FOLLOW, emulator.url, notes, 0) as second:
            assert second.wait(3 * DEADLINE) == 0
    results = [line.split()[1] for line in notes.read_text().splitlines() if line.startswith("result")]
    assert sorted(results) == sorted(f"n{number}" for number in range(40))
