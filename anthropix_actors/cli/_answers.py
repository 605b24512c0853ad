"""`anthropix submit` and `cancel`: answers that workers give, from the terminal."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatResumed
from anthropix_actors.chat.ref import outcome
from anthropix_actors.cli._demo import MODEL
from anthropix_actors.cli._stores import QUEUE, STORE, looked_into, one_line, opened
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from anthropix_actors import Hub
    from anthropix_actors.chat.messages import ChatMessage

NOT_DONE = 1
"""The exit status when there is no whole answer."""


@click.command()
@click.argument("prompt", required=False)
@STORE
@QUEUE
@click.option("--model", default=MODEL, show_default=True, help="The model to ask.")
@click.option("--system", help="The system prompt.")
@click.option("--max-tokens", type=click.IntRange(1), help="The most tokens of the answer.")
@click.option("--params", type=click.File("rb"), help="All parameters of the chat, as JSON, in a file; - is stdin.")
@click.option("--id", "name", help="The name of the answer; by default one that nobody can guess.")
@click.option("--tag", help="A label for the worker's log and sums.")
@click.option("--retry-lost", is_flag=True, help="If its worker dies in mid-answer, ask again: it is paid twice.")
@click.option("--follow", "follows", is_flag=True, help="Print the answer as it comes.")
def submit(  # noqa: PLR0913, PLR0917 - each is an option
    prompt: str | None,
    url: str,
    queue: str,
    model: str,
    system: str | None,
    max_tokens: int | None,
    params: IO[bytes] | None,
    name: str | None,
    tag: str | None,
    *,
    retry_lost: bool,
    follows: bool,
) -> None:
    """Put a question into a store, for a worker to answer, and print the name of its answer.

    Given twice with the same --id, it is asked once. With --follow, the exit status is 0 if the answer is whole.
    """
    if (prompt is None) == (params is None):
        raise click.UsageError("expected a prompt or --params, and not both")
    asked = _json(params) if params is not None else {"model": model, "messages": _said(prompt)}
    optional: dict[str, Any] = {"system": system, "max_tokens": max_tokens}
    asked.update({key: value for key, value in optional.items() if value is not None})
    with opened(url) as store, hub_of(store, queue) as hub, one_line():
        answer = hub.submit(asked, id=name, retry_lost=retry_lost, tag=tag)
        click.echo(answer, err=follows)
        if follows:
            follow_answer(hub, answer)


@click.command()
@click.argument("name")
@STORE
@QUEUE
@click.option("--reason", default="cancelled", show_default=True, help="What readers are told.")
def cancel(name: str, url: str, queue: str, reason: str) -> None:
    """Cancel an answer, whether it waits for a worker or is being given, from anywhere."""
    with looked_into(url) as store, hub_of(store, queue) as hub, one_line():
        state = hub.status(name).state
        if state in {"unknown", "lost"} or not hub.cancel(name, reason):
            raise click.ClickException(f"there is nothing to cancel: {name!r} is {hub.status(name).state}")


def hub_of(store: Any, queue: str) -> Hub:
    """Return a hub on a store."""
    from anthropix_actors import Hub  # noqa: PLC0415 - not every command has a store

    return Hub(store, queue=queue)


def follow_answer(hub: Hub, name: str, after: str | None = None) -> None:
    """Print an answer as it comes, from a cursor on; end with an error if it does not come to its end."""
    any_told = False
    try:
        for message in hub.follow(name, after=after):
            any_told = _print(message) or any_told
    except AnthropixError as exc:
        click.echo("\n" if any_told else "", nl=False)
        click.echo(f"Error: {' '.join(str(exc).split())}", err=True)
        sys.exit(NOT_DONE)
    click.echo()


def _print(message: ChatMessage) -> bool:
    """Print what a message adds to the text; return whether it does. Raises the error of an end that is none."""
    match message:
        case ChatEvent(data=event):
            kind, text = grown(event) or ("", "")
            click.echo(text if kind == TEXT else "", nl=False)
            return kind == TEXT
        case ChatResumed(kept=0):  # nothing of what was printed holds
            click.echo()
            click.echo("-- asked again", err=True)
        case ChatDone() | ChatFailed() | ChatCancelled():
            outcome(message)
    return False


def _said(prompt: str | None) -> list[dict[str, Any]]:
    if not prompt or prompt.isspace():
        raise click.UsageError("the prompt is empty")
    return [{"role": "user", "content": prompt}]


def _json(file: IO[bytes]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(file.read(), type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        raise click.UsageError(f"--params: expected JSON, an object: {exc}") from None
    return found
