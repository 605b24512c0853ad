"""Bytes of an answer → events, even if the answer is JSON instead of an event stream. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.answer_form import KEPT, Form, form_of, message_in, no_answer, without_blanks
from anthropix_actors._decode.sse import SSEDecoder
from anthropix_actors.chat.accumulate import events_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.errors import APIError


class AnswerDecoder:
    """Decodes an answer as it arrives: feed it bytes, and loop over the events that they complete.

    Args:
        content_type: The content type of the response; empty if it has none. The first bytes are trusted more.
        max_event_bytes: The largest event to accept.

    Attributes:
        form: The form of the answer; None before enough of it has come.

    Example:
        >>> decoder = AnswerDecoder("application/json", max_event_bytes=1 << 20)
        >>> list(decoder.feed(b'{"type": "message", "content": [], "stop_reason": "end_turn", "usage": {}}'))
        []
        >>> [event["type"] for event in decoder.close()]
        ['message_start', 'message_delta', 'message_stop']
    """

    def __init__(self, content_type: str, *, max_event_bytes: int) -> None:
        """Start at the beginning of a body."""
        self.form: Form | None = None
        self._content_type = content_type
        self._stream = SSEDecoder(max_event_bytes=max_event_bytes, lenient=True)
        self._body: list[bytes] = []  # while it is not known to be a stream, or is not one
        self._size = 0

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Return the events whose last byte is in `data`. Loop over all of them before the next call.

        Raises:
            ProtocolError: the body is in another form, or an event is wrong. The events before it were returned.
        """
        if self.form is Form.STREAM:
            return self._stream.feed(data)
        return self._begin(data) if self.form is None else self._keep(data)

    def close(self) -> Iterator[dict[str, Any]]:
        """Return the events that the end of the body completes: all of them, if it is one Message or an error.

        Raises:
            APIError: the body is in another form, empty, or cut.
        """
        if self.form is None:
            yield from self._begin(b"", ended=True)
        if self.form is Form.STREAM:
            yield from self._stream.close()
        elif self.form is Form.JSON:
            said = message_in(b"".join(self._body), self._content_type)
            yield from events_of(said) if said["type"] == "message" else (said,)
        else:
            raise no_answer(b"".join(self._body), self._content_type)

    def cut(self, error: APIError) -> APIError:
        """Return the error for a body that could not be read to its end: if it is in another form, that says more."""
        if self.form is Form.OTHER and self._size:
            return no_answer(b"".join(self._body), self._content_type)
        return error

    def _begin(self, data: bytes, *, ended: bool = False) -> Iterator[dict[str, Any]]:
        head = without_blanks(b"".join((*self._body, data)))
        self._body = [head]
        self.form = form_of(head, self._content_type, ended=ended)
        if self.form is Form.STREAM:
            self._body = []
            yield from self._stream.feed(head)
        elif self.form is Form.OTHER:
            self._body = []
            yield from self._keep(head)

    def _keep(self, data: bytes) -> Iterator[dict[str, Any]]:
        self._body.append(data)
        self._size += len(data)
        if self.form is Form.OTHER and self._size >= KEPT:
            raise no_answer(b"".join(self._body), self._content_type)
        return iter(())
