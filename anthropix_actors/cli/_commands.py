"""The `anthropix` command and its subcommands."""

from __future__ import annotations

import sys

import click

from anthropix_actors import AnthropixError, __version__
from anthropix_actors.cli._answers import cancel, submit
from anthropix_actors.cli._demo import MODEL, run_demo
from anthropix_actors.cli._emulator import emulator
from anthropix_actors.cli._endpoints import endpoints
from anthropix_actors.cli._store import store
from anthropix_actors.cli._worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="anthropix")
def anthropix() -> None:
    """Claude for threaded Python: each chat request is an actor."""


for command in (emulator, endpoints, worker, submit, cancel, store):
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
