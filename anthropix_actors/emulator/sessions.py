"""`Session`, which `Emulator.session` returns: a session's events and the streams that follow them.

No agent works in these sessions. Events come from the test, with `Session.add`, and from clients that send some.

Source: https://docs.claude.com/en/api/beta/sessions/events, read 2026-11-23.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model import events as _events
from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator._script.steps import Hangup

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from anthropix_actors.emulator._model.ids import Ids
    from anthropix_actors.emulator._script.live_stream import LiveStream

_PREVIEWS = frozenset({"event_start", "event_delta"})

_WITH_DELTAS = "agent.message"
"""The only type of event whose previews have deltas."""


class Session:
    """The events of a session, or of a thread in it, and the streams that are open on it. Safe from any thread.

    Made by `Emulator.session`.

    Args:
        changed: Its lock; notified at each change.
        ids: Makes new ids.

    Example:
        >>> from anthropix_actors.emulator import Emulator
        >>> session = Emulator().session("sesn_1")
        >>> event = session.add({"type": "agent.message", "content": [{"type": "text", "text": "Done."}]})[0]
        >>> event["id"][:5], session.streams
        ('sevt_', 0)
    """

    def __init__(self, changed: threading.Condition, ids: Ids) -> None:
        """Start without events."""
        self._changed = changed
        self._ids = ids
        self._events: list[dict[str, Any]] = []
        self._previewed: dict[str, str] = {}
        self._streams: list[LiveStream] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events so far, in order, including those that clients sent; without previews."""
        with self._changed:
            return list(self._events)

    @property
    def streams(self) -> int:
        """The number of open streams."""
        with self._changed:
            return len(self._streams)

    def add(self, *events: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Add events: open streams get them now, and lists have them from now on.

        The previews `event_start` and `event_delta` are sent to the streams that asked for them, and never listed.

        Args:
            *events: Events as on the wire; a missing `id` or `processed_at` is made up.

        Returns:
            The events as they are sent.

        Raises:
            ValueError: an event has no type.
            TypeError: an event is not JSON.
        """
        for event in events:
            if not isinstance(event.get("type"), str):
                raise ValueError(f"an event needs a type: {event!r}")  # noqa: TRY004 - a key of a mapping is a value
            _events.encode(event)
        with self._changed:
            added = [self._completed(event) for event in events]
            for event in added:
                self._publish(event)
            self._changed.notify_all()
        return added

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection of each open stream, after the events so far, so that clients have to reconnect.

        When this returns, they no longer count as open.

        Args:
            reset: Reset the connections instead.
        """
        with self._changed:
            for stream in self._streams:
                stream.put(Hangup(reset))
            self._streams.clear()
            self._changed.notify_all()

    def wait_for_streams(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until exactly `count` streams are open.

        Raises:
            TimeoutError: there are more or fewer after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._streams) == count, timeout):
                raise TimeoutError(f"{len(self._streams)} streams, not {count}, after {timeout:g} s")

    def opened(self, stream: LiveStream) -> None:
        """Send a stream the events from now on. Called in the event loop, when a client has connected."""
        with self._changed:
            self._streams.append(stream)
            self._changed.notify_all()

    def closed(self, stream: LiveStream) -> None:
        """Send a stream no more events. Called in the event loop, when its response has ended."""
        with self._changed:
            if stream in self._streams:
                self._streams.remove(stream)
                self._changed.notify_all()

    def _completed(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if event["type"] in _PREVIEWS:
            return dict(event)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        return {"id": self._ids.new("sevt_01"), "processed_at": now, **event}

    def _publish(self, event: dict[str, Any]) -> None:
        preview = event["type"] in _PREVIEWS
        kind = self._previewed_type(event) if preview else ""
        if not preview:
            self._events.append(event)
        encoded = _events.encode(event)
        for stream in self._streams:
            if not preview or kind in stream.previews:
                stream.put(encoded)

    def _previewed_type(self, preview: Mapping[str, Any]) -> str:
        """Return the type of the event that a preview belongs to."""
        event = preview.get("event")
        if is_object(event):
            return self._previewed.setdefault(str(event.get("id")), str(event.get("type")))
        return self._previewed.get(str(preview.get("event_id")), _WITH_DELTAS)
