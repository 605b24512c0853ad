"""The `anthropix` command: `anthropix demo`, `anthropix emulator` and `anthropix endpoints`. Needs the extra `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; without the extra, say how to install it."""
    try:
        from anthropix_actors.cli._commands import anthropix  # noqa: PLC0415 - the extra is imported on use
    except ModuleNotFoundError as exc:
        if exc.name != "click":
            raise
        sys.exit("The anthropix command needs click: pip install click python-multipart starlette uvicorn")
    anthropix()
