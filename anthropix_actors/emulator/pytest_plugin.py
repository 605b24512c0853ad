"""The former home of the fixture `anthropix_emulator`, now `pytest_anthropix_actors`; kept for imports of this name."""

from pytest_anthropix_actors import anthropix_emulator

__all__ = ["anthropix_emulator"]
