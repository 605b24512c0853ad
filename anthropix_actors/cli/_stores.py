"""What the commands on stores have in common: the store of a URL, and errors of one line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click
import msgspec

from anthropix_actors.errors import AnthropixError
from anthropix_actors.stores.names import JOBS

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropix_actors.stores import Store

VARIABLE = "ANTHROPIX_STORE"
STORE = click.option(
    "--store",
    "url",
    required=True,
    envvar=VARIABLE,
    metavar="URL",
    help="Such as sqlite:answers.sqlite or redis://localhost; ANTHROPIX_STORE is the default.",
)
QUEUE = click.option("--queue", default=JOBS, show_default=True, help="The queue of jobs.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line, for programs.")


@contextlib.contextmanager
def opened(url: str) -> Generator[Store]:
    """Yield the store of a URL; what goes wrong becomes an error of one line."""
    from anthropix_actors.stores import open_store  # noqa: PLC0415 - not every command has a store

    with one_line(), contextlib.closing(open_store(url)) as store:
        yield store


@contextlib.contextmanager
def looked_into(url: str) -> Generator[Store]:
    """Yield the store of a URL, which has to be there: to look for a file makes none."""
    scheme, _, rest = url.partition(":")
    path = Path(unquote(rest.removeprefix("//")))
    if scheme.lower() == "sqlite" and not path.exists():
        raise click.ClickException(f"there is no store {url}: no such file")
    with opened(url) as store:
        yield store


def url_of(url: str | None) -> str:
    """Return the URL that was given, or that of the environment."""
    if found := url or os.environ.get(VARIABLE):
        return found
    raise click.ClickException(f"which store? Give its URL, such as sqlite:answers.sqlite, or set {VARIABLE}")


def url_and(url: str | None, name: str | None) -> tuple[str, str]:
    """Return URL and name of a log, of which the first may have been left out."""
    if name is None:
        url, name = None, url
    if name is None:
        raise click.UsageError("Missing argument 'NAME'.")
    return url_of(url), name


@contextlib.contextmanager
def one_line() -> Generator[None]:
    """Make an error of ours one of the command's, in one line."""
    try:
        yield
    except AnthropixError as exc:
        raise click.ClickException(" ".join(str(exc).split())) from None


def echo_json(data: Any) -> None:
    """Print one line of JSON."""
    click.echo(msgspec.json.encode(data))
