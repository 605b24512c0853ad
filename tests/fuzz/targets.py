"""The targets by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz.chunked import chunked
from fuzz.lines import lines
from fuzz.resume import resume
from fuzz.stream import raw, structured
from fuzz.whole import whole

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS: dict[str, Callable[[bytes], None]] = {
    "raw": raw,
    "structured": structured,
    "resume": resume,
    "whole": whole,
    "lines": lines,
    "chunked": chunked,
}
"""Name → what takes any bytes, and fails where something does not hold."""
