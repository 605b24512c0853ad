"""Runs tests with one module changed before anything is imported."""

from __future__ import annotations

import sys

import pytest

from mutants.run import Changed


def main() -> int:
    module, number, root, *tests = sys.argv[1:]
    sys.meta_path.insert(0, Changed(module, int(number)))
    return int(pytest.main([f"--rootdir={root}", "-q", "-x", "-p", "no:cacheprovider", *tests]))


if __name__ == "__main__":
    sys.exit(main())
