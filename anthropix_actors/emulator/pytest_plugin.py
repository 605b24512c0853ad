"""Where the fixture `anthropix_emulator` was before it became a module of its own, for those who name this one."""

from pytest_anthropix_actors import anthropix_emulator

__all__ = ["anthropix_emulator"]
