"""What the commands on stores have in common: the store of a URL, and errors of one line."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click
import msgspec

from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from anthropix_actors.stores import Entry, Store

STORE = click.option(
    "--store",
    "url",
    required=True,
    envvar="ANTHROPIX_STORE",
    metavar="URL",
    help="Such as sqlite:answers.sqlite or redis://localhost; ANTHROPIX_STORE is the default.",
)
QUEUE = click.option("--queue", default="jobs", show_default=True, help="The queue of jobs.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line, for programs.")


@contextlib.contextmanager
def opened(url: str) -> Generator[Store]:
    """Yield the store of a URL; what goes wrong becomes an error of one line."""
    from anthropix_actors.stores import open_store  # noqa: PLC0415 - not every command has a store

    with one_line(), contextlib.closing(open_store(url)) as store:
        yield store


@contextlib.contextmanager
def one_line() -> Generator[None]:
    """Make an error of ours one of the command's, in one line."""
    try:
        yield
    except AnthropixError as exc:
        raise click.ClickException(" ".join(str(exc).split())) from None


def entries_of(store: Store, name: str, after: str | None = None, *, wait: float = 0.0) -> Iterator[Entry]:
    """Yield the entries of a log after a cursor, until none has come for `wait` seconds."""
    while found := store.read(name, after, wait=wait):
        yield from found
        after = found[-1].cursor


def echo_json(data: Any) -> None:
    """Print one line of JSON."""
    click.echo(msgspec.json.encode(data))
