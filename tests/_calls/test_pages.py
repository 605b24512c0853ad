from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import Pages, ProtocolError
from anthropix_actors._calls.pages import KINDS, PageKind, kind_of, next_params
from anthropix_actors._http.urls import encode_query

if TYPE_CHECKING:
    from collections.abc import Mapping


class Lister:
    """A server's list of items, in pages of any kind; some pages may be empty."""

    def __init__(self, kind: PageKind, count: int, size: int, empty: set[int] | None = None) -> None:
        self.kind = kind
        self.items = [{"id": f"i{number}"} for number in range(count)]
        self.size = size
        self.empty = empty or set()
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(params)
        return self.by_id(params) if self.kind == "id" else self.by_cursor(params)

    def by_id(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = [item["id"] for item in self.items]
        if params.get("before_id"):
            end = names.index(params["before_id"])
            begin = max(0, end - self.size)
            more = begin > 0
        else:
            begin = names.index(params["after_id"]) + 1 if params.get("after_id") else 0
            end = begin + self.size
            more = end < len(names)
        data = self.items[begin:end]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return {"data": data, "has_more": more, **ends}

    def by_cursor(self, params: Mapping[str, Any]) -> dict[str, Any]:
        turn = int(params.get("page_token" if self.kind == "token" else "page") or 0)
        start = sum(0 if number in self.empty else self.size for number in range(turn))
        data = [] if turn in self.empty else self.items[start : start + self.size]
        more = start + len(data) < len(self.items)
        page: dict[str, Any] = {"data": data, "next_page": str(turn + 1) if more else None}
        if self.kind == "bidi":
            page["prev_page"] = str(turn - 1) if turn else None
        elif self.kind in {"report", "token"}:
            page["has_more"] = more
        return page


@given(st.sampled_from(KINDS), st.integers(0, 20), st.integers(1, 7), st.sets(st.integers(0, 5)))
def test_every_item_of_every_kind_of_list_comes_once_and_in_order(
    kind: PageKind, count: int, size: int, empty: set[int]
) -> None:
    lister = Lister(kind, count, size, set() if kind == "id" else empty)
    for known in (kind, None):
        if known is None and kind == "token":
            continue  # its pages look like those of a report
        pages = Pages[Any](lister, {"limit": size}, known)
        assert list(pages) == list(pages) == lister.items, "each loop starts anew"
        assert sum(len(page["data"]) for page in pages.pages()) == count
    assert all(params["limit"] == size for params in lister.asked)


def test_a_list_may_be_read_backwards() -> None:
    lister = Lister("id", 10, 3)
    assert [item["id"] for item in Pages[Any](lister, {"before_id": "i9"})] == [
        *("i6", "i7", "i8"),
        *("i3", "i4", "i5"),
        *("i0", "i1", "i2"),
    ]


def test_a_page_is_fetched_when_its_first_item_is_wanted() -> None:
    lister = Lister("cursor", 4, 2)
    items = iter(Pages[Any](lister, {}))
    assert lister.asked == []
    assert [next(items)["id"], next(items)["id"]] == ["i0", "i1"]
    assert len(lister.asked) == 1
    assert next(items)["id"] == "i2"
    assert [params.get("page") for params in lister.asked] == [None, "1"]


def test_a_list_that_does_not_end_is_an_error() -> None:
    pages = Pages[Any](lambda _: {"data": [1], "next_page": "x"}, {})
    with pytest.raises(ProtocolError, match="does not end"):
        list(pages)


@pytest.mark.parametrize("page", [None, [], {}, {"data": {}}, "x"])
def test_what_is_no_page_is_an_error(page: Any) -> None:
    with pytest.raises(ProtocolError, match="expected a page"):
        list(Pages[Any](lambda _: page, {}))


def test_kinds_are_told_by_their_keys() -> None:
    assert kind_of({"data": [], "last_id": None}) == "id"
    assert kind_of({"data": [], "next_page": None, "prev_page": None}) == "bidi"
    assert kind_of({"data": [], "next_page": None, "has_more": False}) == "report"
    assert kind_of({"data": [], "next_page": None}) == "cursor"


def test_an_empty_page_by_id_is_the_last_one() -> None:
    page = {"data": [], "has_more": True, "first_id": "a", "last_id": "a"}
    assert next_params("id", page, {}) is None
    assert next_params("report", {"data": [], "has_more": True, "next_page": "n"}, {"a": 1}) == {"a": 1, "page": "n"}
    assert next_params("cursor", {"data": [1], "next_page": "n", "has_more": False}, {}) is None


@given(st.integers(0, 30), st.integers(1, 30))
def test_a_list_that_comes_back_to_any_page_is_an_error_soon(before: int, length: int) -> None:
    asked = []

    def fetch(params: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(params)
        number = int(params.get("page", 0))
        return {"data": [number], "next_page": str(number + 1 if number + 1 < before + length else before)}

    got: list[int] = []
    with pytest.raises(ProtocolError, match="does not end"):
        got.extend(Pages[Any](fetch, {}))
    assert got[: before + length] == list(range(before + length))
    assert len(asked) <= 3 * (before + length) + 1


@pytest.mark.parametrize("value", [5.5, True, ["x"], {"page": "x"}])
def test_what_leads_nowhere_is_an_error_of_the_servers(value: Any) -> None:
    with pytest.raises(ProtocolError, match="next_page, which leads to the next page"):
        list(Pages[Any](lambda _: {"data": [], "next_page": value}, {}))


@pytest.mark.parametrize("kind", ["id", "report"])
def test_a_list_that_has_more_and_does_not_say_where_is_cut(kind: PageKind) -> None:
    with pytest.raises(ProtocolError, match="leads to the next page, got None"):
        list(Pages[Any](lambda _: {"data": [1], "has_more": True}, {}, kind))


def test_a_page_may_be_a_number() -> None:
    lister = Lister("cursor", 4, 2)
    pages = Pages[Any](lambda query: {**(page := lister(query)), "next_page": int(page["next_page"] or 0)}, {})
    assert list(pages) == lister.items


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from([*KINDS, None]),
    st.sampled_from(["data", "has_more", "next_page", "prev_page", "first_id", "last_id", "page"]),
    _JSON,
)
def test_any_json_in_place_of_a_field_of_a_page_is_a_list_or_an_error_of_ours(
    kind: PageKind | None, field: str, value: Any
) -> None:
    asked = []

    def fetch(query: Mapping[str, Any]) -> Any:
        encode_query(query)  # as a request does
        asked.append(query)
        page = {"data": [1], "has_more": len(asked) < 3, "next_page": "x", "last_id": "y"}
        return {**page, field: value} if field != "page" else value

    with contextlib.suppress(ProtocolError):
        list(Pages[Any](fetch, {}, kind))
    assert len(asked) <= 3
