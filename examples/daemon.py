"""A daemon: it asks again and again, its workers are told the answers, and SIGTERM or Ctrl-C ends it cleanly.

    python daemon.py 60 5

asks every 60 seconds. At the end, what is being answered gets 5 seconds to come to its end; the rest is cancelled, and
costs no more. Each worker hears of it before it stops. What the library says of each chat goes to stderr.
"""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import threading
from typing import Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatFailed, Client
from anthropix_actors.content import text_of

WORKERS = 2


class Worker(pykka.ThreadingActor):
    """Notes how each chat ended."""

    def on_receive(self, message: Any) -> None:
        match message:
            case ChatDone(chat=chat, message=answer):
                note = text_of(answer)
            case ChatFailed(chat=chat, error=error):
                note = f"failed: {error}"
            case ChatCancelled(chat=chat, reason=reason):
                note = f"cancelled: {reason}"
            case _:
                return
        print(f"{chat.tag}: {note}\n", end="", flush=True)  # in one piece, as there are several workers


def main(every: float, grace: float) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("anthropix_actors").setLevel(logging.INFO)
    end = threading.Event()

    def on_signal(*_: object) -> None:
        end.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    client = Client(max_concurrency=4)  # before the workers: without a key, it raises
    workers = [Worker.start() for _ in range(WORKERS)]
    try:
        for number in itertools.count(1):
            client.chat(
                model="claude-haiku-4-5",
                messages=[{"role": "user", "content": f"Something new about the number {number}?"}],
                stream=workers[number % WORKERS],
                tag=f"number {number}",
            )
            if end.wait(every):
                break
        print(f"-- {len(client.chats())} chats run", flush=True)
        client.close(grace=grace)
    finally:
        # Whatever happened: what runs is cancelled, and this waits until all actors have handled what they were told.
        # Actors that run on would keep the program from ending.
        client.close()
        pykka.ActorRegistry.stop_all()
    print("-- ended", flush=True)


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:]]
    main(*given, *(60.0, 5.0)[len(given) :])
