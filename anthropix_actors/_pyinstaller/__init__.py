"""Tells PyInstaller what a frozen program needs of this package beside its modules.

PyInstaller finds this by the entry point `pyinstaller40`, wherever the package is installed.

Source: https://pyinstaller.org/en/stable/hooks.html, "Providing PyInstaller Hooks with your Package", read 2026-11-26.
"""

from __future__ import annotations

from pathlib import Path


def hook_dirs() -> list[str]:
    """Return the folders that have hooks.

    Example:
        >>> [Path(folder).name for folder in hook_dirs()]
        ['_pyinstaller']
    """
    return [str(Path(__file__).parent)]
