"""`anthropix worker`: takes jobs out of a store, until a signal ends it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from anthropix_actors.cli._stores import QUEUE, STORE, one_line, opened

if TYPE_CHECKING:
    from anthropix_actors import Worker

CANCELLED = 3
"""The exit status when answers had to be cancelled."""


@click.command()
@STORE
@QUEUE
@click.option("--concurrency", default=200, show_default=True, type=click.IntRange(1), help="Answers at once.")
@click.option(
    "--lease",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds after which another worker takes over from one that is dead.",
)
@click.option("--attempts", default=3, show_default=True, type=click.IntRange(1), help="Workers that may have a job.")
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds that answers have to come to their end after SIGTERM or Ctrl-C.",
)
def worker(  # noqa: PLR0913, PLR0917 - each is an option
    url: str, queue: str, concurrency: int, lease: float, attempts: int, grace: float
) -> None:
    """Answer the jobs of a store. The key is in ANTHROPIC_API_KEY.

    SIGTERM or Ctrl-C: no more jobs are taken, and those that run have --grace seconds. A second one cancels them. The
    exit status is 0, 1 if it could not begin, or 3 if answers were cancelled.
    """
    from anthropix_actors import Client, Worker  # noqa: PLC0415 - not every command asks the API

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logger = logging.getLogger("anthropix_actors")
    logger.setLevel(logging.INFO)
    logger.addFilter(_is_news)
    ending = _on_signals()
    with opened(url) as store, one_line(), Client() as client:
        running = Worker(client, store, queue=queue, concurrency=concurrency, lease=lease, attempts=attempts)
        with running:
            click.echo(f"{running.hub.holder} takes jobs out of {queue!r}")
            all_ended = _works_until(ending, running, grace)
        counts = running.metrics()
    click.echo(f"ended: {counts.done} done, {counts.failed} failed, {counts.cancelled} cancelled, {counts.lost} lost")
    sys.exit(0 if all_ended else CANCELLED)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a record says what no other does: the worker names the answer of each chat that is done."""
    return (getattr(record, "work", None), getattr(record, "state", None)) != ("chat", "done")


def _on_signals() -> threading.Event:
    """Return an event that SIGTERM or Ctrl-C sets; another one raises KeyboardInterrupt."""
    ending = threading.Event()

    def on_signal(*_: object) -> None:
        if ending.is_set():
            raise KeyboardInterrupt
        ending.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return ending


def _works_until(ending: threading.Event, running: Worker, grace: float) -> bool:
    """Wait for the first signal, then for the answers, for at most `grace` seconds; return whether all have ended.

    Another signal ends the wait for the answers, at whatever moment after the first it comes.
    """
    try:
        while not ending.wait(1.0):
            if running.refused is not None:
                raise running.refused
        click.echo("takes no more jobs")
        return running.drain(grace)
    except KeyboardInterrupt:
        return False
