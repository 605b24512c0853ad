"""What has to hold for an answer that was cut and gone on with, whatever its events are."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.resume import EventSplicer, plan_resume
from anthropix_actors.errors import ProtocolError
from anthropix_actors.usage import Usage

from fuzz.odd import Dice, events
from fuzz.stream import as_decoded, check_replay, check_sendable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors.chat.resume import ResumePlan

_MODELS = ["claude-haiku-4-5", "claude-sonnet-5", "somebody-elses"]


def resume(data: bytes) -> None:
    """Two answers: the first is cut somewhere, the second goes on with it."""
    dice = Dice(data)
    body = {"model": dice.pick(_MODELS), "messages": [{"role": "user", "content": "Count."}]}
    lengths = dice.byte()
    first, second = (
        _until_stop(as_decoded(events(Dice(part)))) for part in (dice.rest()[:lengths], dice.rest()[lengths:])
    )
    answer, subscriber = Accumulator(), Accumulator()
    _add(answer, first)
    _add(subscriber, first)
    cut: Any = answer.snapshot()
    if cut is None:
        return
    asked = json.dumps(body)
    more = plan_resume(body, cut, answer.partial_blocks())
    assert answer.snapshot() == cut, "asking how to go on changed the answer"
    assert json.dumps(body) == asked
    if more is not None:
        _check_request(body, more, len(cut["content"]))
        _check_rest(more, cut, (answer, subscriber), second)


def _check_request(body: dict[str, Any], more: ResumePlan, blocks: int) -> None:
    json.dumps(more.body, allow_nan=False, ensure_ascii=False).encode()
    assert 0 <= more.kept <= blocks
    turns = more.body["messages"]
    assert turns[:1] == body["messages"]
    assert [turn["role"] for turn in turns] in (["user"], ["user", "assistant"], ["user", "assistant", "user"])
    if len(turns) == 2:
        text = turns[1]["content"][-1]["text"]
        assert text == text.rstrip() != ""  # what the API takes as a prefill


def _check_rest(
    more: ResumePlan, cut: Any, accumulators: tuple[Accumulator, Accumulator], second: list[dict[str, Any]]
) -> None:
    """The second answer's events, as delivered, continue the kept blocks; a subscriber has the same answer."""
    answer, subscriber = accumulators
    splice = EventSplicer(more, {**(cut.get("usage") or {}), "output_tokens": Usage.of(cut).output_tokens})
    kept = cut["content"][: more.kept]
    answer.resume_from(more.kept, splice.usage())
    subscriber.resume_from(more.kept, {})
    told: list[Any] = []
    try:
        for event in second:
            for each in splice.events(event):
                answer.add(each)
                told.append(each)
                now: Any = answer.snapshot()
                _check_kept(kept, now["content"], joins=more.joins)
                check_replay(answer)
                check_sendable(now)
    except ProtocolError:
        assert not _whole(second), "an answer that is in order was refused"
    else:
        if _whole(second):
            assert not any(part.open for part in answer.partial_blocks()[more.kept - more.joins :])
    _add(subscriber, told)
    ours: Any = answer.snapshot()
    theirs: Any = subscriber.snapshot()
    assert theirs["content"] == ours["content"]
    if _in_order(second):
        starts = [each["index"] for each in told if each.get("type") == "content_block_start"]
        assert starts == [*range(more.kept, more.kept + len(starts))], "the indexes are not consecutive"


def _check_kept(kept: list[Any], content: list[Any], *, joins: bool) -> None:
    """What was kept stays: only the text that goes on grows."""
    assert len(content) >= len(kept)
    if joins:
        assert content[: len(kept) - 1] == kept[:-1]
        text: Any = content[len(kept) - 1]["text"]
        assert text.startswith(kept[-1]["text"])
    else:
        assert content[: len(kept)] == kept


def _in_order(found: Sequence[dict[str, Any]]) -> bool:
    """Whether each block has the index of its place."""
    starts = [event.get("index") for event in found if event.get("type") == "content_block_start"]
    return starts == [*range(len(starts))]


def _whole(found: list[dict[str, Any]]) -> bool:
    """Whether events are an answer in order: each block is started once, grows, and is stopped before the next."""
    if not _in_order(found) or not any(event.get("type") == "message_delta" for event in found):
        return False
    answer = Accumulator()
    try:
        for event in found:
            if event["type"] in ("content_block_delta", "content_block_stop"):
                states = [part.open for part in answer.partial_blocks()]
                if not states or event["index"] != len(states) - 1 or not states[-1]:
                    return False
            elif event["type"] == "message_delta" and any(part.open for part in answer.partial_blocks()):
                return False
            answer.add(event)
    except (ProtocolError, KeyError):
        return False
    return all(not part.open and isinstance(part.data.get("text") or "", str) for part in answer.partial_blocks())


def _until_stop(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(itertools.takewhile(lambda event: event.get("type") != "message_stop", found))


def _add(answer: Accumulator, found: list[dict[str, Any]]) -> None:
    """Take events until one is refused, or is the last."""
    try:
        for event in found:
            answer.add(event)
    except ProtocolError:
        pass
