"""A batch that survives a crash: run it again with the same file, and it goes on where it was.

    python batch.py notes.txt

What is known is in the file: the ids of the batches, and the results that were dealt with.
"""

from __future__ import annotations

import queue
import sys
from pathlib import Path
from typing import Any

from anthropix_actors import BatchCancelled, BatchDone, BatchFailed, BatchProgress, BatchResult, BatchRetrying, Client
from anthropix_actors.content import text_of

WORDS = ("actor", "mailbox", "supervisor", "message", "thread")


class Inbox(queue.SimpleQueue[Any]):
    """A subscriber that keeps what it is told until somebody takes it."""

    tell = queue.SimpleQueue.put


def requests() -> Any:
    for word in WORDS:
        question = f"Explain the word {word} in one sentence."
        params = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": question}]}
        yield {"custom_id": word, "params": params}


class Notes:
    """What is known, in a file: a line for each batch, and for each result that was dealt with."""

    def __init__(self, path: Path) -> None:
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        self.batches = {name for kind, name in lines if kind == "batch"}
        self.results = {name for kind, name in lines if kind == "result"}
        self.path = path

    def add(self, kind: str, name: str) -> None:
        with self.path.open("a") as file:
            print(kind, name, file=file)


def deal_with(message: Any, notes: Notes) -> None:
    match message:
        case BatchProgress(batch=work, counts=counts):
            for batch_id in set(work.ids) - notes.batches:
                notes.add("batch", batch_id)
                notes.batches.add(batch_id)
            print(f"{counts['processing']} are waited for")
        case BatchResult(custom_id=word, result=result):
            print(f"{word}: {text_of(result['message']) if result['type'] == 'succeeded' else result['type']}")
            notes.add("result", word)
        case BatchRetrying(delay=delay, error=error):
            print(f"once more in {delay:.1f} s: {error}")
        case BatchFailed(error=error):
            print(f"failed: {error}", file=sys.stderr)
        case BatchCancelled(reason=reason):
            print(f"cancelled: {reason}", file=sys.stderr)


def main(path: Path) -> int:
    notes, inbox = Notes(path), Inbox()
    with Client() as client:
        if notes.batches:
            print(f"going on; {len(notes.results)} results are known")
            client.batches.follow(notes.batches, inbox, seen=notes.results)
        else:
            client.batches.run(requests(), inbox)
        while not isinstance(message := inbox.get(), (BatchDone, BatchFailed, BatchCancelled)):
            deal_with(message, notes)
        deal_with(message, notes)
    return 0 if isinstance(message, BatchDone) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "batch-notes.txt")))
