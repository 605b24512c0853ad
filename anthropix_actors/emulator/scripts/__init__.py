"""A model for tests, as a script: what it answers, and what that depends on."""

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.emulator.scripts.asks import Ask, Result
from anthropix_actors.emulator.scripts.errors import ScriptError
from anthropix_actors.emulator.scripts.failures import failures
from anthropix_actors.emulator.scripts.performance import Conversation, Performance
from anthropix_actors.emulator.scripts.script import Script, calls, every_tool, lines, scripted

__all__ = [
    "Ask",
    "Conversation",
    "Performance",
    "Result",
    "Script",
    "ScriptError",
    "calls",
    "every_tool",
    "failures",
    "lines",
    "scripted",
]

publish(__name__, map(globals().get, __all__))
