"""The logger `anthropix_actors`. A program's handlers, filters and reprs are foreign code: their exceptions stay here.

Call `log` without a lock held, and never on the sweeper's thread: a handler may block for ever.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.raised import for_log, is_a, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGER = logging.getLogger("anthropix_actors")

_LONGEST_REPR = 200
_LONGEST_TAG = 80


def log(level: int, text: str, *args: object, exc_info: BaseException | None = None, **fields: Any) -> None:
    """Write one record; a handler's exception, even a SystemExit, is dropped. A Ctrl-C in the main thread is not.

    Args:
        level: A level of `logging`.
        text: The message, with `%s` for each of `args`.
        args: The values for `text`.
        exc_info: An exception whose traceback is added.
        fields: Attributes of the record, for handlers that write structured logs.

    Example:
        >>> log(logging.DEBUG, "sent %s", "POST /v1/messages", tag="night")
    """
    if LOGGER.isEnabledFor(level):
        try:
            LOGGER.log(level, text, *args, exc_info=for_log(exc_info), extra=fields)
        except BaseException as exc:  # there is nowhere left to report it, and it must not end a chat
            if is_a(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # Ctrl-C


def safely(what: str, function: Callable[..., object] | None, *args: object) -> None:
    """Call a caller's function, if there is one; what it raises is logged. A Ctrl-C in the main thread is raised, too.

    Args:
        what: The name of the function, for the log.
        function: The function.
        args: What it is called with.

    Example:
        >>> safely("on_progress", print, "one half")
        one half
    """
    if function is None:
        return
    try:
        function(*args)
    except BaseException as exc:
        log(logging.ERROR, "%s raised", what, exc_info=exc)
        if is_a(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # Ctrl-C


def log_end(what: str, fields: dict[str, Any], error: BaseException | None = None, why: str = "") -> None:
    """Write the record of the end of a task or call, at INFO.

    Args:
        what: The name of the task or call, for the text.
        fields: Attributes of the record, including `state` and `seconds`; a `tag` is in its text, too.
        error: The error that ended it, if any.
        why: The reason, if there is no error.
    """
    why = why if error is None else f"{type(error).__name__}: {error}"
    text = "%s %s after %.1f s" + (": %s" if why else "%s")
    log(logging.INFO, text, named(what, fields.get("tag")), fields["state"], fields["seconds"], why, **fields)


def log_retry(fields: dict[str, Any], error: BaseException) -> None:
    """Write the record of a retry, at INFO.

    Args:
        fields: Attributes of the record, including `delay`; a `tag` is in its text, too.
        error: Why the attempt failed.
    """
    work = named(fields.get("work", "it"), fields.get("tag"))
    text = "%s is sent again in %.1f s, after %s: %s"
    log(logging.INFO, text, work, fields["delay"], type(error).__name__, error, **fields)


def named(what: str, tag: str | None) -> str:
    """Return what a task is, with its tag, shortened, if it has one.

    Example:
        >>> named("chat", "night-7"), named("chat", None)
        ("chat 'night-7'", 'chat')
    """
    return what if tag is None else f"{what} {shown(tag, _LONGEST_TAG)}"


def shown(thing: object, longest: int = _LONGEST_REPR) -> str:
    """Return the repr of a caller's object, shortened; its type if the repr raises.

    Example:
        >>> shown(["a"])
        "['a']"
    """
    try:
        text = repr(thing)
    except BaseException:  # noqa: BLE001 - the caller's code may raise anything
        return f"<{kind_of(thing)}, whose repr raises>"
    return text if len(text) <= longest else text[: longest - 3] + "..."
