"""Paging of lists, in both of the API's ways.

Source: https://docs.claude.com/en/api/listing-message-batches and https://docs.claude.com/en/api/files-list, read
2026-11-23.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_LIMIT = 20
HIGHEST_LIMIT = 1000

_CURSOR = "page_"


def page_by_id(
    query: Mapping[str, str], ids: Sequence[str], show: Callable[[str], Mapping[str, Any]], noun: str
) -> dict[str, Any]:
    """Return one page of a list that is paged by `after_id` and `before_id`.

    Args:
        query: The query of the request.
        ids: All ids, in the order of the list.
        show: Returns the object of an id.
        noun: What an object is called in errors.

    Raises:
        RefusedError: a parameter of the query is wrong.

    Example:
        >>> page_by_id({"limit": "1", "after_id": "b"}, ["a", "b", "c"], lambda name: {"id": name}, "letter")
        {'data': [{'id': 'c'}], 'has_more': False, 'first_id': 'c', 'last_id': 'c'}
    """
    limit = _limit(query)
    if "after_id" in query:
        begin = _index_of(query, "after_id", ids, noun) + 1
    elif "before_id" in query:
        ids = ids[: _index_of(query, "before_id", ids, noun)]
        begin = max(0, len(ids) - limit)
    else:
        begin = 0
    found = ids[begin : begin + limit]
    more = begin > 0 if "before_id" in query and "after_id" not in query else begin + limit < len(ids)
    ends = {"first_id": found[0] if found else None, "last_id": found[-1] if found else None}
    return {"data": [show(each) for each in found], "has_more": more, **ends}


def page_by_cursor(
    query: Mapping[str, str], numbers: Sequence[int], *, descending: bool = False
) -> tuple[Sequence[int], str | None]:
    """Return one page of a list that is paged by `page`, an opaque cursor.

    A cursor holds the last number of its page, so objects that come and go meanwhile move no other to another page.

    Args:
        query: The query of the request.
        numbers: One number for each object, in the order of the list.
        descending: Whether the numbers are in falling order instead of rising.

    Returns:
        The numbers of this page, and the cursor of the next page, or None at the end.

    Raises:
        RefusedError: a parameter of the query is wrong.

    Example:
        >>> numbers, cursor = page_by_cursor({"limit": "2"}, [9, 7, 4], descending=True)
        >>> numbers, page_by_cursor({"page": cursor}, [9, 4], descending=True)
        ([9, 7], ([4], None))
    """
    limit = _limit(query)
    if "page" in query:
        last = _decode_cursor(query["page"])
        numbers = [number for number in numbers if (number < last if descending else number > last)]
    found = numbers[:limit]
    return found, _encode_cursor(found[-1]) if limit < len(numbers) else None


def query_values(query: Mapping[str, str], key: str) -> list[str]:
    """Return the values of a parameter that may have several: repeated, with brackets, or with commas.

    Example:
        >>> query_values({"types[]": "user.message,agent.message"}, "types")
        ['user.message', 'agent.message']
    """
    return [value for name in (key, f"{key}[]") for value in query.get(name, "").split(",") if value]


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= limit <= HIGHEST_LIMIT:
        raise RefusedError(400, f"limit: Input should be an integer from 1 to {HIGHEST_LIMIT}")
    return limit


def _index_of(query: Mapping[str, str], key: str, ids: Sequence[str], noun: str) -> int:
    try:
        return ids.index(query[key])
    except ValueError:
        raise RefusedError(400, f"{key}: no such {noun}: {query[key]}") from None


def _encode_cursor(number: int) -> str:
    return _CURSOR + base64.urlsafe_b64encode(b"%d" % number).decode()


def _decode_cursor(cursor: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(cursor.removeprefix(_CURSOR)))
    except ValueError:
        raise RefusedError(400, f"page: no such page: {cursor}") from None
