"""`ScriptError`: a script of a model does not fit the program that it tests."""

from __future__ import annotations


class ScriptError(Exception):
    """A script raised, ended early, or gave an answer that is none, or none of the API's; or no script took a request.

    The client gets it as a status 500 that is not retried, and the test as the exception that
    `Performance.check` raises, or the end of the emulator's `with` block.
    """
