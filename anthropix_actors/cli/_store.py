"""`anthropix store`: what is in a store, and whether it works."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

import click
import msgspec

from anthropix_actors.cli._answers import follow_answer, hub_of
from anthropix_actors.cli._stats import kind_of, lines, prometheus, states_of, stats_of
from anthropix_actors.cli._stores import AS_JSON, QUEUE, echo_json, entries_of, opened
from anthropix_actors.content import text_of
from anthropix_actors.errors import AnthropixError
from anthropix_actors.hub.entries import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.stores import Store

URL = click.argument("url")
NAME = click.argument("name")
WAIT = 1.0
"""Seconds between two looks whether a log is closed."""


@click.group()
def store() -> None:
    """Look into a store of logs and jobs, such as sqlite:answers.sqlite or redis://localhost."""


@store.command()
@URL
def check(url: str) -> None:
    """Write, read and delete a log and a job, and say how long each step takes."""
    with opened(url) as found:
        for step, seconds in _steps(found):
            click.echo(f"{step:<8} {seconds * 1000:8.1f} ms")
    click.echo("It works.")


@store.command(name="list")
@URL
@click.argument("prefix", default="")
@AS_JSON
def list_logs(url: str, prefix: str, *, as_json: bool) -> None:
    """List the logs whose names begin with PREFIX: state, number of entries, who writes, name."""
    with opened(url) as found:
        for name, state in states_of(found, prefix):
            if as_json:
                echo_json({"name": name, **msgspec.to_builtins(state)})
            else:
                click.echo(f"{kind_of(state):<8} {state.length:>7}  {state.holder or '-'}  {name}")


@store.command()
@URL
@NAME
def delete(url: str, name: str) -> None:
    """Delete a log; who reads or writes it finds it lost."""
    with opened(url) as found:
        if found.state(name) is None:
            raise click.ClickException(f"there is no log {name!r}")
        found.delete(name)


@store.command()
@URL
@QUEUE
@AS_JSON
@click.option("--prometheus", "for_prometheus", is_flag=True, help="The text format of Prometheus.")
def stats(url: str, queue: str, *, as_json: bool, for_prometheus: bool) -> None:
    """Count jobs, logs and who writes them."""
    with opened(url) as found:
        counted = stats_of(found, queue)
    if as_json:
        echo_json(counted)
    else:
        click.echo("\n".join((prometheus if for_prometheus else lines)(counted)))


@store.command()
@URL
@NAME
@AS_JSON
def show(url: str, name: str, *, as_json: bool) -> None:
    """Print what an answer is, and what there is of it; with --json, the entries of any log."""
    with opened(url) as found, hub_of(found, "jobs") as hub:
        if as_json:
            for entry in entries_of(found, name):
                echo_json(entry)
            return
        status = hub.status(name)
        holder = f", written by {status.holder}" if status.holder else ""
        click.echo(f"{status.state}, {status.entries} entries, begun {status.attempts} times{holder}", err=True)
        partial, _ = told(entry.data for entry in entries_of(found, name))
        click.echo("" if partial is None else text_of(partial))


@store.command()
@URL
@NAME
@click.option("--after", metavar="CURSOR", help="Go on after an entry; --json shows their cursors.")
@AS_JSON
def follow(url: str, name: str, after: str | None, *, as_json: bool) -> None:
    """Print an answer as it comes; with --json, the entries of any log, up to its end. Ctrl-C ends nothing but this."""
    with opened(url) as found, hub_of(found, "jobs") as hub:
        if not as_json:
            follow_answer(hub, name, after)
            return
        while True:
            if (state := found.state(name)) is None:
                raise click.ClickException(f"there is no log {name!r}")
            for entry in entries_of(found, name, after, wait=0 if state.closed else WAIT):
                after = entry.cursor
                echo_json(entry)
            if state.closed:
                return


def _steps(found: Store) -> Iterator[tuple[str, float]]:
    """Yield each thing that a store does, as it has done it, and its seconds. Leave nothing behind."""
    mark = f"anthropix-check-{secrets.token_hex(8)}"
    steps: dict[str, Callable[[], object]] = {
        "beat": lambda: found.beat(mark, 60),
        "claim": lambda: found.claim(mark, mark),
        "append": lambda: found.append(mark, 1, 0, [{"kind": "check"}], close=True),
        "read": lambda: found.read(mark),
        "put": lambda: found.put(mark, mark, {"kind": "check"}),
        "take": lambda: found.take(mark, mark, 1),
        "finish": lambda: found.finish(mark, mark, mark),
    }
    try:
        for step, act in steps.items():
            start = time.monotonic()
            act()
            yield step, time.monotonic() - start
    finally:
        with contextlib.suppress(AnthropixError):
            found.delete(mark)
            found.remove(mark, mark)
            found.beat(mark, 0)
