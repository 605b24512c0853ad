"""Which toolkits are installed, and with which Python; what is missing is a reason to skip a test, or to fail it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

import anthropix_actors

HERE = Path(__file__).parent
SYSTEM = "/usr/bin/python3"


def missing(what: str) -> NoReturn:
    (pytest.fail if os.environ.get("REQUIRE_WINDOWS") else pytest.skip)(f"not installed: {what}")
    raise AssertionError


def path_for(python: str) -> str:
    """Return where a Python finds the package and what it needs."""
    paths = [*{str(Path(anthropix_actors.__file__).parents[1]), str(HERE)}]
    if python != sys.executable:
        paths += [path for path in sys.path if path.endswith("site-packages")]
    return os.pathsep.join(paths)


@functools.cache
def python_with(module: str) -> str | None:
    """Return a Python that has a toolkit: this one, or the system's if it is of the same version."""
    version = f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}"
    for python in (sys.executable, SYSTEM):
        command = [python, "-c", f"{version}; import {module}"]
        environment = {**os.environ, "PYTHONPATH": path_for(python), "COVERAGE_PROCESS_CONFIG": ""}
        if (
            shutil.which(python)
            and not subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode
        ):
            return python
    return None
