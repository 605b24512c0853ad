"""Recorded answers that come with the package."""

from __future__ import annotations

from importlib.resources import files

_FOLDER = files("anthropix_actors.emulator") / "recordings"
_SUFFIX = ".sse"


def recordings() -> list[str]:
    """Return the names of the recordings.

    Example:
        >>> recordings()
        ['actors', 'weather']
    """
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in _FOLDER.iterdir() if entry.name.endswith(_SUFFIX))


def recording(name: str) -> bytes:
    """Return one recording: an event stream in the API's own bytes, to be queued unchanged.

    Args:
        name: `actors` is a text about actors and streams; `weather` thinks, speaks and calls a tool.

    Raises:
        KeyError: there is no recording of that name; the text lists the names.

    Example:
        >>> recording("actors")[:20]
        b'event: message_start'
    """
    if name not in recordings():
        raise KeyError(f"no recording {name!r}; there are {', '.join(recordings())}")
    return (_FOLDER / (name + _SUFFIX)).read_bytes()
