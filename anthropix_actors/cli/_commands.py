"""The `anthropix` command and its subcommands."""

from __future__ import annotations

import sys

import click

from anthropix_actors import AnthropixError, __version__
from anthropix_actors.cli._answers import cancel, submit
from anthropix_actors.cli._demo import MODEL, run_demo
from anthropix_actors.cli._endpoints import endpoints
from anthropix_actors.cli._store import store
from anthropix_actors.cli._worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="anthropix")
def anthropix() -> None:
    """Claude for threaded Python: each chat request is an actor."""


for command in (endpoints, worker, submit, cancel, store):
    anthropix.add_command(command)


@anthropix.command()
@click.option("--model", default=MODEL, show_default=True, help="The model to ask, when there is a key.")
def demo(model: str) -> None:
    """Stream an answer to an actor, and cancel another one.

    Talks to the API if ANTHROPIC_API_KEY is set, and else to an emulator that replays recorded answers.
    """
    try:
        run_demo(model, click.echo)
    except AnthropixError as exc:
        click.echo(f"\nIt did not work: {exc}", err=True)
        sys.exit(1)


@anthropix.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; loopback unless you say so.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--api-key", help="The only key to let in; by default, any will do.")
@click.option("--batch-seconds", default=5.0, show_default=True, type=click.FloatRange(0), help="Until a batch ends.")
@click.option(
    "--tokens-per-second", type=click.FloatRange(0, min_open=True), help="A model's pace; by default, at once."
)
@click.option("--allow-host", multiple=True, help="A further name to be called by; may be repeated; * is any.")
@click.option("--without", multiple=True, metavar="RULE", help="A rule not to keep; may be repeated.")
def emulator(  # noqa: PLR0913, PLR0917 - each is an option
    host: str,
    port: int,
    api_key: str | None,
    batch_seconds: float,
    tokens_per_second: float | None,
    allow_host: tuple[str, ...],
    without: tuple[str, ...],
) -> None:
    """Serve the API on this machine, for programs without a key. Ctrl-C ends it."""
    try:
        from anthropix_actors.emulator import Emulator, Pace, serve  # noqa: PLC0415 - an extra of its own
    except ImportError as exc:
        raise click.ClickException(str(exc)) from None

    def started(running: Emulator) -> None:
        click.echo(f"The emulator is at {running.url}. Ctrl-C ends it. To use it:")
        click.echo(f"  export ANTHROPIC_BASE_URL={running.url} ANTHROPIC_API_KEY={api_key or 'any'}")

    try:
        serve(
            host=host,
            port=port,
            api_key=api_key,
            batch_seconds=batch_seconds,
            hosts=allow_host,
            without=without,
            handler=None if tokens_per_second is None else lambda _: Pace(None, tokens_per_second),
            started=started,
        )
    except ValueError as exc:  # not the name of a rule
        raise click.UsageError(str(exc)) from None
    except OSError as exc:
        raise click.ClickException(f"cannot listen at {host}, port {port}: {exc.strerror}") from None
