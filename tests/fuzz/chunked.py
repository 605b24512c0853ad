"""What has to hold for the chunks of an HTTP body, whatever the bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors._decode.chunked import ChunkedBody

from fuzz.odd import Dice, bytewise, cut, sizes

if TYPE_CHECKING:
    from collections.abc import Iterable


def chunked(data: bytes) -> None:
    """Any bytes: the first ones say how the rest is cut."""
    dice = Dice(data)
    lengths = sizes(dice)
    document = dice.rest()
    whole = _outcome([document])
    for way in (cut(document, lengths), bytewise(document)):
        assert _outcome(way) == whole, "how it is cut makes a difference"
    _check_round_trip(document, lengths)


def _outcome(chunks: Iterable[bytes]) -> tuple[bytes, bool, bytes, str | None]:
    body = ChunkedBody()
    found = b"".join(map(body.feed, chunks))
    return found, body.complete, body.excess, None if body.error is None else str(body.error)


def _check_round_trip(content: bytes, lengths: list[int]) -> None:
    """What a server sends in chunks arrives, however the network cuts it; and nothing short of it is complete."""
    pieces = [piece for piece in cut(content, lengths) if piece]
    sent = b"".join(b"%x;x=y\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: 1\r\n\r\n"
    assert _outcome(cut(sent, lengths[::-1])) == (content, True, b"", None)
    found, complete, excess, error = _outcome([sent[: min(sum(lengths), len(sent) - 1)]])
    assert content.startswith(found)
    assert (complete, excess, error) == (False, b"", None)
