"""Fuzz one target: `python -m fuzz TARGET [options and folders of libFuzzer]`. See README.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource] # an extra of its own

engine: Any = atheris  # what type checkers know of it is incomplete

with engine.instrument_imports(include=["anthropix_actors", "sseclient"]):
    from fuzz.targets import TARGETS

if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
    sys.exit(f"which target? One of: {', '.join(TARGETS)}")
_, name, *arguments = sys.argv
command = f"{sys.executable} {'-P ' * sys.flags.safe_path}-m fuzz {name}"  # which it calls itself by, to merge
dictionary = f"-dict={Path(__file__).with_name('words.dict')}"
engine.Setup([command, "-max_len=2048", dictionary, *arguments], TARGETS[name])
engine.Fuzz()
