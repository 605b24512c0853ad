"""Whether a large tool input is put together in linear time: twice the deltas, twice the time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from _answers import TOOL_PIECE
from _measure import HAS_SDK, Verdict, Worker, cpu_of, interleaved, median_and_range, table, times, title
from _pipelines import BLOCKING, SDK_STREAM, pipeline
from _server import running_server

from anthropix_actors.chat.accumulate import Accumulator

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNT = 100_000
_SDK_COUNT = 16_000  # at this size its time begins to grow with the square
_ALONE = "our accumulator alone"
_LIMIT = 2.2


def run(*, quick: bool) -> list[Verdict]:
    repetitions, sdk_count = (3, _SDK_COUNT // 4) if quick else (7, _SDK_COUNT)
    title(f"accumulate: a tool input in deltas of {TOOL_PIECE} bytes, half of them and all; median of {repetitions}")
    counts = {_ALONE: _COUNT, BLOCKING: _COUNT} | ({SDK_STREAM: sdk_count} if HAS_SDK else {})
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server())
        workers = {
            (name, part): stack.enter_context(Worker(_accumulating, name, f"{server}/tool-{part}", part))
            for name, count in counts.items()
            for part in (count // 2, count)
        }
        figures = interleaved({f"{name}|{part}": worker for (name, part), worker in workers.items()}, repetitions)
    rows, verdicts = [], []
    for name, count in counts.items():
        half, whole = figures[f"{name}|{count // 2}"], figures[f"{name}|{count}"]
        more = times(whole, half)
        seconds = median_and_range(half, 3)[0], *median_and_range(whole, 3)
        rows.append([name, f"{count:,}", f"{count * TOOL_PIECE / 1e6:.2f}", *seconds, f"{more:.2f}"])
        if name != SDK_STREAM:
            what = f"accumulating 4 MB in 100,000 deltas, {name}: twice the deltas"
            verdicts.append(Verdict(what, f"<= {_LIMIT} x the time", f"{more:.2f} x", more <= _LIMIT))
    table(["", "deltas", "MB", "half, CPU s", "all, CPU s", "from-to", "all ÷ half"], rows)
    return verdicts


def _accumulating(name: str, url: str, count: int) -> Callable[[], float]:
    if name != _ALONE:
        read = pipeline(name, url)
        return lambda: cpu_of(lambda: read(str))
    events = _tool_events(count)
    return lambda: cpu_of(lambda: _put_together(events))


def _put_together(events: list[dict[str, Any]]) -> None:
    answer = Accumulator()
    for event in events:
        answer.add(event)
    answer.snapshot()


def _tool_events(count: int) -> list[dict[str, Any]]:
    whole = '{"content":"' + "x" * (count * TOOL_PIECE - 14) + '"}'
    pieces = [whole[start : start + TOOL_PIECE] for start in range(0, len(whole), TOOL_PIECE)]
    block = {"type": "tool_use", "id": "toolu_1", "name": "write", "input": {}}
    return [
        {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
    ]
