"""A daemon that answers a queue of questions in a SQLite file, and asks none of them twice.

    python job_daemon.py jobs.sqlite "Why is the sky blue?" "And the sea?"

adds two jobs, and works on all there are until SIGTERM or Ctrl-C. Whoever inserts into the table `jobs` adds more, at
any time. When it is told to end, it takes no more jobs; those that run have ten seconds (`--grace`) to come to their
end, and the rest is given back. What a crash has left unfinished is given back by the next start. What the library says
of each chat goes to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import signal
import sqlite3
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anthropix_actors import AnthropixError, AuthenticationError, ChatRef, Client, ParameterError, PermissionDeniedError
from anthropix_actors.content import text_of
from anthropix_actors.subscribers import Listener

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from anthropix_actors.types import Message

MODEL = "claude-haiku-4-5"
AT_ONCE = 4
TRIES = 3
EVERY = 0.5  # seconds between two looks for new jobs

TABLE = """
    CREATE TABLE IF NOT EXISTS jobs (
        id INTEGER PRIMARY KEY,
        question TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
        tries INTEGER NOT NULL DEFAULT 0,
        answer TEXT,  -- the whole Message, as JSON
        error TEXT
    )
"""


class Jobs:
    """The queue. Each of its changes is one statement, and so one transaction: it is done, or it is not.

    A job is `running` from before its question is sent until its answer is on the disk. So only a crash between the end
    of an answer and its transaction makes a question be asked again.
    """

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.database.execute("PRAGMA journal_mode = WAL")  # others may read and insert meanwhile
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(TABLE)

    def close(self) -> None:
        self.database.close()

    def add(self, questions: Sequence[str]) -> None:
        self.database.executemany("INSERT INTO jobs (question) VALUES (?)", [(question,) for question in questions])

    def recover(self) -> None:
        """Give back what a crash has left. Only for the one daemon of this file."""
        self.database.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")

    def take(self) -> tuple[int, str] | None:
        """Claim the oldest job that waits."""
        rows: list[tuple[int, str]] = self.database.execute(
            "UPDATE jobs SET state = 'running' WHERE id = (SELECT min(id) FROM jobs WHERE state = 'waiting')"
            " RETURNING id, question"
        ).fetchall()
        return rows[0] if rows else None

    def finish(self, job: int, answer: str) -> None:
        self.database.execute("UPDATE jobs SET state = 'done', answer = ?, error = NULL WHERE id = ?", (answer, job))

    def give_back(self, job: int) -> None:
        self.database.execute("UPDATE jobs SET state = 'waiting' WHERE id = ?", (job,))

    def fail(self, job: int, error: str, *, again: bool) -> None:
        """Note an error; the job waits for another try, if that makes sense and some are left."""
        self.database.execute(
            "UPDATE jobs SET tries = tries + 1, error = ?,"
            " state = CASE WHEN ? AND tries + 1 < ? THEN 'waiting' ELSE 'failed' END WHERE id = ?",
            (error, again, TRIES, job),
        )


@dataclass(frozen=True)
class Look:
    """Jobs may have come."""


@dataclass(frozen=True)
class Drain:
    """Take no more jobs."""


class Desk(Listener):
    """Takes jobs, asks their questions, and stores the answers: all in one thread, so that nothing needs a lock.

    What it cannot deal with, such as a wrong key or a full disk, ends it, as any actor; and so the daemon.
    """

    def __init__(self, client: Client, path: Path) -> None:
        super().__init__()
        self.client = client
        self.path = path
        self.running: dict[ChatRef, int] = {}
        self.drains = False

    def on_start(self) -> None:
        self.jobs = Jobs(self.path)  # in here, as SQLite wants a connection for each thread
        self.jobs.recover()

    def on_stop(self) -> None:
        self.jobs.close()

    def on_message(self, message: Look | Drain) -> None:
        self.drains = self.drains or isinstance(message, Drain)
        while not self.drains and len(self.running) < AT_ONCE and (job := self.jobs.take()):
            self.ask(*job)

    def ask(self, job: int, question: str) -> None:
        messages = [{"role": "user", "content": question}]
        try:
            chat = self.client.chat(model=MODEL, messages=messages, stream=self.actor_ref, tag=f"job {job}")
        except ParameterError as error:  # a question that is no text, for example
            self.jobs.fail(job, str(error), again=False)
        else:
            self.running[chat] = job

    def on_done(self, chat: ChatRef, message: Message) -> None:
        self.jobs.finish(self.running.pop(chat), json.dumps(message))
        self.go_on(f"{chat.tag}: {text_of(message)}")

    def on_failed(self, chat: ChatRef, error: AnthropixError) -> None:
        if isinstance(error, (AuthenticationError, PermissionDeniedError)):
            raise error  # no fault of the job: all would fail
        self.jobs.fail(self.running.pop(chat), str(error), again=error.retryable)
        self.go_on(f"{chat.tag} failed: {error}")

    def on_cancelled(self, chat: ChatRef, reason: str, partial: Message | None) -> None:
        self.jobs.give_back(self.running.pop(chat))
        self.go_on(f"{chat.tag} is given back: {reason}")

    def go_on(self, said: str) -> None:
        print(said, flush=True)
        self.on_message(Look())


@contextlib.contextmanager
def alone(path: Path) -> Generator[None]:
    """Be the only daemon of a file. The system ends this when the process ends, however that comes."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another daemon works on {path}")
        yield


def work(client: Client, path: Path, grace: float) -> None:
    end = threading.Event()

    def on_signal(*_: object) -> None:
        end.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    desk = Desk.start(client, path)
    try:
        while not end.is_set():
            desk.tell(Look())
            end.wait(EVERY)
        desk.ask(Drain(), timeout=30)
        client.drain(grace)
    finally:
        client.close()  # cancels what still runs
        client.drain(5)  # until the desk is told so
        desk.stop()  # once it has handled what it was told: each job is stored, or given back


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("questions", nargs="*")
    parser.add_argument("--grace", type=float, default=10.0)
    given = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("anthropix_actors").setLevel(logging.INFO)
    jobs = Jobs(given.file)
    jobs.add(given.questions)
    jobs.close()
    with alone(given.file), Client() as client:
        work(client, given.file, given.grace)
    print("-- ended", flush=True)


if __name__ == "__main__":
    main()
