"""Starts conversations."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._foreign.interrupts import uninterrupted
from anthropix_actors._tasks.subscriber import subscriber_problems
from anthropix_actors.conversation.actor import ConversationActor
from anthropix_actors.conversation.agent import Agent
from anthropix_actors.conversation.follower import of_one_problems
from anthropix_actors.conversation.inbox import inbox_of, inboxes_of, obey, open_inbox
from anthropix_actors.conversation.recorder import Recorder
from anthropix_actors.conversation.ref import new_ref
from anthropix_actors.conversation.request import RequestTask
from anthropix_actors.conversation.said import checked_history, refused_history
from anthropix_actors.conversation.talk import Talk, begun_by
from anthropix_actors.errors import AnthropixError, ConfigurationError, ParameterError, Problem
from anthropix_actors.stores.beat import LEASE
from anthropix_actors.stores.names import store_problems
from anthropix_actors.tools import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.conversation.budget import Budget
    from anthropix_actors.conversation.core.state import State
    from anthropix_actors.conversation.ref import ConversationRef


class Kept(NamedTuple):
    """Where a conversation is kept, and how it goes on from there: options of `Client.converse`."""

    store: Any = None
    name: Any = None
    resume: bool = True
    take_over: bool = False
    lease: float = LEASE

    def problems(self) -> list[Problem]:
        """Return what is wrong with them."""
        name, lease, problems = self.name, self.lease, []
        if (self.store is None) != (name is None):
            what = f"expected a name in the store, with store= and only with it, got {name!r}"
            problems.append(Problem("id", what))
        elif name is not None:
            try:
                inbox_of(name)
            except ParameterError as exc:
                problems += exc.problems
        if self.store is not None:
            problems += store_problems(self.store, "claim", "append", "post", "read", "read_many", "beat")
        for place, given in (("resume", self.resume), ("take_over", self.take_over)):
            if not isinstance(given, bool):
                problems.append(Problem(place, f"expected True or False, got {given!r}"))
        if isinstance(lease, bool) or not isinstance(lease, int | float) or not 0 < lease < math.inf:
            problems.append(Problem("lease", f"expected seconds above 0, got {lease!r}"))
        return problems


def begin_conversation(  # noqa: PLR0913 - as `Client.converse`
    client: Any,
    agent: Any,
    *,
    stream: Any,
    coalesce: bool,
    history: Any,
    tag: str | None,
    kept: Kept,
) -> ConversationRef:
    """Check the arguments of `Client.converse`, and start the conversation.

    Raises:
        ParameterError: some are wrong; it has all problems.
        ConfigurationError: the client is closed, or draining.
        Held: somebody else runs the conversation.
        StoreError: the store cannot be reached.
    """
    if not isinstance(agent, Agent):
        raise ParameterError([Problem("agent", f"expected an Agent, got {type(agent).__name__}")])
    problems = [] if stream is None else subscriber_problems(stream, "stream") or of_one_problems(stream, "stream")
    if coalesce and not isinstance(stream, pykka.ActorRef):
        problems.append(Problem("coalesce", "expected an ActorRef as stream: only a mailbox can be behind"))
    problems += kept.problems()
    messages: Sequence[Any] = copy_json(checked_history(history), "history", problems)
    core = client._core  # noqa: SLF001 - within the package
    core.registry.check_open()
    core.adopt(agent.tools)
    toolbox = Toolbox(agent.tools)
    hello = {"role": "user", "content": "-"}
    params = {**agent.request(toolbox.wire), "messages": [*messages, hello]}

    def new_chat(params: dict[str, Any], tag: str | None) -> RequestTask:
        task: RequestTask
        task, _ = client._checked_chat({**params, "tag": tag}, stream=False, coalesce=False, kind=RequestTask)  # noqa: SLF001
        return task

    try:
        new_chat(params, tag)  # wrong parameters are refused now, not by the first turn
    except ParameterError as exc:
        problems += [Problem(_of_history(problem.place), problem.text) for problem in exc.problems]
    problems = problems or [*refused_history(messages)]
    if problems:
        raise ParameterError(problems)
    start = partial(start_conversation, core, agent, new_chat, toolbox=toolbox, tag=tag)
    subscribers = [] if stream is None else [(stream, coalesce)]
    if kept.store is None:
        return start(messages=messages, subscribers=subscribers)
    begins = begun_by(agent, toolbox, messages)
    begin = partial(_begin_over_log, kept, start, subscribers, begins, agent.limits.store)
    return uninterrupted(begin, _stop)


def _begin_over_log(
    kept: Kept, start: Callable[..., ConversationRef], subscribers: Sequence[Any], begins: State, patience: float | None
) -> ConversationRef:
    recorder = Recorder(
        kept.store,
        str(kept.name),
        lease=float(kept.lease),
        take_over=kept.take_over,
        begins=begins,
        patience=patience,
    )
    return _go_on(recorder, start, subscribers, resume=kept.resume)


def _stop(ref: ConversationRef) -> None:
    ref.stop(block=False)


def _go_on(
    recorder: Recorder, start: Callable[..., ConversationRef], subscribers: Sequence[Any], *, resume: bool
) -> ConversationRef:
    """Start a conversation over a log, where that ends; then have it obey what was posted for it, and what will be."""
    store, name, past = recorder.store, recorder.name, recorder.past
    try:
        posted = open_inbox(store, name, past.inbox)
        ref = start(messages=past.state.messages, subscribers=subscribers, recorder=recorder)
    except BaseException:
        recorder.close()
        raise
    started: Any = ref
    talk: Talk = started._talk  # noqa: SLF001 - within the package
    if not recorder.is_new:
        talk.load(past, go_on=resume)
    for entry in posted:
        obey(talk, entry, late=True)
    cursors = [entry.cursor for entry in posted]
    inboxes_of(store).follow(name, talk, cursors[-1] if cursors else past.inbox, cursors)
    return ref


def _of_history(place: str) -> str:
    return place.replace("messages", "history", 1) if place.startswith("messages") else place


def start_conversation(  # noqa: PLR0913 - the parts of one
    core: ClientCore,
    agent: Agent,
    new_chat: Callable[[dict[str, Any], str | None], RequestTask],
    *,
    toolbox: Toolbox | None = None,
    messages: Sequence[Mapping[str, Any]] = (),
    tag: str | None = None,
    parent: Budget | None = None,
    above: Talk | None = None,
    subscribers: Sequence[tuple[Subscriber, bool]] = (),
    recorder: Recorder | None = None,
) -> ConversationRef:
    """Start the actor of a conversation, and return its ref. What it is made of was checked.

    Args:
        core: The parts of the client.
        agent: The recipe.
        new_chat: Makes the task of a request.
        toolbox: The agent's tools; by default, those that it has now, which may have to be asked for.
        messages: The history to go on from.
        tag: The tag of its turns and chats.
        parent: The budget of the turn that it works for; None if it works for nobody.
        above: The conversation of that turn.
        subscribers: Those who follow each turn, with whether their deltas are merged.
        recorder: Writes it into a log, or None.

    Raises:
        ConfigurationError: the client is closed, or draining.
        AnthropixError: its thread could not be started.
    """
    talk = Talk(
        core,
        agent,
        Toolbox(agent.tools) if toolbox is None else toolbox,
        new_chat,
        start_conversation,
        messages=messages,
        tag=tag,
        parent=parent,
        above=above,
    )
    talk.subscribers, talk.recorder = tuple(subscribers), recorder
    try:
        ConversationActor.start(talk)
    except RuntimeError as exc:  # no more threads, or the interpreter exits
        pykka.ActorRegistry.unregister(talk.actor)
        talk.actor.actor_stopped.set()  # else `stop_all()` would wait for it
        raise AnthropixError(f"no thread for another conversation: {exc}") from exc
    core.closers.add(talk)
    try:
        core.registry.check_open()  # last: a later `close` finds this conversation
    except ConfigurationError:
        talk.close()
        raise
    return new_ref(talk)
