"""`anthropix endpoints`: the endpoints of the API, as a table or as JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import msgspec

from anthropix_actors.endpoints.table import endpoints as all_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anthropix_actors.endpoints.table import Endpoint

_GAP = "  "


@click.command()
@click.argument("text", default="")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
def endpoints(text: str, *, as_json: bool) -> None:
    """List the API's endpoints, or those with TEXT in their method, path or betas.

    The columns: method, path, kind of response (a list says how its pages follow each other: id, cursor, bidi, report),
    and the betas that are sent. A star marks an endpoint in beta without a header of its own.
    """
    found = [endpoint for endpoint in all_endpoints() if _has(endpoint, text)]
    if not found:
        raise click.ClickException(f"no endpoint has {text!r} in its method, path or betas")
    lines = map(_json, found) if as_json else _aligned(map(_row, found))
    click.echo("\n".join(lines))


def _has(endpoint: Endpoint, text: str) -> bool:
    wanted = text.casefold()
    return any(wanted in part.casefold() for part in (endpoint.method, endpoint.path, *endpoint.betas))


def _json(endpoint: Endpoint) -> str:
    return json.dumps(msgspec.to_builtins(endpoint))


def _row(endpoint: Endpoint) -> tuple[str, ...]:
    answer = f"list ({endpoint.page})" if endpoint.page else endpoint.answer
    betas = ", ".join(endpoint.betas) or ("*" if endpoint.beta_only else "")
    return endpoint.method, endpoint.path, answer, betas


def _aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows in columns, each as wide as its widest cell."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
