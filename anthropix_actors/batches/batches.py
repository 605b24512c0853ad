"""Batches: many requests at half the price, answered within a day.

Source: https://docs.claude.com/en/api/creating-message-batches, read 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from anthropix_actors._calls.item_stream import ItemStream, stream_items
from anthropix_actors._calls.options import CALL_OPTIONS, PROFILE_OPTIONS, TASK_OPTIONS, checked_options, task_options
from anthropix_actors._calls.pages import pages_at
from anthropix_actors._checks.paths import item_path
from anthropix_actors._foreign.log import shown
from anthropix_actors._http.request import LONGEST_TIMEOUT
from anthropix_actors._tasks.mailbox import delivery_to
from anthropix_actors._tasks.subscriber import subscriber_problems
from anthropix_actors.batches.actor import BatchActor
from anthropix_actors.batches.body import batch_bodies, close_all
from anthropix_actors.batches.record import BatchRecord
from anthropix_actors.batches.results import (
    BATCHES,
    address_of,
    certainly_not_created,
    check_complete,
    decode_batch,
    result_lines,
    results_request,
    saying_what_may_exist,
    strange_url,
)
from anthropix_actors.batches.results_actor import ResultsActor
from anthropix_actors.batches.task import BatchTask
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores.names import store_problems

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Unpack

    from anthropix_actors._calls.blocking import BlockingCall
    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._calls.option_types import BatchRequestParam, CallOptions, ProfileOptions, WorkOptions
    from anthropix_actors._calls.pages import Pages
    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._wire.resources import BatchLine, DeletedBatch, MessageBatch
    from anthropix_actors.batches.ref import BatchRef
    from anthropix_actors.stores import Log

Lines: TypeAlias = "list[BatchLine]"
"""Results, all at once."""

LONGEST_POLL = 60.0
"""Seconds between two polls of a batch that takes long."""

LISTS = 4
"""How many lists of results an actor may be behind at most; each takes as much memory as some hundred results."""

Batch: TypeAlias = "str | MessageBatch"
"""A batch's id, or its object."""

Requests: TypeAlias = "Iterable[BatchRequestParam | Mapping[str, Any]]"
"""Mappings with a `custom_id` of your own choice (up to 64 letters, digits, _ and -), and `params`, those of a chat."""


class Batches:
    """The batches of a client: `client.batches`. Any thread may use it.

    The options of a call are `timeout` (a `Timeout`, or seconds in all), `max_retries`, `beta`, `extra_headers`,
    `workspace_id`, and for a call that waits `cancel`, a `CancelToken`. `create` also takes `user_profile_id`, for all
    its requests; each request may have its own in its `params`.

    Example:
        >>> question = {"model": "claude-sonnet-5", "messages": hello}
        >>> batch = client.batches.create([{"custom_id": "first", "params": question}])
        >>> client.batches.retrieve(batch["id"])["id"] == batch["id"]
        True
    """

    def __init__(self, core: ClientCore) -> None:
        """Use `client.batches`, which the client makes."""
        self._core = core

    def create(self, requests: Requests, **options: Unpack[ProfileOptions]) -> MessageBatch:
        """Create a batch, and return its object.

        It is retried only when the API itself said that it did not begin (`rate_limit_error`, `overloaded_error`), or
        when the request certainly did not arrive. After anything else, such as a gateway's 502, a timeout or a lost
        response, the batch may exist, and a second one would be billed as well; the error's text says so, and `list`
        shows whether it does.

        Args:
            requests: At most 100,000, and 256 MB.
            **options: See the class.

        Raises:
            ParameterError: a request is invalid; the error names every place, and nothing was sent.
            AnthropixError: the batch was not created, or it is not known whether it was.

        Example:
            >>> question = {"model": "claude-sonnet-5", "messages": hello}
            >>> batch = client.batches.create({"custom_id": f"n{n}", "params": question} for n in range(3))
            >>> batch["request_counts"]["processing"]
            3
        """
        bodies = batch_bodies(requests, api_version=self._core.api_version)
        try:
            if len(bodies) > 1:
                what = "expected at most 100,000, and 256 MB; run() makes as many batches as it takes"
                raise ParameterError([Problem("requests", what)])
            with saying_what_may_exist():
                made = self._core.ask(
                    "POST",
                    BATCHES,
                    options,
                    use=decode_batch,
                    again=certainly_not_created,
                    of=self.create,
                    body=bodies[0],
                    known=PROFILE_OPTIONS,
                )
        finally:
            close_all(bodies)
        return cast("MessageBatch", made)

    def list(
        self,
        *,
        limit: int | None = None,
        after_id: str | None = None,
        before_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Pages[MessageBatch]:
        """List all batches, the newest first, page by page as you loop.

        Args:
            limit: Batches per page; 20 by default, at most 1000.
            after_id: Begin after this batch.
            before_id: Go from this batch towards the newer ones.
            **options: See the class.

        Example:
            >>> [batch["id"] for batch in client.batches.list() if batch["processing_status"] == "canceling"]
            []
        """
        params = {"limit": limit, "after_id": after_id, "before_id": before_id}
        return pages_at(self._core, BATCHES, options, params, "id", of=self.list)

    def retrieve(self, batch: Batch, **options: Unpack[CallOptions]) -> MessageBatch:
        """Return a batch as it is now.

        Raises:
            AnthropixError: the call failed; `NotFoundError` if there is no such batch.
        """
        return cast("MessageBatch", self._core.ask("GET", _path(batch), options, use=decode_batch, of=self.retrieve))

    def cancel(self, batch: Batch, **options: Unpack[CallOptions]) -> MessageBatch:
        """Cancel a batch at the API, and return it as it is now: `canceling` at first, `ended` a little later.

        Requests answered until then are billed, and `results` fetches their results.

        Raises:
            AnthropixError: the call failed; the API refuses to cancel a batch that has ended.
        """
        return cast(
            "MessageBatch", self._core.ask("POST", _path(batch) + "/cancel", options, use=decode_batch, of=self.cancel)
        )

    def delete(self, batch: Batch, **options: Unpack[CallOptions]) -> DeletedBatch:
        """Delete a batch that has ended, with its results. A running one must be cancelled first.

        Raises:
            AnthropixError: the call failed; the API refuses to delete a running batch.
        """
        return cast("DeletedBatch", self._core.ask("DELETE", _path(batch), options, of=self.delete))

    @overload
    def results(self, batch: Batch, *, stream: Literal[False] = False, **options: Unpack[CallOptions]) -> Lines: ...
    @overload
    def results(
        self, batch: Batch, *, stream: Literal[True], **options: Unpack[CallOptions]
    ) -> ItemStream[BatchLine]: ...
    @overload
    def results(
        self,
        batch: Batch,
        *,
        stream: Subscriber,
        as_lists: bool = False,
        tag: str | None = None,
        **options: Unpack[WorkOptions],
    ) -> BatchRef: ...
    def results(
        self,
        batch: Batch,
        *,
        stream: bool | Subscriber = False,
        as_lists: bool = False,
        tag: str | None = None,
        **options: Any,
    ) -> Lines | ItemStream[BatchLine] | BatchRef:
        """Fetch the results of a batch that has ended, in one of three ways; the API sends them in any order.

        They are read line by line: unless `stream` is False, memory stays flat.

        Args:
            batch: Its id, its object, or the URL of its results.
            stream: False returns them all at once. True returns an `ItemStream`, to loop over. A subscriber gets a
                `BatchResult` for each and one of `BatchDone`, `BatchFailed` and `BatchCancelled` in the end, and a
                `BatchRef` is returned at once.
            as_lists: With a subscriber: whether it gets a `BatchResults` for those that arrived together, instead of a
                `BatchResult` for each. That is faster where there are many.
            tag: With a subscriber: a word of your own, by which a `Ledger` adds up.
            **options: See the class.

        Raises:
            ConflictError: the batch has no results; the text says its state.
            ParameterError: `batch` is a URL on another origin than the client's, and its path is not that of a batch's
                results, which is asked for at the client's own origin: the key is not sent elsewhere.
            ProtocolError: the API names such a URL for them; or a line is not a result, which is raised after all
                other lines; or, with `stream=False`, they are larger than the client's `max_answer_bytes`.
            AnthropixError: they could not be fetched, or their file is cut, even if only the batch's counts show it;
                the text says at which line.

        Example:
            >>> question = {"model": "claude-sonnet-5", "messages": hello}
            >>> batch = client.batches.create([{"custom_id": "first", "params": question}])
            >>> for line in client.batches.results(batch["id"], stream=True):
            ...     print(line["custom_id"], line["result"]["type"])
            first succeeded
        """
        if not isinstance(stream, bool):
            _check(as_lists, stream=stream)
            given = task_options(self._core, options, *TASK_OPTIONS, of=self.results)
            task = BatchTask(self._core, given, batches=self._named(batch), as_lists=as_lists, tag=tag)
            ref: BatchRef = self._core.registry.start(ResultsActor, task, [self._delivery(stream, task)])
            return ref
        if as_lists:
            raise ParameterError([Problem("as_lists", f"expected it with stream=subscriber, got stream={stream}")])
        given = checked_options(options, *CALL_OPTIONS, of=self.results)
        cancel = given.pop("cancel", None)
        found = next(iter(self._named(batch).values())) or self._retrieved(batch, given, cancel)
        request = results_request(self._core, found, given)

        def lines(call: BlockingCall) -> Iterator[BatchLine]:
            answer = call.requester.open(request)
            count = 0
            try:
                yield cast("BatchLine", None)  # it is open
                for lines in result_lines(call.requester, answer, max_bytes=None if stream else answer.max_bytes):
                    yield from lines
                    count += len(lines)
            finally:
                call.requester.close(answer)
            check_complete(found, count)

        items = stream_items(self._core, request.timeout, lines, cancel=cancel)
        return items if stream else [*items]

    def run(  # noqa: PLR0913 - options, by name
        self,
        requests: Requests,
        subscriber: Subscriber,
        *,
        poll: float = LONGEST_POLL,
        as_lists: bool = False,
        tag: str | None = None,
        store: Log | None = None,
        id: str | None = None,  # noqa: A002 - what it is called in a store
        **options: Unpack[WorkOptions],
    ) -> BatchRef:
        """Create batches of requests, wait until they end, and deliver their results to a subscriber.

        An actor does it. Before, all requests are read and checked here, in the caller's thread: some 20 µs a request
        (five seconds for 250,000), and the time that your iterable takes. So the iterable may be a database cursor, or
        something else that belongs to this thread, and its exceptions are raised here. A GUI that must not freeze calls
        this in another thread.

        The subscriber gets a `BatchProgress` for each batch created, and when counts change, a `BatchRetrying` when a
        request fails and is retried, a `BatchResult` for each request, and one of `BatchDone`, `BatchFailed` and
        `BatchCancelled` in the end. A batch that was created is followed as long as a retry may help: an outage only
        delays the results. When one of several batches fails, or cannot be created, the others go on, and the final
        `BatchFailed` names it (`state().failures` does at once). A creation is retried only when there certainly is no
        batch yet, as in `create`.

        Args:
            requests: Any number; they are split into as many batches as they need, under one ref.
            subscriber: Anything with `tell(message)`, such as an `ActorRef`.
            poll: The longest time between two polls of a batch, in seconds. The first comes after one second, or
                after `poll` if that is less.
            as_lists: Whether the subscriber gets a `BatchResults` for results that arrived together, instead of a
                `BatchResult` for each.
            tag: A word of your own, by which a `Ledger` adds up.
            store: A `Log`, such as a `SQLiteStore`, in which what is done is written down: after a crash, the same call
                with the same requests goes on. No batch is created twice, and results that were handled are not told
                again; those of the last moments may be.
            id: The name of this run in `store`.
            **options: See the class. `timeout.total` is for the whole task; the client's does not apply.

        Returns:
            The actor's ref. `ref.ids` are the batches created so far: store them, and `follow` resumes after a crash.

        Raises:
            ParameterError: a request is invalid, or the log is of other requests; nothing was sent.
            StoreError: the log cannot be read.

        Example:
            >>> question = {"model": "claude-sonnet-5", "messages": hello}
            >>> batch = client.batches.run([{"custom_id": "first", "params": question}], subscriber, poll=0.01)
            >>> batch.result(timeout=60)["succeeded"]
            1
        """
        given = task_options(self._core, options, *TASK_OPTIONS, of=self.run)
        _check(as_lists, poll, subscriber=subscriber)
        if (store is None) != (id is None):
            raise ParameterError([Problem("id", "expected a name in the store, with store= and only with it")])
        if store is not None and (problems := store_problems(store, "claim", "append", "read")):
            raise ParameterError(problems)
        bodies = batch_bodies(requests, api_version=self._core.api_version)
        try:
            record = None if store is None or id is None else BatchRecord(store, id, bodies)
            task = BatchTask(self._core, given, bodies=bodies, poll=poll, record=record, as_lists=as_lists, tag=tag)
            delivery = self._delivery(subscriber, task)
        except BaseException:
            close_all(bodies)
            raise
        # From here on the task closes the bodies, however it ends.
        ref: BatchRef = self._core.registry.start(BatchActor, task, [delivery])
        return ref

    def follow(  # noqa: PLR0913 - options, by name
        self,
        batches: Batch | Iterable[Batch],
        subscriber: Subscriber,
        *,
        seen: Container[str] = (),
        poll: float = LONGEST_POLL,
        as_lists: bool = False,
        tag: str | None = None,
        **options: Unpack[WorkOptions],
    ) -> BatchRef:
        """Follow batches that were created before, by this program or another; deliver their results, as `run` does.

        Args:
            batches: One batch, or several, such as the `ids` of a ref whose process has ended.
            subscriber: Anything with `tell(message)`.
            seen: The `custom_id`s of results that are not delivered, as they were handled before.
            poll: The longest time between two polls, in seconds.
            as_lists: As for `run`.
            tag: A word of your own, by which a `Ledger` adds up.
            **options: See the class. `timeout.total` is for the whole task; the client's does not apply.

        Returns:
            The actor's ref, at once.

        Raises:
            ParameterError: one of `batches` is not a batch, or another argument is invalid.

        Example:
            >>> question = {"model": "claude-sonnet-5", "messages": hello}
            >>> batch = client.batches.create([{"custom_id": "first", "params": question}])
            >>> client.batches.follow(batch["id"], subscriber, poll=0.01).result(timeout=60)["succeeded"]
            1
        """
        given = task_options(self._core, options, *TASK_OPTIONS, of=self.follow)
        _check(as_lists, poll, seen, subscriber=subscriber)
        alone = isinstance(batches, (str, Mapping)) or not isinstance(batches, Iterable)
        several = [batches] if alone else list(batches)
        ids = {_path(batch).removeprefix(f"{BATCHES}/"): None for batch in several}
        if not ids:
            raise ParameterError([Problem("batches", "expected at least one batch, got none")])
        nothing = type(seen) is tuple and not seen
        memory = None if nothing else seen
        task = BatchTask(self._core, given, batches=ids, poll=poll, seen=memory, as_lists=as_lists, tag=tag)
        ref: BatchRef = self._core.registry.start(BatchActor, task, [self._delivery(subscriber, task)])
        return ref

    def _delivery(self, subscriber: Subscriber, task: BatchTask) -> Delivery:
        window = min(self._core.window, LISTS) if task.as_lists else self._core.window
        return delivery_to(subscriber, task.scope, window=window)

    def _retrieved(self, batch: Batch, options: Mapping[str, Any], cancel: CancelToken | None) -> MessageBatch:
        request = self._core.request_factory.build("GET", _path(batch), **options)
        return self._core.wait_for(request, decode_batch, cancel=cancel)

    def _named(self, batch: Any) -> dict[str, MessageBatch | None]:
        """Return a batch by its id; with its object if that is given and has a results URL, or is one."""
        if _is_url(batch):
            try:
                address = address_of(batch, self._core.transport.base_url)
            except ValueError:
                raise ParameterError([Problem("batch", strange_url(batch, self._core.transport.base_url))]) from None
            return {batch: cast("MessageBatch", {"id": batch, "processing_status": "ended", "results_url": address})}
        # A copy: the caller's mapping may change, or run any code, when another thread reads it.
        known = cast("MessageBatch", dict(batch)) if isinstance(batch, Mapping) and batch.get("results_url") else None
        return {_path(batch).removeprefix(f"{BATCHES}/"): known}


def _check(as_lists: object, poll: object = LONGEST_POLL, seen: object = (), **subscriber: object) -> None:
    """Check arguments; the subscriber is given by the parameter's name."""
    problems = [problem for name, value in subscriber.items() for problem in subscriber_problems(value, name)]
    if not isinstance(as_lists, bool):
        problems.append(Problem("as_lists", f"expected True or False, got {shown(as_lists)}"))
    if isinstance(poll, bool) or not isinstance(poll, (int, float)) or not 0 < poll <= LONGEST_TIMEOUT:
        problems.append(Problem("poll", f"expected seconds above 0, got {shown(poll)}"))
    if isinstance(seen, (str, bytes, Iterator)) or not hasattr(type(seen), "__contains__"):
        what = f"expected something like a set of custom_ids, got {type(seen).__name__}"
        problems.append(Problem("seen", what))
    if problems:
        raise ParameterError(problems)


def _path(batch: Any) -> str:
    if _is_url(batch):
        raise ParameterError(
            [Problem("batch", "expected its id, or its object, got a URL, which only results() takes")]
        )
    return item_path(BATCHES, "batch", batch)


def _is_url(batch: Any) -> bool:
    return isinstance(batch, str) and batch.lower().startswith(("http://", "https://"))
