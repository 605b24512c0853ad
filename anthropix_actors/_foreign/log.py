"""The logger `anthropix_actors`. A program's handlers, filters and reprs are foreign code: what they raise stays here.

Call `log` without a lock held, and never on the sweeper's thread: a handler may block for ever.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

LOGGER = logging.getLogger("anthropix_actors")

_LONGEST_REPR = 200


def log(level: int, text: str, *args: object, exc_info: BaseException | None = None, **fields: Any) -> None:
    """Write one record; what a handler raises, a SystemExit too, is dropped. A Ctrl-C in the main thread is not.

    Args:
        level: As `logging` has it.
        text: What happened, with `%s` for each of `args`.
        args: What goes into it.
        exc_info: An exception whose traceback goes with it.
        fields: Attributes of the record, for handlers that write structured logs.

    Example:
        >>> log(logging.DEBUG, "sent %s", "POST /v1/messages", tag="night")
    """
    if LOGGER.isEnabledFor(level):
        try:
            LOGGER.log(level, text, *args, exc_info=exc_info, extra=fields)
        except BaseException as exc:  # there is nowhere left to say it, and a chat must not end of it
            if isinstance(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # Ctrl-C


def log_end(what: str, fields: dict[str, Any], error: BaseException | None = None, why: str = "") -> None:
    """Write the record of an end, at INFO.

    Args:
        what: What has ended, for the text.
        fields: Attributes of the record, `state` and `seconds` among them.
        error: What ended it, if an error did.
        why: Why it ended, where there is no error.
    """
    why = why if error is None else f"{type(error).__name__}: {error}"
    text = "%s %s after %.1f s" + (": %s" if why else "%s")
    log(logging.INFO, text, what, fields["state"], fields["seconds"], why, **fields)


def shown(thing: object) -> str:
    """Get the repr of a caller's object, shortened; its type where the repr raises.

    Example:
        >>> shown(["a"])
        "['a']"
    """
    try:
        text = repr(thing)
    except Exception:  # noqa: BLE001 - it is the caller's
        return f"<{type(thing).__name__}, whose repr raises>"
    return text if len(text) <= _LONGEST_REPR else text[: _LONGEST_REPR - 3] + "..."
