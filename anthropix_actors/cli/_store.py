"""`anthropix store`: what is in a store, and whether it works."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

import click
import msgspec

from anthropix_actors.cli._answers import follow_answer, hub_of
from anthropix_actors.cli._logs import CHAT, kind_of, line_of, what_is_log
from anthropix_actors.cli._stats import lines, prometheus, states_of, stats_of
from anthropix_actors.cli._stores import AS_JSON, QUEUE, echo_json, looked_into, opened, url_and, url_of
from anthropix_actors.content import text_of
from anthropix_actors.errors import AnthropixError
from anthropix_actors.hub.entries import told
from anthropix_actors.stores.entries import entries_of
from anthropix_actors.stores.names import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.hub import Hub
    from anthropix_actors.stores import LogState, Store

URL = click.argument("url", required=False)
NAME = click.argument("name", required=False, metavar="NAME")
WAIT = 1.0
"""Seconds between two looks whether a log is closed."""


@click.group()
def store() -> None:
    """Look into a store of logs and jobs, such as sqlite:answers.sqlite or redis://localhost.

    Without a URL, it is that in ANTHROPIX_STORE.
    """


@store.command()
@URL
def check(url: str | None) -> None:
    """Write, read and delete a log and a job, and say how long each step takes."""
    with opened(url_of(url)) as found:
        for step, seconds in _steps(found):
            click.echo(f"{step:<8} {seconds * 1000:8.1f} ms")
    click.echo("It works.")


@store.command(name="list")
@URL
@click.argument("prefix", required=False)
@AS_JSON
def list_logs(url: str | None, prefix: str | None, *, as_json: bool) -> None:
    """List the logs whose names begin with PREFIX: state, number of entries, who writes, name."""
    if prefix is None and url is not None and ":" not in url:
        url, prefix = None, url
    with looked_into(url_of(url)) as found:
        for name, state in states_of(found, prefix or ""):
            if as_json:
                echo_json({"name": name, **msgspec.to_builtins(state)})
            else:
                click.echo(f"{kind_of(state):<8} {state.length:>7}  {state.holder or '-'}  {name}")


@store.command()
@URL
@NAME
def delete(url: str | None, name: str | None) -> None:
    """Delete a log; who reads or writes it finds it lost."""
    at, known = url_and(url, name)
    with looked_into(at) as found:
        _state_of(found, known)
        found.delete(known)


@store.command()
@URL
@QUEUE
@AS_JSON
@click.option("--prometheus", "for_prometheus", is_flag=True, help="The text format of Prometheus.")
def stats(url: str | None, queue: str, *, as_json: bool, for_prometheus: bool) -> None:
    """Count jobs, logs and who writes them."""
    with looked_into(url_of(url)) as found:
        counted = stats_of(found, queue)
    if as_json:
        echo_json(counted)
    else:
        click.echo("\n".join((prometheus if for_prometheus else lines)(counted)))


@store.command()
@URL
@NAME
@AS_JSON
def show(url: str | None, name: str | None, *, as_json: bool) -> None:
    """Print what an answer is, and what there is of it; of any other log, or with --json, the entries."""
    at, known = url_and(url, name)
    with looked_into(at) as found, hub_of(found, JOBS) as hub:
        state = _state_of(found, known)
        what = what_is_log(found, known, state)
        if as_json:
            for entry in entries_of(found, known):
                echo_json(entry)
        elif what == CHAT:
            _show_answer(hub, known)
        else:
            click.echo(line_of(state, what), err=True)
            for entry in entries_of(found, known):
                echo_json(entry.data)


def _show_answer(hub: Hub, name: str) -> None:
    status = hub.status(name)
    holder = f", written by {status.holder}" if status.holder else ""
    times = "once" if status.attempts == 1 else f"{status.attempts} times"
    click.echo(f"{status.state}, {status.entries} entries, begun {times}{holder}", err=True)
    partial, _ = told((entry.data for entry in entries_of(hub.store, name)), name)
    click.echo("" if partial is None else text_of(partial))


@store.command()
@URL
@NAME
@click.option("--after", metavar="CURSOR", help="Go on after an entry; --json shows their cursors.")
@AS_JSON
def follow(url: str | None, name: str | None, after: str | None, *, as_json: bool) -> None:
    """Print an answer as it comes; of any other log, or with --json, the entries. Ctrl-C ends nothing but this."""
    at, known = url_and(url, name)
    with looked_into(at) as found, hub_of(found, JOBS) as hub:
        state = _state_of(found, known)
        if as_json or what_is_log(found, known, state) != CHAT:
            _follow_entries(found, known, after, whole=as_json)
        else:
            follow_answer(hub, known, after)


def _follow_entries(found: Store, name: str, after: str | None, *, whole: bool) -> None:
    """Print the entries of a log as they come, up to its end; `whole` is with their numbers and cursors."""
    closed = False
    while not closed:
        closed = _state_of(found, name).closed
        for entry in entries_of(found, name, after, wait=0 if closed else WAIT):
            after = entry.cursor
            echo_json(entry if whole else entry.data)


def _state_of(found: Store, name: str) -> LogState:
    if (state := found.state(name)) is None:
        raise click.ClickException(f"there is no log {name!r}")
    return state


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
