"""A method for each thing that happens in what is followed, so that nobody has to match messages.

Only the methods that a class overrides cost anything: for others, an event is not looked at. Private names begin with
`_anthropix_`, as the classes are those of programs, which have attributes of their own.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.handler_methods import check_methods, warn_of_misnamed
from anthropix_actors._foreign.on_first_use import MadeOnce
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.unheard import log_unheard
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.messages import ChatEvent
from anthropix_actors.chat.pieces import PieceReader
from anthropix_actors.subscribers.calls import CALLS, ENDS, OF_EVENTS, key_of
from anthropix_actors.subscribers.told import whole_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import ContentBlock, Message
    from anthropix_actors._wire.resources import BatchOutcome, RequestCounts
    from anthropix_actors.batches.messages import BatchResult
    from anthropix_actors.batches.ref import BatchRef
    from anthropix_actors.conversation.messages import Approval, ToolUse
    from anthropix_actors.conversation.turn_ref import TurnRef
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.sessions.messages import SessionToolMessage
    from anthropix_actors.sessions.ref import SessionRef


class Handlers:
    """A method for each thing that happens in chats, turns, batches and sessions. Override those that you need.

    A `Listener` calls them as an actor; the subscribers for windows take an object of such a class as handler, and call
    them in the thread that draws. Of each chat, turn, batch and session, exactly one of the last methods of its kind is
    called, and it is the last. Any number may be followed.

    A turn of a conversation calls the methods of a chat, with its `TurnRef` in place of the chat, for all its answers,
    and some of its own. So what is kept by ref has the whole turn, up to its end.

    Raises:
        TypeError: when a subclass is made with an `async def` or a `yield` in these methods, or with other arguments;
            or beside a class with such a method of its own, as those of Textual have. A name that is nearly one of
            these, or another library's word for it, is a `UserWarning`.

    Example:
        >>> from anthropix_actors import ChatEvent
        >>> class Shouts(Handlers):
        ...     def on_text(self, chat, text):
        ...         print(text.upper())
        >>> delta = {"type": "text_delta", "text": "Hello"}
        >>> Shouts().handle(ChatEvent(None, {"type": "content_block_delta", "index": 0, "delta": delta}))
        HELLO
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse methods that nobody would await, or that cannot be called; warn of names that are nearly theirs."""
        super().__init_subclass__(**options)
        check_methods(cls, Handlers, METHODS)
        warn_of_misnamed(cls, METHODS)

    def handle(self, message: Any) -> Any:
        """Call the method for a message. In the thread that handles."""
        if type(message) is ChatEvent:
            return self._anthropix_handle_all((message,))
        found = CALLS.get(type(message))
        if found is None:
            return self.on_message(message)
        name, arguments = found
        ref, *rest = arguments(message)
        if name in ENDS:
            self._anthropix_readers.pop(key_of(ref), None)  # the ref may live on, and is not to keep the answer twice
        return getattr(self, name)(whole_of(ref), *rest)

    def _anthropix_handle_all(self, messages: Iterable[Any]) -> None:
        """Handle messages, as `handle` does one. In one loop, as this is where the time of a long answer goes."""
        names = self._anthropix_overridden
        has_events, has_blocks = "on_event" in names, "on_block" in names
        on_text = self.on_text if TEXT in names else None
        chat = ref = None
        for message in messages:
            if type(message) is not ChatEvent:
                self.handle(message)
                continue
            if message.chat is not chat:
                chat = message.chat
                ref = whole_of(chat)
            event = message.data
            if has_events:
                self.on_event(ref, event)
            delta = event.get("delta") if event.get("type") == "content_block_delta" else None
            if type(delta) is dict and delta.get("type") == TEXT and type(text := delta.get("text")) is str:
                if text and on_text is not None:  # as below, but without a call: most of an answer is text
                    on_text(ref, text)
            elif (found := grown(event)) is not None and (name := names.get(found[0])) is not None:
                getattr(self, name)(ref, found[1])
            if has_blocks:
                self._anthropix_on_blocks(ref, event)

    def _anthropix_on_blocks(self, ref: Any, event: Event) -> None:
        if event["type"] == "message_start":  # of the next answer of a turn, too
            self._anthropix_readers[key_of(ref)] = PieceReader()
        reader = self._anthropix_readers.get(key_of(ref))
        for piece in reader.blocks(event) if reader is not None else ():
            self.on_block(ref, piece.block)

    @MadeOnce
    def _anthropix_overridden(self) -> dict[str, str]:
        """The names of the methods for events that are not the empty ones below, by what they are called for."""
        return {what: name for what, name in OF_EVENTS.items() if not self._anthropix_is_empty(name)}

    def _anthropix_is_empty(self, name: str) -> bool:
        return getattr(getattr(self, name), "__func__", None) is getattr(Handlers, name)

    @MadeOnce
    def _anthropix_readers(self) -> weakref.WeakKeyDictionary[Any, PieceReader]:
        """What makes the blocks of a chat complete; forgotten with the chat, as not all of them end in here."""
        return weakref.WeakKeyDictionary()

    def _anthropix_on_resumed(self, ref: Any, attempt: int, kept: int) -> None:
        reader = self._anthropix_readers.get(key_of(ref))
        if reader is not None:
            reader.resume_from(kept)
        self.on_resumed(ref, attempt, kept)

    def _anthropix_on_answer(self, turn: TurnRef, message: Message, path: tuple[str, ...]) -> None:
        if path:
            self.on_sub_answer(turn, path, message)
        else:
            self.on_answer(turn, message)

    def _anthropix_on_batch_result(self, batch: BatchRef, message: BatchResult) -> None:
        if self._anthropix_takes_lists:  # not in `on_batch_result`: a `super().on_batch_results` would not end
            self.on_batch_results(batch, [message])
        else:
            self.on_batch_result(batch, message.custom_id, message.result)

    @MadeOnce
    def _anthropix_takes_lists(self) -> bool:
        return self._anthropix_is_empty("on_batch_result") and not self._anthropix_is_empty("on_batch_results")

    def on_message(self, message: Any) -> Any:
        """Take a message of your own program."""

    # Chats and turns: `Any`, and no name for type checkers, as who overrides these may say `turn: TurnRef`

    def on_text(self, chat: Any, /, text: str) -> None:
        """The text of the answer goes on with this piece, which is never empty."""

    def on_thinking(self, chat: Any, /, text: str) -> None:
        """What the model thinks before it answers goes on with this piece."""

    def on_tool_input(self, chat: Any, /, json_piece: str) -> None:
        """The input of a tool call goes on with this piece of JSON. The whole call comes in `on_block`."""

    def on_block(self, chat: Any, /, block: ContentBlock) -> None:
        """A content block is complete, of whatever type: as it is in the Message, and a copy of yours."""

    def on_event(self, chat: Any, /, event: Event) -> None:
        """An event of the API, as on the wire; before the methods above are called for it. Do not change it."""

    def on_retrying(self, chat: Any, /, attempt: int, delay: float, error: AnthropixError) -> None:
        """An attempt failed before any content; the next one follows after `delay` seconds."""

    def on_resumed(self, chat: Any, /, attempt: int, kept: int) -> None:
        """A cut answer goes on; all but its first `kept` blocks are void. Only with `resume=True`."""

    def on_done(self, chat: Any, /, message: Message) -> None:
        """The answer is complete. `chat.output()` is the value, where one was asked for. The last call of this chat.

        Of a turn, it is the last answer; None if a limit was reached before there was one.
        """

    def on_failed(self, chat: Any, /, error: AnthropixError) -> None:
        """There will be no complete answer; `error.partial` is what there is. The last call of this chat.

        Without this method, the failure is logged as a WARNING, unless a caller waits for the result.
        """
        log_unheard(chat, error, f"{type(self).__name__} has no on_failed")

    def on_cancelled(self, chat: Any, /, reason: str, partial: Message | None) -> None:
        """The chat was cancelled; `partial` is what there is of the answer. The last call of this chat."""

    # Turns

    def on_answer(self, turn: TurnRef, message: Message) -> None:
        """An answer is whole. If it has calls of tools, these come next, and then another answer."""

    def on_sub_answer(self, turn: TurnRef, path: tuple[str, ...], message: Message) -> None:
        """An answer of a sub-agent is whole; its calls and approvals call the methods below."""

    def on_tool_started(self, turn: TurnRef, call: ToolUse) -> None:
        """A call of a tool was started."""

    def on_tool_progress(self, turn: TurnRef, call: ToolUse, data: Any) -> None:
        """A tool passed this to `call.progress`."""

    def on_tool_done(
        self,
        turn: TurnRef,
        call: ToolUse,
        result: str | list[Mapping[str, Any]],
        is_error: bool,  # noqa: FBT001
    ) -> None:
        """A call has a result: what the model is told."""

    def on_approval(self, turn: TurnRef, approval: Approval) -> None:
        """A call waits until somebody approves or denies it, with `answer` of the conversation."""

    def on_approval_given(self, turn: TurnRef, approval: Approval, allow: bool, by: str | None) -> None:  # noqa: FBT001
        """A call was approved or denied, by whom `answer` names."""

    def on_steered(self, turn: TurnRef, content: list[Mapping[str, Any]]) -> None:
        """What was said in the middle of the turn has reached the model."""

    def on_compacted(self, turn: TurnRef, before: int, after: int) -> None:
        """A summary of `after` tokens is in the place of `before` ones."""

    def on_limit(self, turn: TurnRef, limit: str) -> None:
        """A limit of the agent was reached: "requests", "tokens" or "seconds"."""

    def on_suspended(self, turn: TurnRef, approvals: tuple[Approval, ...]) -> None:
        """The conversation was stopped while the turn waited for these. The last call of this turn."""

    # Batches

    def on_batch_progress(self, batch: BatchRef, counts: RequestCounts) -> None:
        """A batch was created, or the counts of its requests changed."""

    def on_batch_result(self, batch: BatchRef, custom_id: str, result: BatchOutcome) -> None:
        """The result of one request; `result["type"]` says how it went.

        Without this method, `on_batch_results` is called with a list of one.
        """

    def on_batch_results(self, batch: BatchRef, results: Sequence[BatchResult]) -> None:
        """With `as_lists=True`: results that arrived together.

        Without this method, `on_batch_result` is called with each.
        """
        for each in results:
            self.on_batch_result(batch, each.custom_id, each.result)

    def on_batch_retrying(self, batch: BatchRef, attempt: int, delay: float, error: AnthropixError) -> None:
        """A request about the batch failed; it is sent again after `delay` seconds."""

    def on_batch_done(self, batch: BatchRef, counts: RequestCounts) -> None:
        """All results were told. The last call of this batch."""

    def on_batch_failed(  # what is logged has the first of them
        self,
        batch: BatchRef,
        error: AnthropixError,
        failures: dict[str, AnthropixError],  # noqa: ARG002
    ) -> None:
        """No more results follow; `failures` has the error of each batch that failed. The last call of this batch.

        Without this method, it is logged, as a chat's failure is.
        """
        log_unheard(batch, error, f"{type(self).__name__} has no on_batch_failed")

    def on_batch_cancelled(self, batch: BatchRef, reason: str, error: AnthropixError | None) -> None:
        """It was cancelled; `error` says why that may not have worked at the API. The last call of this batch."""

    # Sessions

    def on_session_event(self, session: SessionRef, event: dict[str, Any]) -> None:
        """An event of the session, as on the wire."""

    def on_session_retrying(self, session: SessionRef, attempt: int, delay: float, error: AnthropixError) -> None:
        """The connection was lost; it is opened again after `delay` seconds, and missed events follow."""

    def on_session_tool(self, session: SessionRef, message: SessionToolMessage) -> None:
        """A tool has been started, is on its way or is done; or an approval is needed, or was given."""

    def on_session_done(self, session: SessionRef, event: dict[str, Any]) -> None:
        """The session has ended, with this event. The last call of this session."""

    def on_session_failed(self, session: SessionRef, error: AnthropixError) -> None:
        """The session cannot be followed any longer. The last call of this session.

        Without this method, it is logged, as a chat's failure is.
        """
        log_unheard(session, error, f"{type(self).__name__} has no on_session_failed")

    def on_session_cancelled(self, session: SessionRef, reason: str) -> None:
        """It is not followed any longer; the session itself goes on. The last call of this session."""


METHODS = frozenset({"handle", *(name for name in vars(Handlers) if name.startswith("on_"))})


publish("anthropix_actors.subscribers", (Handlers,))
