"""What has to hold for the lines of a batch's results, whatever the bytes are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.jsonl import json_lines
from anthropix_actors.errors import ProtocolError, TruncatedError

from fuzz.odd import Dice, bytewise, cut, sizes
from fuzz.reference import Unsure, json_object

if TYPE_CHECKING:
    from collections.abc import Iterable

_BOM = b"\xef\xbb\xbf"
_LIMITS = [1 << 20, 1 << 20, 40, 3, 0]


def lines(data: bytes) -> None:
    """Any bytes: the first ones say how the rest is cut, and how long a line may be."""
    dice = Dice(data)
    limit, lengths = dice.pick(_LIMITS), sizes(dice)
    document = dice.rest()
    whole = _outcome([document], 1 << 20)
    for way in (cut(document, lengths), bytewise(document)):
        assert _outcome(way, 1 << 20) == whole, "how it is cut makes a difference"
    _check_reference(document, *whole)
    found, error = _outcome(bytewise(document), limit)
    if max(map(len, document.split(b"\n"))) <= limit:
        assert (found, error) == whole
    else:
        assert error is not None
        assert found == whole[0][: len(found)]


def _outcome(chunks: Iterable[bytes], limit: int) -> tuple[list[tuple[int, dict[str, Any]]], str | None]:
    found: list[tuple[int, dict[str, Any]]] = []
    try:
        for run in json_lines(chunks, max_line_bytes=limit):
            assert run, "a list of nothing was told"
            found += run
    except TruncatedError as exc:
        return found, f"cut: {exc}"
    except ProtocolError as exc:
        return found, str(exc)
    return found, None


def _check_reference(document: bytes, found: list[tuple[int, dict[str, Any]]], error: str | None) -> None:
    expected: list[tuple[int, dict[str, Any]]] = []
    *whole, last = document.split(b"\n")
    whole_and_last = [*whole, last]
    whole_and_last[0] = whole_and_last[0].removeprefix(_BOM)
    fails = None
    for number, line in enumerate(whole_and_last, 1):
        if not line.strip():
            continue
        try:
            value = json_object(line)
        except Unsure:
            assert found[: len(expected)] == expected
            json.dumps(found, ensure_ascii=False).encode()
            return
        if value is None:
            fails = "cut" if number > len(whole) else "line"
            break
        expected.append((number, value))
    assert found == expected
    assert (error is None) == (fails is None)
    assert (error or "").startswith("cut: ") == (fails == "cut"), "only the last line can be cut"
