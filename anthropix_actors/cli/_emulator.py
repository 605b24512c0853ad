"""`anthropix emulator`: the API on this machine, for programs in any language."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from anthropix_actors.emulator import Emulator

_TEXT = "An actor shares no memory with others: it has a mailbox, and takes one message after the other."


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; loopback unless you say so.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--api-key", help="The only key to let in; by default, any will do.")
@click.option("--batch-seconds", default=5.0, show_default=True, type=click.FloatRange(0), help="Until a batch ends.")
@click.option(
    "--tokens-per-second", type=click.FloatRange(0, min_open=True), help="A model's pace; by default, at once."
)
@click.option("--answer", type=click.File(encoding="utf-8"), help="A file with the text of each answer.")
@click.option("--words", type=click.IntRange(1), help="How many words each answer has, such as 2000.")
@click.option("--fail", type=click.IntRange(400, 599), metavar="STATUS", help="Refuse each chat, as with 529 or 401.")
@click.option("--allow-host", multiple=True, help="A further name to be called by; may be repeated; * is any.")
@click.option("--without", multiple=True, metavar="RULE", help="A rule not to keep; may be repeated.")
@click.option("--certfile", metavar="PEM", help="Serve over TLS, with this certificate, for localhost.")
@click.option("--keyfile", metavar="PEM", help="Its key, unless --certfile has it, too.")
def emulator(  # noqa: PLR0913, PLR0917 - each is an option
    host: str,
    port: int,
    api_key: str | None,
    batch_seconds: float,
    tokens_per_second: float | None,
    answer: TextIO | None,
    words: int | None,
    fail: int | None,
    allow_host: tuple[str, ...],
    without: tuple[str, ...],
    certfile: str | None,
    keyfile: str | None,
) -> None:
    """Serve the API on this machine, for programs without a key. Ctrl-C ends it."""
    try:
        from anthropix_actors.emulator import Pace, Status, serve  # noqa: PLC0415 - an extra of its own
    except ImportError as exc:
        raise click.ClickException(str(exc)) from None
    if (answer is not None) + (words is not None) + (fail is not None) > 1:
        raise click.UsageError("give one of --answer, --words and --fail")

    def started(running: Emulator) -> None:
        click.echo(f"The emulator is at {running.url}. Ctrl-C ends it. To use it:")
        click.echo(f"  export ANTHROPIC_BASE_URL={running.url} ANTHROPIC_API_KEY={api_key or 'any'}")

    try:
        text = _text(answer, words)
        paced = text if tokens_per_second is None else Pace(text, tokens_per_second)
        serve(
            host=host,
            port=port,
            api_key=api_key,
            batch_seconds=batch_seconds,
            hosts=allow_host,
            without=without,
            handler=lambda _: paced if fail is None else Status(fail),
            started=started,
            certfile=certfile,
            keyfile=keyfile,
        )
    except ValueError as exc:  # not the name of a rule, not UTF-8, or no certificate
        raise click.UsageError(str(exc)) from None
    except OSError as exc:
        raise click.ClickException(f"cannot listen at {host}, port {port}: {exc.strerror}") from None


def _text(answer: TextIO | None, words: int | None) -> str | None:
    """Return the text of all answers; None for one that is made up for each."""
    if answer is not None:
        return answer.read()
    return None if words is None else " ".join(islice(cycle(_TEXT.split()), words))
