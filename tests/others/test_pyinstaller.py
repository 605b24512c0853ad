"""A frozen program has all it needs, the emulator's recordings too. `make compat` installs PyInstaller for it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from anthropix_actors._pyinstaller import hook_dirs

PATIENCE = 300.0

PROGRAM = """
from anthropix_actors import Client
from anthropix_actors.emulator import Emulator, recording, recordings

with Emulator() as emulator, Client("any", base_url=emulator.url) as client:
    for name in recordings():
        emulator.queue(recording(name))
        client.chat(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hi"}])
        print(name)
"""


def test_the_hooks_are_there() -> None:
    (folder,) = map(Path, hook_dirs())
    assert (folder / "hook-anthropix_actors.emulator.py").exists()


@pytest.mark.compat
@pytest.mark.skipif(importlib.util.find_spec("PyInstaller") is None, reason="PyInstaller is not installed")
def test_a_frozen_program_has_the_recordings(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "PyInstaller", "--log-level=ERROR", "--noconfirm", "--onedir", str(program)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=PATIENCE)
    done = subprocess.run(
        [str(tmp_path / "dist" / "program" / "program")],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout.split(), done.returncode) == (["actors", "weather"], 0), done.stderr
