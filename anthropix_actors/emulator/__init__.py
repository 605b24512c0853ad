"""The Anthropic API on loopback: an offline default, a test kit, and faults on demand.

`Emulator` is the server; the answers that it can give are in `anthropix_actors.emulator.answers`, and the faults that
can happen to an answer in `anthropix_actors.emulator.faults`. Needs the extra `emulator` (starlette, uvicorn and
python-multipart). With pytest, the fixture `anthropix_emulator` needs no import.

Example:
    >>> from anthropix_actors.emulator import Drop, Emulator, Status
    >>> with Emulator() as emulator:
    ...     emulator.queue(Status(529), Drop(after_events=3), "Third time lucky.")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.public_names import publish

if TYPE_CHECKING:
    from anthropix_actors.emulator._script.recordings import recording, recordings
    from anthropix_actors.emulator.answers import Answer, PauseTurn, Raw, Refusal, Reply, Status
    from anthropix_actors.emulator.faults import Cut, Drop, ErrorEvent, Fault, Pace, Reset, Stall
    from anthropix_actors.emulator.limits import Limits
    from anthropix_actors.emulator.records import Headers, Request, Upload
    from anthropix_actors.emulator.reply_parts import AskToUse, Compaction, Thinking, ToolCall
    from anthropix_actors.emulator.rules.table import RULES, Rule
    from anthropix_actors.emulator.scripts.asks import Ask, Result
    from anthropix_actors.emulator.scripts.errors import ScriptError
    from anthropix_actors.emulator.scripts.failures import failures
    from anthropix_actors.emulator.scripts.performance import Conversation, Performance
    from anthropix_actors.emulator.scripts.script import Script, calls, every_tool, lines, scripted
    from anthropix_actors.emulator.server import Emulator
    from anthropix_actors.emulator.serving import serve
    from anthropix_actors.emulator.sessions import Session

__all__ = [
    "RULES",
    "Answer",
    "Ask",
    "AskToUse",
    "Compaction",
    "Conversation",
    "Cut",
    "Drop",
    "Emulator",
    "ErrorEvent",
    "Fault",
    "Headers",
    "Limits",
    "Pace",
    "PauseTurn",
    "Performance",
    "Raw",
    "Refusal",
    "Reply",
    "Request",
    "Reset",
    "Result",
    "Rule",
    "Script",
    "ScriptError",
    "Session",
    "Stall",
    "Status",
    "Thinking",
    "ToolCall",
    "Upload",
    "calls",
    "every_tool",
    "failures",
    "lines",
    "recording",
    "recordings",
    "scripted",
    "serve",
]

_HOMES = {
    "answers": ("Answer", "PauseTurn", "Raw", "Refusal", "Reply", "Status"),
    "faults": ("Cut", "Drop", "ErrorEvent", "Fault", "Pace", "Reset", "Stall"),
    "limits": ("Limits",),
    "reply_parts": ("AskToUse", "Compaction", "Thinking", "ToolCall"),
    "records": ("Headers", "Request", "Upload"),
    "rules": ("RULES", "Rule"),
    "scripts.asks": ("Ask", "Result"),
    "scripts.errors": ("ScriptError",),
    "scripts.failures": ("failures",),
    "scripts.performance": ("Conversation", "Performance"),
    "scripts.script": ("Script", "calls", "every_tool", "lines", "scripted"),
    "server": ("Emulator",),
    "serving": ("serve",),
    "sessions": ("Session",),
    "_script.recordings": ("recording", "recordings"),
}

_MODULES = {name: module for module, names in _HOMES.items() for name in names}

_EXTRA = frozenset({"starlette", "uvicorn", "h11", "python_multipart"})

ADVICE = "pip install python-multipart starlette uvicorn"
"""How to install the extra `emulator`: by its packages, which every index has; this package may be on none."""


def __getattr__(name: str) -> Any:
    """Import on first use: answers and recordings need no extra, only the server does."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        thing = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        raise ImportError(f"the emulator needs {package}: {ADVICE}") from exc
    publish(__name__, (thing,))
    return thing
