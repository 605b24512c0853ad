from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ParameterError
from anthropix_actors.batches.body import batch_bodies, close_all

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAMS: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def requests_of(count: int, **params: Any) -> list[dict[str, Any]]:
    return [{"custom_id": f"n{number}", "params": {**PARAMS, **params}} for number in range(count)]


def read(requests: Any) -> list[Any]:
    """Get what each of the bodies says, read twice in pieces of different sizes."""
    bodies = batch_bodies(requests, api_version="2023-06-01")
    found = []
    for body in bodies:
        for size in (7, 1 << 20):
            file, length = body.open()
            data = b""
            while piece := file.read(size):
                data += piece
            file.close()
            assert len(data) == length == body.size
        found.append(json.loads(data))
        assert len(found[-1]["requests"]) == body.count
    close_all(bodies)
    return found


def problems_of(requests: Any) -> list[str]:
    with pytest.raises(ParameterError) as raised:
        batch_bodies(requests, api_version="2023-06-01")
    gc.collect()  # a file that was left open would be found by it, and the warning fails the test
    return [problem.place for problem in raised.value.problems]


def test_a_body_says_what_chats_would_with_their_defaults() -> None:
    requests = [
        {"custom_id": "a", "params": PARAMS},
        {"custom_id": "b", "params": {**PARAMS, "max_tokens": 5, "stream": False, "extra_body": {"new": 1}}},
    ]
    assert read(iter(requests)) == [
        {
            "requests": [
                {"custom_id": "a", "params": {**PARAMS, "max_tokens": 4096}},
                {"custom_id": "b", "params": {**PARAMS, "max_tokens": 5, "new": 1}},
            ]
        }
    ]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 600))
def test_requests_are_split_over_as_many_bodies_as_they_need(count: int, most: int, slack: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anthropix_actors.batches.body.MAX_REQUESTS", most)
        patch.setattr("anthropix_actors.batches.body.MAX_BYTES", 120 + slack)
        said = read(requests_of(count))
    assert [request for body in said for request in body["requests"]] == [
        {**request, "params": {**request["params"], "max_tokens": 4096}} for request in requests_of(count)
    ]
    assert all(len(body["requests"]) <= most for body in said)
    assert all(len(json.dumps(body, separators=(",", ":"))) <= 120 + slack for body in said)


def test_a_large_body_goes_to_the_disk_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body._IN_MEMORY", 100)
    ((body,),) = [read(requests_of(50))]
    assert len(body["requests"]) == 50


def test_everything_wrong_is_named_at_once() -> None:
    wrong: list[Any] = [
        {"custom_id": "a", "params": {**PARAMS, "messages": [{"role": "user", "content": 5}], "top_k": -1}},
        {"custom_id": "a b", "params": PARAMS, "other": 1},
        {"custom_id": "a", "params": {**PARAMS, "stream": True, "modle": "x"}},
        "no mapping",
        None,
        {"params": None},
        {"custom_id": "b", "params": {"model": "m"}},
        {"custom_id": "c", "params": {**PARAMS, "extra_body": 5}},
        {"custom_id": "x" * 65, "params": PARAMS},
        {"custom_id": "ü", "params": PARAMS},
    ]
    assert problems_of(wrong) == [
        "requests[0].params.messages[0].content",
        "requests[0].params.top_k",
        "requests[1].custom_id",
        "requests[1].other",
        "requests[2].custom_id",
        "requests[2].params.stream",
        "requests[2].params.modle",
        "requests[3]",
        "requests[4]",
        "requests[5].custom_id",
        "requests[5].params",
        "requests[6].params.messages",
        "requests[7].params.extra_body",
        "requests[8].custom_id",
        "requests[9].custom_id",
    ]


def test_a_duplicate_says_whose_name_it_has() -> None:
    with pytest.raises(ParameterError, match=r"requests\[0\] has 'n0'"):
        batch_bodies(requests_of(1) * 2, api_version="2023-06-01")


def test_a_request_larger_than_a_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body.MAX_BYTES", 100)
    assert problems_of(requests_of(1)) == ["requests[0]"]


def test_after_a_thousand_problems_nobody_reads_on() -> None:
    asked: list[int] = []

    def endless() -> Iterator[Any]:
        while True:
            asked.append(1)
            yield None

    assert len(problems_of(endless())) == len(asked) == 1000


@pytest.mark.parametrize("requests", [None, 5, "text", b"bytes", {"custom_id": "a", "params": PARAMS}, []])
def test_what_is_no_iterable_of_requests_is_refused(requests: Any) -> None:
    assert problems_of(requests) == ["requests"]


def test_an_iterable_that_fails_leaves_no_file_open() -> None:
    def failing() -> Iterator[Any]:
        yield from requests_of(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        batch_bodies(failing(), api_version="2023-06-01")
    gc.collect()


def test_a_request_says_in_its_body_on_whose_behalf_it_is_made() -> None:
    ((request,),) = [body["requests"] for body in read(requests_of(1, user_profile_id="uprof_1"))]
    assert request["params"]["user_profile_id"] == "uprof_1"
    assert problems_of(requests_of(1, user_profile_id=5)) == ["requests[0].params.user_profile_id"]
    assert problems_of(requests_of(1, workspace_id="wrkspc_1")) == ["requests[0].params.workspace_id"]


class Name(str):
    """A string that is another one where it is written."""

    __slots__ = ()

    def __str__(self) -> str:
        return "other"


def test_a_name_that_is_more_than_a_string_is_sent_as_the_string_that_it_is() -> None:
    ((body,),) = [read([{"custom_id": Name("a"), "params": PARAMS}])]
    assert body["requests"][0]["custom_id"] == "a"
    assert problems_of([{"custom_id": Name("a"), "params": PARAMS}, {"custom_id": "a", "params": PARAMS}]) == [
        "requests[1].custom_id"
    ]


class Odd:
    """Has no repr, no hash, and equals nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no equality")


class Given(Mapping[Any, Any]):
    """A mapping of a caller's own."""

    def __init__(self, *items: tuple[Any, Any]) -> None:
        self.given = items

    def __getitem__(self, key: Any) -> Any:
        for name, value in self.given:
            if isinstance(name, str) and name == key:
                if isinstance(value, BaseException):
                    raise value
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return (name for name, _ in self.given)

    def __len__(self) -> int:
        return len(self.given)


def test_mappings_of_a_callers_own_are_requests_too() -> None:
    ((body,),) = [read([Given(("custom_id", "a"), ("params", Given(*PARAMS.items())))])]
    assert body["requests"][0]["custom_id"] == "a"
    with pytest.raises(ParameterError) as raised:
        batch_bodies([Given(("custom_id", Odd()), ("params", Odd()), (Odd(), 1), (5, 1))], api_version="2023-06-01")
    assert [problem.place for problem in raised.value.problems] == [
        "requests[0].custom_id",
        "requests[0].<Odd, whose repr raises>",
        "requests[0].5",
        "requests[0].params",
    ]


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt])
def test_what_a_request_raises_is_the_callers_and_leaves_no_file_open(kind: Any) -> None:
    with pytest.raises(kind):
        batch_bodies([*requests_of(1), Given(("custom_id", kind()))], api_version="2023-06-01")
    gc.collect()


def test_bodies_know_which_requests_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body.MAX_REQUESTS", 2)
    bodies = batch_bodies(requests_of(5), api_version="2023-06-01")
    assert [body.place for body in bodies] == ["requests[0:2]", "requests[2:4]", "requests[4:5]"]
    close_all(bodies)
