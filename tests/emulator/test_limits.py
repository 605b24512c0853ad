"""The emulator's limits: requests and tokens per minute."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.emulator import Emulator, Limits, Reply
from anthropix_actors.emulator.limits import Bucket

HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}


def post(emulator: Emulator, prompt: str = "Hi", *, model: str = "m", stream: bool = False) -> requests.Response:
    body: dict[str, Any] = {"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": prompt}]}
    return requests.post(emulator.url + "/v1/messages", headers=HEADERS, json=body | {"stream": stream}, timeout=10)


def left(response: requests.Response, kind: str) -> int:
    return int(response.headers[f"anthropic-ratelimit-{kind}-remaining"])


@given(
    st.integers(1, 10_000),
    st.floats(0.1, 60),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 5_000)), max_size=20),
)
def test_a_bucket_lets_through_no_more_than_its_rate_and_what_it_held(
    per_minute: int, seconds: float, asked: list[tuple[float, int]]
) -> None:
    bucket, size, now, taken = Bucket(per_minute, seconds, 0.0), per_minute * seconds / 60, 0.0, 0
    for pause, amount in asked:
        now += pause
        assert bucket.level(now) <= size * (1 + 1e-9)
        if amount <= size:
            now += bucket.wait(amount, now)
            assert bucket.level(now) >= amount - 1e-6
            bucket.take(amount, now)
            taken += amount
    assert taken <= size + per_minute * now / 60 + 1e-3


def test_more_requests_than_a_minute_has_are_refused_until_there_is_room() -> None:
    with Emulator(limits=Limits(requests=3)) as emulator:
        answers = [post(emulator) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [left(answer, "requests") for answer in answers] == [2, 1, 0, 0]
        assert answers[0].headers["anthropic-ratelimit-requests-limit"] == "3"
        error = answers[3].json()["error"]
        assert error["type"] == "rate_limit_error"
        assert "3 requests per minute" in error["message"]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 20
        assert post(emulator, model="another").status_code == 200


def test_input_is_taken_when_a_request_comes_and_not_when_it_is_refused() -> None:
    with Emulator(limits=Limits(requests=10, input_tokens=100)) as emulator:
        first = post(emulator, "word " * 60)
        assert first.status_code == 200
        assert left(first, "input-tokens") < 40
        refused = post(emulator, "word " * 60)
        assert refused.status_code == 429
        assert "100 input tokens per minute" in refused.json()["error"]["message"]
        assert left(refused, "requests") == left(first, "requests")
        assert left(refused, "input-tokens") >= left(first, "input-tokens")
        small = post(emulator, "word")
        assert small.status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_output_is_taken_as_it_is_written_and_may_be_more_than_there_is(*, stream: bool) -> None:
    with Emulator(limits=Limits(output_tokens=50)) as emulator:
        emulator.queue("word " * 100)
        assert post(emulator, stream=stream).status_code == 200
        refused = post(emulator, stream=stream)
    assert refused.status_code == 429
    assert "50 output tokens per minute" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 60
    assert left(refused, "output-tokens") == 0


def test_an_answer_without_usage_costs_no_output() -> None:
    with Emulator(limits=Limits(output_tokens=50)) as emulator:
        for answer in ({"id": "msg_1"}, Reply([])):
            emulator.queue(answer)
            assert post(emulator).status_code == 200
        assert left(post(emulator), "output-tokens") == 50


def test_a_bucket_fills_again() -> None:
    with Emulator(limits=Limits(requests=6_000, seconds=0.05)) as emulator:  # five at once, then one every 10 ms
        codes = [post(emulator).status_code for _ in range(40)]
        assert codes[0] == 200
        assert 200 in itertools.chain(codes[5:])


def test_without_limits_everything_is_let_in_and_the_usual_limits_are_told() -> None:
    with Emulator() as emulator:
        answer = post(emulator)
    assert {kind: left(answer, kind) for kind in ("requests", "input-tokens", "output-tokens", "tokens")} == {
        "requests": 4_000,
        "input-tokens": 4_000_000,
        "output-tokens": 800_000,
        "tokens": 4_800_000,
    }
    assert answer.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")


@pytest.mark.parametrize("bad", [{"requests": 0}, {"input_tokens": -1}, {"output_tokens": 0}, {"seconds": 0.0}])
def test_limits_that_let_nothing_in_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Limits(**bad)
