"""`Session`, which `Emulator.session` returns: a session's events and the streams that follow them.

Events come from clients that send some, and from the test: one by one, with `Session.add`, or from a script that plays
the agent, with `Session.play`. The session knows the calls that wait for an answer, and refuses what the API refuses.

Source: https://docs.claude.com/en/api/beta/sessions/events, read 2026-11-23.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model import events as _events
from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator._model.session_actions import ANSWERS, SessionActions
from anthropix_actors.emulator._script.steps import Hangup
from anthropix_actors.emulator.scripts.session_play import END_TURN, RUNNING, SessionPlay

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from anthropix_actors.emulator._model.ids import Ids
    from anthropix_actors.emulator._script.live_stream import LiveStream
    from anthropix_actors.emulator.scripts.script import Script

_PREVIEWS = frozenset({"event_start", "event_delta"})

_SPOKEN = frozenset({"user.message", "user.define_outcome"})
"""The types of events that an idle agent begins to work at."""

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
        self._actions = SessionActions()
        self._play: SessionPlay | None = None
        self._unheard: list[dict[str, Any]] = []

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

    @property
    def waiting(self) -> list[str]:
        """The ids of the calls that wait for an answer of a client: custom tools, and permissions."""
        with self._changed:
            return list(self._actions.waiting)

    def require_action(self) -> dict[str, Any]:
        """Add the event by which the session says that it is idle, and which calls wait for an answer.

        Returns:
            The event.

        Example:
            >>> from anthropix_actors.emulator import Emulator
            >>> session = Emulator().session("sesn_1")
            >>> use = session.add({"type": "agent.custom_tool_use", "name": "add", "input": {"a": 1}, "id": "sevt_1"})
            >>> session.require_action()["stop_reason"]
            {'type': 'requires_action', 'event_ids': ['sevt_1']}
        """
        with self._changed:
            stop = {"type": "requires_action", "event_ids": list(self._actions.waiting)}
            return self.add({"type": "session.status_idle", "stop_reason": stop})[0]

    def play(self, script: Script) -> None:
        """Let a script be the agent of this session: it is asked at each message, and when all calls are answered.

        It yields a text, which is an `agent.message`, or a `Reply` or `calls` of several parts: a `ToolCall` calls a
        custom tool, `AskToUse` asks for permission, `Thinking` shows that it thinks, and a mapping is an event as on
        the wire. Its `ask.results` are the results of custom tools, and permissions.

        Args:
            script: The script; of its conditions, none counts.

        Example:
            >>> from anthropix_actors.emulator import Emulator, calls, lines
            >>> Emulator().session("sesn_1").play(lines(calls(add={"a": 1, "b": 2}), "Three."))
        """
        self._play = SessionPlay(script, self._new_id)

    def check(self) -> None:
        """Raise what went wrong with the script.

        Raises:
            ScriptError: it raised, ended early, or yielded what no agent of a session does.
        """
        if self._play is not None and self._play.failure is not None:
            raise self._play.failure

    def receive(self, sent: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take the events that a client sends, all or none, and let the agent go on. Called in the event loop.

        Raises:
            RefusedError: one of them is refused.
        """
        with self._changed:
            tried, waited = self._actions.copy(), bool(self._actions.waiting)
            for place, event in enumerate(sent):
                tried.check(event, place)
                tried.note(event)
            added = self.add(*sent)
            answered = waited and any(event["type"] in ANSWERS for event in sent)
            spoken = any(event["type"] in _SPOKEN for event in sent)
            interrupted = waited and not answered and not spoken
            self._unheard += added
            if self._actions.waiting:  # some are answered: anything else is refused while it waits
                self.require_action()
                return added
            if answered or (spoken and self._play is not None):
                self.add(RUNNING)
            elif interrupted:
                self.add(END_TURN)
        if self._play is not None and (answered or spoken):
            self._let_play(self._play)
        return added

    def _let_play(self, play: SessionPlay) -> None:
        heard, self._unheard = self._unheard, []
        for event in play.events(heard):
            self.add(event)
        if play.failure is None:
            if self.waiting:
                self.require_action()
            else:
                self.add(END_TURN)

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

    def wait_for_events(self, kind: str, count: int = 1, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until there are `count` events of a type.

        Returns:
            All events of that type so far.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds.
        """

        def found() -> list[dict[str, Any]]:
            return [event for event in self._events if event["type"] == kind]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                raise TimeoutError(f"{len(found())} of {count} events of type {kind} after {timeout:g} s")
            return found()

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
        return {"id": self._new_id(), "processed_at": now, **event}

    def _new_id(self) -> str:
        with self._changed:
            return self._ids.new("sevt_01")

    def _publish(self, event: dict[str, Any]) -> None:
        preview = event["type"] in _PREVIEWS
        kind = self._previewed_type(event) if preview else ""
        if not preview:
            self._events.append(event)
            self._actions.note(event)
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
