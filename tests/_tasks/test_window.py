"""A subscriber's window: shared by all that it follows, fairly, and used by none who has left."""

from __future__ import annotations

import gc
import queue
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka.messages import ProxyGetAttr

from anthropix_actors import CancelledError, ChatDone, ChatEvent, Client
from anthropix_actors import text_of as text_of_message
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._tasks.delivery import Gone
from anthropix_actors._tasks.mailbox import WINDOWS, Mailbox, MailboxWindow, delivery_to
from anthropix_actors._tasks.runs import RunInbox
from anthropix_actors._tasks.window import CountedWindow, Window
from anthropix_actors._tasks.window_delivery import WindowDelivery

from actors import ASK, Blocking, Inbox, Reader, deliveries_of, text_of, until_blocked
from servers import DEADLINE, Paused, Server, answer, answering, stalling, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors import ChatRef
    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.window import Place

    from servers import Peer

SIZE = 8


class Teller:
    """A task that tells a subscriber what it can, on a thread of its own."""

    def __init__(self, subscriber: Any, messages: list[Any], size: int = SIZE) -> None:
        self.scope = CancelScope()
        self.delivery: Delivery = delivery_to(subscriber, self.scope, window=size)
        self.told = 0
        self.stopped_by: BaseException | None = None
        self._messages = messages
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for message in self._messages:
                self.delivery.tell(message)
                self.told += 1
        except (Gone, CancelledError) as exc:
            self.stopped_by = exc

    def join(self) -> None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


class StepByStep(pykka.ThreadingActor):
    """Handles one message each time that it is let."""

    use_daemon_thread = True

    def __init__(self, inbox: Inbox, let: threading.Semaphore) -> None:
        super().__init__()
        self._inbox = inbox
        self._let = let

    def on_receive(self, message: Any) -> None:
        assert self._let.acquire(timeout=DEADLINE)
        self._inbox.tell(message)


class FromASimpleQueue(StepByStep):
    @staticmethod
    def _create_actor_inbox() -> Any:
        return queue.SimpleQueue()


@pytest.fixture
def let() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture(params=[StepByStep, FromASimpleQueue])
def actor(request: pytest.FixtureRequest, inbox: Inbox, let: threading.Semaphore) -> Iterator[pykka.ActorRef[Any]]:
    ref = request.param.start(inbox, let)
    yield ref
    let.release(10_000)
    ref.stop()


def all_blocked(tellers: list[Teller]) -> None:
    for teller in tellers:
        until_blocked(teller.scope)


def test_all_that_an_actor_follows_share_its_window(actor: pykka.ActorRef[Any], let: threading.Semaphore) -> None:
    tellers = [Teller(actor, [number] * 100) for number in range(20)]
    all_blocked(tellers)
    assert sum(teller.told for teller in tellers) <= SIZE + len(tellers)  # each may have looked at the same moment
    let.release(2000)
    for teller in tellers:
        teller.join()
        assert teller.told == 100


def test_those_that_wait_go_on_in_turn(actor: pykka.ActorRef[Any], inbox: Inbox, let: threading.Semaphore) -> None:
    numbers = range(10)
    tellers = [Teller(actor, [number] * 10, size=2) for number in numbers]
    all_blocked(tellers)
    let.release(100)
    handled = [inbox.next() for _ in range(100)]
    for teller in tellers:
        teller.join()
    shares = Counter(handled[:50])
    assert all(shares[number] >= 3 for number in numbers), shares  # five each, if none ever went before its turn


def test_a_task_that_is_cancelled_in_its_turn_passes_it_on(
    actor: pykka.ActorRef[Any], let: threading.Semaphore
) -> None:
    first, second = (Teller(actor, [number] * 50) for number in range(2))
    all_blocked([first, second])
    first.scope.cancel(CancelledError("enough"))
    first.join()
    assert isinstance(first.stopped_by, CancelledError)
    let.release(100)
    second.join()
    assert second.told == 50


def test_a_task_whose_subscriber_is_detached_passes_its_turn_on(
    actor: pykka.ActorRef[Any], let: threading.Semaphore
) -> None:
    first, second = (Teller(actor, [number] * 50) for number in range(2))
    all_blocked([first, second])
    first.delivery.detach()
    first.join()
    let.release(100)
    second.join()
    assert second.told == 50


def test_a_wait_ends_when_the_actor_dies_and_its_probe_with_it(actor: pykka.ActorRef[Any]) -> None:
    teller = Teller(actor, [0] * 50)
    until_blocked(teller.scope)
    window = MailboxWindow.of(actor)
    actor.actor_stopped.set()  # as in the moment between the last look at the mailbox and the next message
    teller.join()
    assert isinstance(teller.stopped_by, Gone)
    assert window is MailboxWindow.of(actor)
    actor.actor_stopped.clear()


def test_who_waits_in_the_parent_is_forgotten_in_a_forked_child() -> None:
    held: deque[Any] = deque(["full"])
    window = CountedWindow(lambda: len(held))
    waiting = window.enter(lambda: None, 1, 1)
    window.after_fork()
    held.clear()
    assert window.room(SIZE) == SIZE
    window.leave(waiting)
    assert window.room(SIZE) == SIZE


def test_one_actor_has_one_window_until_nobody_tells_it_anything(actor: pykka.ActorRef[Any]) -> None:
    window = MailboxWindow.of(actor)
    assert MailboxWindow.of(actor.proxy().actor_ref) is window
    del window
    gc.collect()
    assert actor.actor_urn not in WINDOWS.by_urn


def test_a_forked_child_does_not_wait_for_a_lock_that_a_thread_of_the_parent_held(actor: pykka.ActorRef[Any]) -> None:
    window, found = MailboxWindow.of(actor), list[MailboxWindow]()
    with WINDOWS.lock:
        WINDOWS.after_fork()
        other = threading.Thread(target=lambda: found.append(MailboxWindow.of(actor)))
        other.start()
        other.join(DEADLINE)
    assert found[0] is not window


class OddInbox:
    """All that pykka asks of an inbox, and no more."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put = self._items.put
        self.get = self._items.get
        self.empty = self._items.empty


class WithOddInbox(Reader):
    @staticmethod
    def _create_actor_inbox() -> Any:
        return OddInbox()


def test_an_inbox_that_does_not_tell_its_length_is_probed_for_each_message(inbox: Inbox) -> None:
    gate = threading.Event()
    ref = WithOddInbox.start(inbox, gate=gate)
    teller = Teller(ref, list(range(100)))
    until(lambda: teller.told)
    until_blocked(teller.scope)
    assert teller.told <= 2
    gate.set()
    teller.join()
    assert [inbox.next() for _ in range(100)] == list(range(100))
    ref.stop()


@pytest.mark.parametrize("length", [None, "many", -1])
def test_an_inbox_that_tells_an_odd_length_is_taken_to_be_full(inbox: Inbox, length: Any) -> None:
    class Odd(OddInbox):
        def qsize(self) -> Any:
            return length

    class WithOddLength(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return Odd()

    ref = WithOddLength.start(inbox)
    teller = Teller(ref, list(range(20)))
    teller.join()
    assert [inbox.next() for _ in range(20)] == list(range(20))
    ref.stop()


class Full(queue.Queue[Any]):
    """An inbox that takes no probes."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        if isinstance(getattr(item, "message", None), ProxyGetAttr):
            raise queue.Full
        super().put(item, block, timeout)


def test_an_inbox_that_raises_when_it_is_probed_is_told_nothing_more(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    class WithFullInbox(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return Full()

    gate = threading.Event()
    ref = WithFullInbox.start(inbox, gate=gate)
    teller = Teller(ref, [0] * 50)
    teller.join()
    assert isinstance(teller.stopped_by, Gone)
    assert "failed to take a message" in caplog.text
    gate.set()
    ref.stop()


def test_where_an_inbox_takes_no_more_probes_nobody_is_left_waiting(inbox: Inbox) -> None:
    class Refusing(Full):
        refuses = False

        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
            if self.refuses:
                super().put(item, block, timeout)
            else:
                queue.Queue.put(self, item, block, timeout)

    box = Refusing()

    class WithRefusing(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return box

    gate = threading.Event()
    ref = WithRefusing.start(inbox, gate=gate)
    tellers = [Teller(ref, [0] * 50) for _ in range(4)]
    all_blocked(tellers)
    box.refuses = True
    gate.set()
    for teller in tellers:
        teller.join()
        assert isinstance(teller.stopped_by, Gone)
    ref.stop()


def test_beside_another_an_inbox_that_raises_when_it_is_probed_is_left(connect: Callable[..., Client]) -> None:
    class WithFullInbox(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return Full()

    other, gate = Inbox(), threading.Event()
    ref = WithFullInbox.start(Inbox(), gate=gate)
    with Server(answer_of(100)) as server:
        chat = connect(server, window=SIZE).chat(**ASK, stream=other)
        chat.subscribe(ref)
        assert text_of(until_done(other)) == whole(100)
    gate.set()
    ref.stop()


class Own:
    """A subscriber with a window of its own."""

    def __init__(self) -> None:
        self.held: deque[Any] = deque()
        self.looks = 0
        self.window = Window(lambda size: len(self.held) >= size)

    def count(self) -> int:
        self.looks += 1
        return len(self.held)

    def tell(self, message: Any, /) -> None:
        self.held.append(message)

    def handle(self, count: int) -> list[Any]:
        handled = [self.held.popleft() for _ in range(count)]
        self.window.moved()
        return handled


@pytest.mark.parametrize("counts", [False, True])
def test_a_subscriber_with_a_window_is_waited_for_before_it_is_told(*, counts: bool) -> None:
    own = Own()
    if counts:
        own.window = CountedWindow(own.count)
    teller = Teller(own, list(range(20)))
    assert isinstance(teller.delivery, WindowDelivery)
    until_blocked(teller.scope)
    assert list(own.held) == list(range(SIZE))
    assert own.handle(3) == [0, 1, 2]
    until(lambda: len(own.held) == SIZE)
    handled: list[Any] = []
    while len(handled) < 17:
        handled += own.handle(len(own.held))
    teller.join()
    assert handled == list(range(3, 20))


def test_a_subscriber_that_counts_is_asked_once_for_several_messages() -> None:
    own = Own()
    own.window = CountedWindow(own.count)
    delivery_to(own, CancelScope(), window=SIZE).tell_all(range(SIZE))
    assert (list(own.held), own.looks) == (list(range(SIZE)), 1)


def test_those_that_tell_one_that_counts_share_its_room() -> None:
    own = Own()
    own.window = window = CountedWindow(own.count)
    deliveries = [delivery_to(own, CancelScope(), window=SIZE) for _ in range(3)]
    assert window.room(SIZE) == SIZE // 3
    own.held.extend(range(SIZE - 1))
    assert window.room(SIZE) == 1
    own.held.append("last")
    assert window.room(SIZE) == 0
    del deliveries


def test_an_empty_mailbox_of_runs_takes_what_one_read_brought() -> None:
    inbox = RunInbox()
    window = inbox.window
    assert window.room(SIZE) == 4 * SIZE
    inbox.put("first")
    assert window.room(SIZE) == SIZE - 1
    assert inbox.get() == "first"
    assert window.room(SIZE) == SIZE - 1  # it is handled
    del inbox
    assert window.room(SIZE) == 4 * SIZE


def test_a_mailbox_of_runs_lets_tasks_go_on_when_a_message_was_handled() -> None:
    inbox, woken = RunInbox(), list[str]()
    for message in inbox.packed(range(SIZE)):
        inbox.put(message)
    inbox.put("last")
    place = inbox.window.enter(lambda: woken.append("a task"), SIZE, 2)
    assert [*inbox.unpacked(inbox.get())] == list(range(SIZE))
    assert not place.granted
    assert inbox.get() == "last"
    assert (place.granted, woken) == (True, ["a task"])


def test_a_chat_that_waits_for_a_frozen_window_is_cancelled_at_once(connect: Callable[..., Client]) -> None:
    own = Own()
    with Server(answering(*"abcdefghijklmnopqrstuvwxyz")) as server:
        chat = connect(server, window=SIZE).chat(**ASK, stream=own)
        until(lambda: len(own.held) == SIZE)
        assert chat.cancel("closed")
        wait(chat.actor_stopped)
    assert len(own.held) == SIZE + 1  # the end does not wait for room


def test_a_subscriber_whose_window_raises_is_told_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    own = Own()
    own.window = Window(lambda size: size // 0 > 0)
    teller = Teller(own, [0])
    teller.join()
    assert isinstance(teller.stopped_by, Gone)
    assert "ZeroDivisionError" in caplog.text


def test_a_chat_whose_other_subscriber_is_stuck_takes_no_place_in_a_window(connect: Callable[..., Client]) -> None:
    inbox, stuck = Inbox(), Blocking()
    ref = Reader.start(inbox)
    with Server(answering("a", "b")) as server:
        client = connect(server, window=1)
        chat = client.chat(**ASK, stream=ref)
        chat.subscribe(stuck)
        wait(stuck.began)
        other = client.chat(**ASK, stream=ref)
        messages: list[Any] = []
        while not isinstance(messages[-1] if messages else None, ChatDone) or messages[-1].chat is not other:
            messages.append(inbox.next())
        assert text_of([each for each in messages if isinstance(each, ChatEvent) and each.chat is other]) == "ab"
        stuck.let.set()
        wait(chat.actor_stopped)
    ref.stop()


class Waiting:
    """What is only woken."""

    def __init__(self) -> None:
        self.woken = 0

    def __call__(self) -> None:
        self.woken += 1


STEPS = st.tuples(st.sampled_from(["enter", "enter", "tell", "give up", "handle"]), st.integers(0, 5))


@given(st.sampled_from([4, 8]), st.lists(STEPS, min_size=20, max_size=60))
def test_as_many_go_on_as_there_is_room_for_in_their_order(size: int, steps: list[tuple[str, int]]) -> None:
    """A model: `held` messages, and places that wait, are granted, and are used or not."""
    held = 0
    window = Window(lambda size: held >= size)
    entered: list[Place] = []
    for step, number in steps:
        granted = [place for place in entered if place.granted]
        if step == "enter":
            entered.append(window.enter(Waiting(), size, number))
        elif step == "tell" and granted:
            held += min(granted[0].count, max(1, number))
            entered.remove(granted[0])
            window.leave(granted[0])
        elif step == "give up" and entered:
            window.leave(entered.pop(number % len(entered)))
        elif step == "handle" and held:
            held -= 1
            window.moved()
        granted = [place for place in entered if place.granted]
        waiting = [place for place in entered if not place.granted]
        assert entered == granted + waiting  # nobody went before another
        taken = held + sum(place.count for place in granted)
        assert taken <= size
        assert not waiting or taken + waiting[0].count > size  # nobody waits for nothing
        assert all(1 <= place.count <= size // 4 for place in entered)
        assert all(place.wake.woken == 1 for place in granted)  # type: ignore[attr-defined]
        assert window.room(size) == (not waiting and held < size)


def test_a_mailbox_of_an_actor_that_stopped_says_so() -> None:
    ref = Reader.start(Inbox())
    ref.stop()
    delivery = Mailbox(ref, CancelScope(), SIZE)
    assert not delivery.is_alive()
    with pytest.raises(Gone):
        delivery.tell_all([1])


# Several subscribers of one chat


def answer_of(count: int) -> Callable[[Any], None]:
    return answering(*(f"{number} " for number in range(count)))


def whole(count: int) -> str:
    return "".join(f"{number} " for number in range(count))


def paused() -> Paused:
    """An answer of 120 pieces, which pauses after a hundred."""
    return Paused(answer(*(f"{number} " for number in range(120))), 102)


class AllThere:
    """An answer that begins when all have subscribed: one that was there before the others is waited for alone."""

    def __init__(self, script: Callable[[Peer], object]) -> None:
        self._script = script
        self._begin = threading.Event()

    def __call__(self, peer: Peer) -> None:
        wait(self._begin)
        self._script(peer)

    def chat(self, client: Client, first: Any, *others: Any, **options: Any) -> ChatRef:
        """Begin a chat that all of these follow."""
        chat: ChatRef = client.chat(**ASK, stream=first, **options)
        for each in others:
            chat.subscribe(each)
        self._begin.set()
        return chat


def until_done(inbox: Inbox) -> list[Any]:
    """Get what an inbox was told, up to the end of its chat, which is the last."""
    messages = inbox.until_end()
    assert isinstance(messages[-1], ChatDone)
    return messages


def test_a_subscriber_is_not_held_up_by_one_that_is_stuck(connect: Callable[..., Client]) -> None:
    quick, slow, gate = Inbox(), Inbox(), threading.Event()
    stuck = Reader.start(slow, gate=gate)
    script = AllThere(answer_of(500))
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), stuck, quick)
        assert text_of(until_done(quick)) == whole(500)
        wait(chat.actor_stopped)  # the end has no need of room
        assert stuck.actor_inbox.qsize() < 4 * SIZE  # type: ignore[attr-defined]  # what it missed has merged
        gate.set()
        assert text_of(until_done(slow)) == whole(500)
    stuck.stop()


def test_one_that_joins_is_not_held_up_by_one_that_is_stuck_already(connect: Callable[..., Client]) -> None:
    quick, slow, gate = Inbox(), Inbox(), threading.Event()
    stuck = Reader.start(slow, gate=gate)
    with Server(answer_of(500)) as server:
        chat = connect(server, window=SIZE).chat(**ASK, stream=stuck)
        until_blocked(chat)
        chat.subscribe(quick)
        assert text_of(until_done(quick)) == whole(500)
        wait(chat.actor_stopped)
        gate.set()
        assert text_of(until_done(slow)) == whole(500)
    stuck.stop()


def test_one_that_joins_when_another_has_left_and_messages_are_kept_is_not_held_up(
    connect: Callable[..., Client],
) -> None:
    first, quick, slow, gate = Inbox(), Inbox(), Inbox(), threading.Event()
    stuck = Reader.start(slow, gate=gate)
    pause = paused()
    script = AllThere(pause)
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), stuck, first)
        while text_of(first.messages) != whole(100):
            first.next()
        chat.unsubscribe(first)
        pause.go_on.set()
        until_blocked(chat)
        chat.subscribe(quick)
        assert text_of(until_done(quick)) == whole(120)
        gate.set()
        assert text_of(until_done(slow)) == whole(120)
    stuck.stop()


def test_one_that_was_stuck_catches_up_while_the_chat_goes_on(connect: Callable[..., Client]) -> None:
    quick, own = Inbox(), Own()
    pause = paused()
    script = AllThere(pause)
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), own, quick)
        while text_of(quick.messages) != whole(100):
            quick.next()
        assert len(own.held) == SIZE
        handled = own.handle(SIZE)
        pause.go_on.set()
        until_done(quick)
        wait(chat.actor_stopped)
    handled += own.held
    assert text_of(handled) == whole(120)
    assert sum(isinstance(message, ChatEvent) for message in handled) < 60


def test_if_all_are_behind_the_chat_waits_and_goes_on_for_the_first_that_has_room(
    connect: Callable[..., Client],
) -> None:
    first, second = Own(), Own()
    script = AllThere(answer_of(500))
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), first, second)
        until_blocked(chat)
        assert not chat.actor_stopped.is_set()
        handled: list[Any] = []
        while not chat.actor_stopped.is_set():
            handled += second.handle(len(second.held))
        handled += second.held
        assert text_of(handled) == text_of([*first.held]) == whole(500)
        assert len(first.held) < 3 * SIZE


def test_a_chat_whose_subscribers_are_all_behind_is_cancelled_at_once(connect: Callable[..., Client]) -> None:
    first, second = Own(), Own()
    script = AllThere(answer_of(500))
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), first, second)
        until_blocked(chat)
        chat.cancel("enough")
        wait(chat.actor_stopped)
    assert all(type(own.held[-1]).__name__ == "ChatCancelled" for own in (first, second))


def test_of_two_that_are_behind_the_one_that_leaves_lets_the_other_wait_alone(connect: Callable[..., Client]) -> None:
    first, second = Own(), Own()
    script = AllThere(answer_of(500))
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), first, second)
        until_blocked(chat)
        chat.unsubscribe(first)
        handled: list[Any] = []
        while not chat.actor_stopped.is_set():
            handled += second.handle(len(second.held))
        assert text_of([*handled, *second.held]) == whole(500)


def test_of_two_that_are_behind_one_that_dies_ends_nothing(connect: Callable[..., Client]) -> None:
    own, gate = Own(), threading.Event()
    dying = Reader.start(Inbox(), gate=gate)
    script = AllThere(answer_of(500))
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), own, dying)
        until_blocked(chat)
        dying.stop(block=False)
        gate.set()
        handled: list[Any] = []
        while not chat.actor_stopped.is_set():
            handled += own.handle(len(own.held))
        assert text_of([*handled, *own.held]) == whole(500)


def test_one_that_was_behind_and_is_alone_again_is_waited_for(connect: Callable[..., Client]) -> None:
    own, quick = Own(), Inbox()
    pause = paused()
    script = AllThere(pause)
    with Server(script) as server:
        chat = script.chat(connect(server, window=SIZE), own, quick)
        while text_of(quick.messages) != whole(100):
            quick.next()
        chat.unsubscribe(quick)
        pause.go_on.set()
        until_blocked(chat)
        handled: list[Any] = []
        while not chat.actor_stopped.is_set():
            handled += own.handle(len(own.held))
        assert text_of([*handled, *own.held]) == whole(120)


def test_one_that_is_detached_in_its_turn_is_told_no_more_of_it() -> None:
    class Leaving(Own):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            if message == SIZE:
                teller.delivery.detach()

    own = Leaving()
    teller = Teller(own, [0] * SIZE)
    teller.join()
    telling = threading.Thread(target=teller.delivery.tell_all, args=([SIZE, SIZE + 1],))
    telling.start()
    until_blocked(teller.scope)
    own.handle(SIZE)
    telling.join(DEADLINE)
    assert list(own.held) == [SIZE]


def test_room_that_nobody_tells_of_is_found_after_a_while() -> None:
    own = Own()
    teller = Teller(own, list(range(SIZE + 1)))
    until_blocked(teller.scope)
    own.held.popleft()  # and no `moved`
    teller.join()
    assert list(own.held) == list(range(1, SIZE + 1))


def test_one_that_another_thread_has_found_gone_is_let_go_and_the_chat_with_it(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        inbox.until(ChatEvent)
        deliveries_of(chat)[0].detach()  # as a thread does that sends what was kept
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result(0)


def test_what_just_fits_is_told_and_nothing_is_kept() -> None:
    own = Own()
    delivery = delivery_to(own, CancelScope(), window=SIZE)
    for number in range(SIZE):
        delivery.offer_all([number], lambda: deque)
    assert list(own.held) == list(range(SIZE))
    assert not delivery.is_behind
    assert not own.window._waiting


def test_one_that_is_waited_for_alone_lines_up_again_when_another_joins() -> None:
    own = Own()
    delivery = delivery_to(own, CancelScope(), window=SIZE)
    delivery.offer_all(range(SIZE + 1), lambda: deque)  # there are others: the last is kept
    joined = iter([None, None])  # alone, until the wait for room has begun
    delivery.offer_all([SIZE + 1], lambda: next(joined, deque))
    assert delivery.is_behind
    assert own.window._waiting
    for _ in range(2):
        own.held.popleft()
    own.window.moved()
    until(lambda: list(own.held) == list(range(2, SIZE + 2)))


def test_a_place_is_granted_where_an_inbox_takes_no_probe(inbox: Inbox) -> None:
    gate = threading.Event()

    class WithFullInbox(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return Full()

    ref = WithFullInbox.start(inbox, gate=gate)
    for _ in range(SIZE + 1):
        ref.tell("x")
    wake = Waiting()
    place = MailboxWindow.of(ref).enter(wake, 1, 1)
    assert place.granted
    assert wake.woken == 1
    gate.set()
    ref.stop()


def test_a_place_may_be_left_twice() -> None:
    window = Window(lambda size: size < 1)
    place = window.enter(Waiting(), SIZE, 1)
    window.leave(place)
    window.leave(place)
    assert window.room(SIZE)
    assert not window._granted


def test_a_loop_is_not_held_up_by_an_actor_that_is_stuck(connect: Callable[..., Client]) -> None:
    gate = threading.Event()
    stuck = Reader.start(Inbox(), gate=gate)
    with Server(answer_of(500)) as server, connect(server, window=SIZE).chat(**ASK, stream=True) as stream:
        stream.chat.subscribe(stuck)
        assert "".join(stream.text) == whole(500)
    gate.set()
    stuck.stop()


def test_who_was_behind_is_told_what_it_missed_as_soon_as_it_has_room(connect: Callable[..., Client]) -> None:
    """The server says nothing meanwhile."""
    quick, slow, gate = Inbox(), Inbox(), threading.Event()
    stuck = Reader.start(slow, gate=gate)

    pause = paused()
    script = AllThere(pause)
    with Server(script) as server:
        script.chat(connect(server, window=SIZE), stuck, quick)
        while text_of(quick.messages) != whole(100):
            quick.next()
        gate.set()
        while text_of(slow.messages) != whole(100):
            slow.next()
        pause.go_on.set()
        assert text_of(until_done(slow)) == whole(120)
    stuck.stop()


def test_the_places_of_a_chat_that_is_cancelled_are_free_again(connect: Callable[..., Client]) -> None:
    first, second = Own(), Own()
    script = AllThere(answer_of(500))
    with Server(script) as server:
        client = connect(server, window=SIZE)
        chats = [client.chat(**ASK, stream=first) for _ in range(3)]
        for chat in chats:
            chat.subscribe(second)
        chats.append(script.chat(client, first, second))
        for chat in chats:
            until_blocked(chat)
        for chat in chats:
            chat.cancel()
            wait(chat.actor_stopped)
        for own in (first, second):
            own.handle(len(own.held))
            assert own.window.room(SIZE)
            assert not own.window._granted


@pytest.mark.parametrize("coalesce", [False, True])
def test_two_that_are_stuck_make_the_chat_wait_though_one_merges(
    connect: Callable[..., Client], *, coalesce: bool
) -> None:
    gates = [threading.Event() for _ in range(2)]
    inboxes = [Inbox() for _ in gates]
    stuck = [Reader.start(inbox, gate=gate) for inbox, gate in zip(inboxes, gates, strict=True)]
    with Server(answering(*["x" * 1000] * 3000)) as server:
        chat = connect(server, window=SIZE).chat(**ASK, stream=stuck[0], coalesce=True)
        chat.subscribe(stuck[1], coalesce=coalesce)
        until_blocked(chat)
        assert chat.snapshot() is not None
        assert len(text_of_message(chat.snapshot())) < 3_000_000
        for gate in gates:
            gate.set()
        for inbox in inboxes:
            assert len(text_of(until_done(inbox))) == 3_000_000
    for ref in stuck:
        ref.stop()


class Last(Reader):
    @staticmethod
    def _create_actor_inbox() -> Any:
        return queue.LifoQueue()


def test_an_inbox_that_changes_the_order_is_bounded_too(inbox: Inbox) -> None:
    gate = threading.Event()
    ref = Last.start(inbox, gate=gate)
    teller = Teller(ref, list(range(100)))
    until_blocked(teller.scope)
    for _ in range(50):
        ref.ask(ProxyGetAttr(attr_path=("actor_urn",)), block=False)
    assert ref.actor_inbox.qsize() <= 50 + SIZE + 1  # type: ignore[attr-defined]
    gate.set()
    teller.join()
    assert sorted(inbox.next() for _ in range(100)) == list(range(100))
    ref.stop()


def test_an_inbox_whose_length_cannot_be_told_any_more_is_taken_to_be_full(inbox: Inbox) -> None:
    class Failing(OddInbox):
        asked = 0

        def qsize(self) -> int:
            self.asked += 1
            if self.asked > 5:
                raise NotImplementedError
            return 0

    class WithFailing(Reader):
        @staticmethod
        def _create_actor_inbox() -> Any:
            return Failing()

    ref = WithFailing.start(inbox)
    teller = Teller(ref, list(range(50)))
    teller.join()
    assert [inbox.next() for _ in range(50)] == list(range(50))
    ref.stop()


def test_a_coalescing_actor_that_is_stuck_holds_up_nobody(connect: Callable[..., Client]) -> None:
    quick, slow, gate = Inbox(), Inbox(), threading.Event()
    stuck = Reader.start(slow, gate=gate)
    script = AllThere(answering(*["x" * 1000] * 300))
    with Server(script) as server:
        script.chat(connect(server, window=SIZE), stuck, quick, coalesce=True)
        assert len(text_of(until_done(quick))) == 300_000
        gate.set()
        assert len(text_of(until_done(slow))) == 300_000
    stuck.stop()
