"""The task that serves a session, and its actor: follows the session, and has its calls answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.shapes import shown
from anthropix_actors._checks.subscriber_hints import no_subscriber
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.errors import Problem
from anthropix_actors.sessions.actor import SessionActor
from anthropix_actors.sessions.call_server import CallServer
from anthropix_actors.sessions.messages import SessionDone, SessionEvent
from anthropix_actors.sessions.open_calls import OpenCalls
from anthropix_actors.sessions.task import SessionTask
from anthropix_actors.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.sessions.follower import Follower
    from anthropix_actors.tools.call import Call


class ServeTask(SessionTask):
    """The state of serving one session."""

    def __init__(  # noqa: PLR0913 - its parts, by name
        self,
        core: ClientCore,
        follower: Follower,
        timeout: Any,
        tag: str | None,
        *,
        tools: Toolbox,
        approver: Subscriber | None,
        at_once: int,
        request: Callable[[Mapping[str, Any]], Request],
    ) -> None:
        """Hold the parts; nothing is followed yet."""
        super().__init__(core, follower, timeout, tag)
        self.calls = OpenCalls()
        self._ending = self._tells = False
        self.server = CallServer(
            core, tools=tools, approver=approver, at_once=at_once, request=request, tell=self.tell_beside
        )

    def tell_beside(self, make: Callable[[Any], Any]) -> None:
        """Tell the subscribers a message, until the end is decided. From any thread, which runs none of their code.

        Args:
            make: Returns the message, given the ref.
        """
        message = make(self.ref)
        with self.lock:
            if self.terminal is not None:
                return
            for delivery in self.audience.deliveries:
                delivery.put(message)
            if self._ending or self._tells:  # the thread that tells the end, or what came before, tells this as well
                return
            self._tells = True
        if not in_background(self._tell_all, "anthropix-told"):
            self._tell_all()

    def _tell_all(self) -> None:
        while self._are_held_up():
            for delivery in self.audience.deliveries:
                self.audience.drain(delivery)

    def _are_held_up(self) -> bool:
        """Whether there is something to tell; if not, this thread tells no more."""
        with self.lock:
            self._tells = held_up = any(delivery.is_held_up for delivery in self.audience.deliveries)
        return held_up

    def end_calls(self, reason: str) -> None:
        """End the tools and approvals that run. Any thread."""
        self._ending = True
        self.server.end(reason)

    def cancel(self, reason: str) -> bool:
        """End the tools, then the task, so that the end is told last."""
        if self.terminal is None:
            self.end_calls(reason)
        return super().cancel(reason)

    def after_fork(self) -> None:
        """End it in a forked child."""
        self.server.after_fork()
        super().after_fork()


class ServeActor(SessionActor):
    """Follows a session, and has its calls answered."""

    _task: ServeTask

    def run(self) -> None:
        """Serve until the session ends, in the actor's thread."""
        task = self._task
        known: set[Any] = set()
        for past in task.follower.history(task.requester, self._retrying):
            task.calls.note(past)
            known.add(past["id"])
        last: dict[str, Any] = {}
        task.server.update(task.calls.waiting)
        for event in task.follower.events(task.requester, self._retrying):
            if event is not None:
                task.audience.tell(SessionEvent(task.ref, event))
                last = event
                if event.get("id") not in known:  # some are told once more, if the caller asked for what was before
                    task.calls.note(event)
                    task.server.update(task.calls.waiting)
        task.end_calls("the session has ended")
        task.scope.commit()
        task.finish(SessionDone(task.ref, last))

    def on_error(self) -> None:
        """End the calls, before the end is told."""
        cause = self._task.scope.cause
        self._task.end_calls("no longer served" if cause is None else str(cause))


class Asker:
    """A function that decides about calls, as an actor that is told them. It runs on the thread of each call.

    Args:
        approve: The function.
    """

    def __init__(self, approve: Callable[[Call], object]) -> None:
        """Hold the function."""
        self._approve = approve

    def tell(self, call: Call, /) -> None:
        """Decide about a call: only True allows it, and a text says why not."""
        said = self._approve(call)
        if isinstance(said, str):
            call.fail(said or "not allowed")
        else:
            call.done(said is True)


class Forwarder:
    """An actor that decides about calls, and may have died when there is one.

    Args:
        actor: The actor.
    """

    def __init__(self, actor: Any) -> None:
        """Hold the actor."""
        self._actor = actor
        self.is_alive: Callable[[], bool] = actor.is_alive

    def tell(self, call: Call, /) -> None:
        """Tell the actor."""
        self._actor.tell(call)


def checked_tools(
    tools: Toolbox | Iterable[Any], approve: Any, tools_at_once: Any, problems: list[Problem]
) -> tuple[Toolbox, Subscriber | None]:
    """Return the tools, and who is asked about calls; add what is wrong to `problems`.

    Raises:
        ParameterError: `tools` are none.
    """
    box = tools if isinstance(tools, Toolbox) else Toolbox(tools)
    if isinstance(tools_at_once, bool) or not isinstance(tools_at_once, int) or tools_at_once < 1:
        problems.append(Problem("tools_at_once", f"expected an integer from 1, got {shown(tools_at_once)}"))
    if approve is None:
        needing = [each.name for each in box if not isinstance(each, dict) and each.approve]
        problems += [Problem("approve", f"expected a function or an actor: {name!r} needs it") for name in needing]
        return box, None
    if no_subscriber(approve) is None:
        return box, Forwarder(approve) if hasattr(approve, "is_alive") else approve
    if not callable(approve) or isinstance(approve, type):
        problems.append(Problem("approve", f"expected a function or an actor, got {shown(approve)}"))
    return box, Asker(approve)
