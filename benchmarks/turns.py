"""Turns with tools: how long one takes against its longest path; and what tools that are busy add to an event's way."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from _measure import HAS_SDK, Verdict, Worker, interleaved, median_and_range, table, title
from _pipelines import our_client, raw
from _server import PACE
from _turn_server import TOOL, running_turn_server

from anthropix_actors import Agent, ChatEvent, tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.messages import TurnMessage

CALLS, GAP_MS, TAIL_MS, SECONDS = 5, 50, 300, 0.5
"""A model that writes so many calls, one each `GAP_MS`, and then text; each call takes so long."""

_WHOLE = (CALLS * GAP_MS + TAIL_MS) / 1000
LONGEST = {"plain": _WHOLE + SECONDS, "safe": max(_WHOLE, CALLS * GAP_MS / 1000 + SECONDS)}
"""The least seconds of a turn: calls start when the answer is whole, or when each of them is."""

OURS, OURS_SAFE = "our turn", "our turn, safe=True"
SDK, SDK_EAGER = "SDK tool_runner", "SDK tool_runner, run_tools_eagerly"

_BUSY = 8
_MODEL = "claude-sonnet-5"
_DOCUMENT = json.dumps([{"number": number, "words": ["some", "words"] * 5} for number in range(100)])


def run(*, quick: bool) -> list[Verdict]:
    with running_turn_server() as server:
        return _turns(server, quick=quick) + _events(server, quick=quick)


# The whole turn


def _turns(server: str, *, quick: bool) -> list[Verdict]:
    rounds = 3 if quick else 11
    title(f"turns: {CALLS} calls of {SECONDS} s, one each {GAP_MS} ms, {TAIL_MS} ms of text after; median of {rounds}")
    url = f"{server}/calls-{CALLS}-{GAP_MS}-{TAIL_MS}"
    makers: dict[str, tuple[Any, bool]] = {OURS: (_ours, False), OURS_SAFE: (_ours, True)}
    if HAS_SDK:
        makers |= {SDK: (_sdk, False), SDK_EAGER: (_sdk, True)}
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(make, url, early)) for name, (make, early) in makers.items()}
        figures = interleaved(workers, rounds)
    least = {name: LONGEST["safe" if early else "plain"] for name, (_, early) in makers.items()}
    rows, verdicts = [], []
    for name, seconds in figures.items():
        parts = statistics.median(seconds) / least[name]
        rows.append([name, *median_and_range(seconds, 3), f"{least[name]:.2f}", f"{parts:.2f}"])
        if name in {OURS, OURS_SAFE}:
            what = f"{name} of {CALLS} calls: seconds, against its longest path"
            verdicts.append(Verdict(what, "<= 1.1 x", f"{parts:.2f} x", parts <= 1.1))
    table(["", "seconds", "from-to", "longest path", "x it"], rows)
    return verdicts


def _ours(url: str, early: bool) -> Callable[[], float]:  # noqa: FBT001 - an argument of a worker
    def work() -> str:
        """Work."""
        time.sleep(SECONDS)
        return "worked"

    client = our_client(url)
    agent = Agent(model=_MODEL, tools=[tool(safe=early, name=TOOL)(work)])

    def measured() -> float:
        talk = client.converse(agent)
        start = time.perf_counter()
        for _ in talk.say("Go").text:
            pass
        seconds = time.perf_counter() - start
        if len(talk.history()) != 4:
            raise AssertionError("the calls were not run")
        talk.stop()
        return seconds

    return measured


def _sdk(url: str, early: bool) -> Callable[[], float]:  # noqa: FBT001 - as above
    from _sdk import sdk_client  # noqa: PLC0415 - it may not be installed
    from anthropic import beta_tool  # noqa: PLC0415

    @beta_tool
    def work() -> str:
        """Work."""
        time.sleep(SECONDS)
        return "worked"

    client = sdk_client(url)

    def measured() -> float:
        start, answers = time.perf_counter(), 0
        runner = client.beta.messages.tool_runner(
            model=_MODEL,
            max_tokens=1024,
            messages=[{"role": "user", "content": "Go"}],
            tools=[work],
            stream=True,
            run_tools_eagerly=early,
        )
        for answer in runner:
            for _ in answer:
                pass
            answers += 1
        if answers != 2:
            raise AssertionError("the calls were not run")
        return time.perf_counter() - start

    return measured


# Events beside tools that are busy


def _events(server: str, *, quick: bool) -> list[Verdict]:
    rounds, count = (1, 150) if quick else (5, 400)
    title(f"turns: µs to the subscriber, {1 / PACE:.0f} events/s, beside {_BUSY} busy tools; median of {rounds}")
    kinds = {"none": None, f"{_BUSY} that wait": "wait", f"{_BUSY} that parse": "parse"}
    with contextlib.ExitStack() as stack:
        workers = {
            (who, name): stack.enter_context(Worker(make, server, kind, count))
            for name, kind in kinds.items()
            for who, make in {"raw loop, threads": _raw_reader, "our turn, tools": _turn_reader}.items()
        }
        figures = interleaved({f"{who}: {name}": run for (who, name), run in workers.items()}, rounds)
    p50 = {name: [half for half, _ in pairs] for name, pairs in figures.items()}
    p99 = {name: [most for _, most in pairs] for name, pairs in figures.items()}
    added = {name: _added(name, p50) for name in figures}
    rows = [
        [name, *median_and_range(p50[name], 0), f"{added[name]:+.0f}", *median_and_range(p99[name], 0)]
        for name in sorted(figures, reverse=True)
    ]
    table(["", "p50", "from-to", "added", "p99", "from-to"], rows)
    return _verdicts(p50, added)


def _verdicts(p50: dict[str, list[float]], added: dict[str, float]) -> list[Verdict]:
    beside = f"events beside {_BUSY} tools that"
    more = added[f"our turn, tools: {_BUSY} that wait"]
    floor = statistics.median(p50[f"raw loop, threads: {_BUSY} that parse"])
    parts = statistics.median(p50[f"our turn, tools: {_BUSY} that parse"]) / floor
    return [
        Verdict(f"{beside} wait: added, p50", "<= 100 µs", f"{more:+.0f} µs", more <= 100),
        Verdict(f"{beside} parse: p50, against a raw loop's", "<= 1.5 x", f"{parts:.2f} x", parts <= 1.5),
    ]


def _added(name: str, p50: dict[str, list[float]]) -> float:
    """Get what was added to what there is without tools: the median of each turn's difference."""
    alone = p50[f"{name.partition(':')[0]}: none"]
    return statistics.median(here - there for here, there in zip(p50[name], alone, strict=True))


def _be_busy(kind: str, over: threading.Event) -> None:
    """Wait, or parse, until it is over."""
    if kind == "wait":
        over.wait()
    while not over.is_set():
        json.loads(_DOCUMENT)


def _quantiles(delays: list[int], count: int) -> tuple[float, float]:
    if len(delays) != count:
        raise AssertionError(f"{len(delays)} of {count} events")
    parts = statistics.quantiles(delays, n=100)
    return parts[49] / 1000, parts[98] / 1000


def _raw_reader(server: str, kind: str | None, count: int) -> Callable[[], tuple[float, float]]:
    read = raw(f"{server}/timed-0-{count}")

    def measured() -> tuple[float, float]:
        delays: list[int] = []
        over = threading.Event()
        threads = [threading.Thread(target=_be_busy, args=(kind, over)) for _ in range(_BUSY if kind else 0)]
        for thread in threads:
            thread.start()
        read(lambda text: delays.append(time.monotonic_ns() - int(text)))
        over.set()
        for thread in threads:
            thread.join()
        return _quantiles(delays, count)

    return measured


class _Clock:
    """A subscriber that notes how long each event took; when it has them all, it lets the tools end."""

    def __init__(self, count: int, over: threading.Event) -> None:
        self.delays: list[int] = []
        self._count = count
        self._over = over

    def tell(self, message: ChatEvent | TurnMessage, /) -> None:
        """Take one message."""
        if not isinstance(message, ChatEvent) or self._over.is_set():
            return
        event: Any = message.data
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
            self.delays.append(time.monotonic_ns() - int(event["delta"]["text"]))
            if len(self.delays) == self._count:
                self._over.set()


def _turn_reader(server: str, kind: str | None, count: int) -> Callable[[], tuple[float, float]]:
    client = our_client(f"{server}/timed-{_BUSY if kind else 0}-{count}")

    def measured() -> tuple[float, float]:
        over = threading.Event()

        def work() -> None:
            """Work."""
            assert kind is not None
            _be_busy(kind, over)

        clock = _Clock(count, over)
        talk = client.converse(Agent(model=_MODEL, tools=[tool(safe=True, name=TOOL)(work)]), stream=clock)
        talk.say("Go").result(300)
        talk.stop()
        return _quantiles(clock.delays, count)

    return measured
