from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import APIError, APIStatusError, errors
from anthropix_actors._http.api_errors import error_from_response
from anthropix_actors._http.retry import (
    LONGEST_DELAY,
    LONGEST_WAIT,
    NEVER_AGAIN,
    RetryPolicy,
    retry_after,
    without_limit,
)

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1795435200.0  # Mon, 23 Nov 2026 12:00:00 GMT


def failed(**fields: Any) -> APIError:
    fields.setdefault("retryable", True)
    return APIError("no", **fields)


@given(st.integers(1, 50), st.floats(0, 1))
def test_delays_double_up_to_eight_seconds_less_a_random_quarter(attempts: int, dice: float) -> None:
    delay = RetryPolicy(max_retries=50).delay(failed(), attempts=attempts, dice=dice)
    assert delay is not None
    longest = min(0.5 * 2 ** (attempts - 1), LONGEST_DELAY)
    assert 0.75 * longest <= delay <= longest


def test_the_first_delays_are_those_of_the_official_sdk() -> None:
    policy = RetryPolicy(max_retries=9)
    assert [policy.delay(failed(), attempts=n, dice=0) for n in range(1, 7)] == [0.5, 1, 2, 4, 8, 8]
    assert [policy.delay(failed(), attempts=n, dice=1) for n in range(1, 3)] == [0.375, 0.75]


@given(st.integers(1, 10**9))
def test_however_many_attempts_there_were_the_delay_is_a_number(attempts: int) -> None:
    """For a daemon that never gives up."""
    delay = RetryPolicy(max_retries=10**9).delay(failed(), attempts=attempts, dice=1.0)
    assert delay is not None
    assert 0.375 <= delay <= 6.0


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_there_are_at_most_so_many_retries(max_retries: int) -> None:
    policy = RetryPolicy(max_retries=max_retries)
    delays = [policy.delay(failed(), attempts=attempts, dice=0) for attempts in range(1, 5)]
    assert sum(delay is not None for delay in delays) == max_retries


def test_what_is_not_worth_it_is_not_tried_again() -> None:
    assert RetryPolicy().delay(failed(retryable=False), attempts=1, dice=0) is None


@pytest.mark.parametrize("asked", [-5.0, 0.0, float("nan"), float("inf"), -float("inf")])
def test_a_wait_that_makes_no_sense_is_none(asked: float) -> None:
    """Also where it comes from an error that somebody else made."""
    assert RetryPolicy().delay(failed(retry_after=asked), attempts=1, dice=0.0) == 0.5


@pytest.mark.parametrize("asked", [LONGEST_WAIT, LONGEST_WAIT + 1, 1e10, 1e300])
def test_no_wait_is_longer_than_a_thread_can_wait(asked: float) -> None:
    policy = RetryPolicy(max_retry_after=float("inf"))
    assert policy.delay(failed(retry_after=asked), attempts=1, dice=0.0) == LONGEST_WAIT < 4_294_967
    assert RetryPolicy().delay(failed(retry_after=asked), attempts=1, dice=0.0) is None


@pytest.mark.parametrize(("asked", "delay"), [(0.001, 0.001), (60.0, 60.0), (60.1, None), (1e9, None)])
def test_what_the_api_asks_is_obeyed_up_to_the_cap(asked: float, delay: float | None) -> None:
    assert RetryPolicy().delay(failed(retry_after=asked), attempts=1, dice=0.5) == delay


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after-ms": "0", "retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Mon, 23 Nov 2026 12:01:00 GMT"}, 60),
        ({"retry-after": "Mon, 23 Nov 2026 13:00:00 +0100"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 11:59:00 GMT"}, None),
        ({"retry-after": "Mon, 99 Nov 2026 12:01:00 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_WAIT),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2300"}, LONGEST_WAIT),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2300"}, None),
        ({"retry-after": "1e10"}, LONGEST_WAIT),
        ({"retry-after": "9" * 300}, LONGEST_WAIT),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after-ms": "1e15", "retry-after": "2"}, LONGEST_WAIT),
        ({"retry-after": "1e-9"}, 1e-9),
        ({"retry-after": "-inf"}, None),
    ],
)
def test_the_wait_is_read_from_the_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOON) == seconds


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's time zone is not a variable")
@pytest.mark.parametrize(
    "date", ["Mon Nov 23 12:01:00 2026", "Mon, 23 Nov 2026 12:01:00", "23 Nov 2026 12:01:00 -0000"]
)
def test_a_date_that_names_no_zone_is_in_gmt_wherever_the_client_runs(
    date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "America/New_York")
            time.tzset()
            assert retry_after({"retry-after": date}, now=NOON) == 60
    finally:
        time.tzset()


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=30)))
def test_no_header_whatever_it_says_breaks_a_retry(headers: dict[str, str]) -> None:
    seconds = retry_after(headers, now=NOON)
    assert seconds is None or 0 < seconds <= LONGEST_WAIT


def coded(kind: str, code: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": "no", "details": {"error_code": code}}}


@pytest.mark.parametrize("code", NEVER_AGAIN)
@pytest.mark.parametrize("headers", [{}, {"x-should-retry": "true", "retry-after": "1"}])
@pytest.mark.parametrize("in_stream", [False, True])
def test_some_errors_are_never_tried_again_whatever_else_is_said(
    code: str, headers: dict[str, str], *, in_stream: bool
) -> None:
    for status, kind in ((429, "rate_limit_error"), (503, "api_error")):
        error = error_from_response(status, coded(kind, code), headers, now=NOON, in_stream=in_stream)
        assert (error.error_code, error.retryable) == (code, False)
        assert RetryPolicy().delay(error, attempts=1, dice=0.0) is None


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "workspace_created_incomplete"])
def test_those_are_among_them(code: str) -> None:
    assert code in NEVER_AGAIN
    assert "enforced_spend_limit_reached" in NEVER_AGAIN


def test_a_change_of_which_nobody_knows_whether_it_was_made_is_asked_for_again() -> None:
    error = error_from_response(503, coded("api_error", "change_outcome_unknown"), {}, now=NOON)
    assert (error.error_code, error.retryable) == ("change_outcome_unknown", True)


def test_who_has_any_patience_has_it_for_days() -> None:
    error = failed(retry_after=7200.0)
    assert without_limit(RetryPolicy(max_retries=1)).delay(error, attempts=10**6, dice=0.0) == 7200.0
    assert without_limit(RetryPolicy(max_retries=0)).delay(error, attempts=1, dice=0.0) is None


def body(kind: str, message: str = "because") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        *[(status, {}, True) for status in (408, 409, 429, 500, 502, 503, 504, 529, 599)],
        *[(status, {}, False) for status in (300, 400, 401, 402, 403, 404, 412, 413, 422, 499)],
        (400, {"x-should-retry": "true"}, True),
        (529, {"x-should-retry": "false"}, False),
        (529, {"x-should-retry": "perhaps"}, True),
    ],
)
def test_which_statuses_are_worth_another_try(status: int, headers: dict[str, str], *, expected: bool) -> None:
    assert error_from_response(status, {}, headers, now=NOON).retryable is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *[(kind, True) for kind in ("overloaded_error", "api_error", "rate_limit_error", "timeout_error")],
        *[(kind, False) for kind in ("invalid_request_error", "authentication_error", "brand_new_error")],
    ],
)
def test_which_errors_in_a_stream_are_worth_another_try(kind: str, *, expected: bool) -> None:
    headers = {"x-should-retry": "false"}  # of the answer that had begun well
    assert error_from_response(200, body(kind), headers, now=NOON, in_stream=True).retryable is expected


def test_an_error_has_all_that_is_known() -> None:
    headers = {"retry-after": "7", "request-id": "req_1"}
    error = error_from_response(429, body("rate_limit_error"), headers, now=NOON)
    assert isinstance(error, errors.RateLimitError)
    assert (error.message, error.status, error.type, error.body) == (
        "because",
        429,
        "rate_limit_error",
        body("rate_limit_error"),
    )
    assert (error.retry_after, error.response_headers, error.in_stream) == (7, headers, False)


@pytest.mark.parametrize(
    ("status", "said", "cls", "message"),
    [
        (529, "", errors.OverloadedError, "the API has more requests than it can handle."),
        (529, "<html>busy</html>", errors.OverloadedError, "<html>busy</html>"),
        (
            502,
            "<html>\r\n<head><Title>502 Bad\r\n Gateway</title></head>" + "x" * 999,
            errors.InternalServerError,
            "502 Bad Gateway",
        ),
        (529, "<html><title> </title>busy</html>", errors.OverloadedError, "<html><title> </title>busy</html>"),
        (529, "no <title>page</title>", errors.OverloadedError, "no <title>page</title>"),
        (400, {}, errors.BadRequestError, "the API does not accept this request as it is."),
        (400, {"detail": "Invalid user agent"}, errors.BadRequestError, "Invalid user agent"),
        (502, {"message": "no upstream"}, errors.InternalServerError, "no upstream"),
        (400, {"error": "text"}, errors.BadRequestError, "text"),
        (
            500,
            {"errors": ["disk full", {"message": "no room"}, 5, ["x"]]},
            errors.InternalServerError,
            "disk full; no room",
        ),
        (
            422,
            {"detail": [{"loc": ["body", "model"], "msg": "field required"}, {"msg": "bad"}]},
            errors.UnprocessableEntityError,
            "body.model: field required; bad",
        ),
        (400, {"error": {"message": " ", "detail": "why"}}, errors.BadRequestError, "why"),
        (400, {"title": "Bad", "detail": {"title": "Worse"}}, errors.BadRequestError, "Worse"),
        (400, {"detail": [{"loc": []}]}, errors.BadRequestError, '{"detail": [{"loc": []}]}'),
        (400, {"error": {"message": 5, "type": 5}}, errors.BadRequestError, '{"error": {"message": 5, "type": 5}}'),
        (400, {"type": "error", "request_id": "r"}, errors.BadRequestError, "the API does not accept"),
        (400, {"what": object}, errors.BadRequestError, "the API does not accept"),
        (400, ["é"], errors.BadRequestError, '["é"]'),
        (503, {"object": "error", "message": "no", "type": "BadThing"}, errors.ServiceUnavailableError, "no"),
        (418, "", APIStatusError, "I'm a Teapot"),
        (500, "", errors.InternalServerError, "Internal Server Error"),
        (777, "", errors.InternalServerError, "status 777"),
        (200, {}, APIStatusError, "an error without any text"),
        (200, {"type": "overloaded_error", "message": "busy"}, errors.OverloadedError, "busy"),
        (404, [], errors.NotFoundError, "no such model, batch or path."),
        (418, "teapot", APIStatusError, "teapot"),
        (502, "x" * 5000, errors.InternalServerError, "x" * 500),
        (302, "", APIStatusError, "Found"),
        (500, body("overloaded_error"), errors.OverloadedError, "because"),
        (500, body("brand_new_error"), errors.InternalServerError, "because"),
        (200, body("brand_new_error"), APIStatusError, "because"),
    ],
)
def test_a_body_of_any_kind_makes_an_error(status: int, said: Any, cls: type[APIError], message: str) -> None:
    error = error_from_response(status, said, {}, now=NOON)
    assert type(error) is cls
    assert error.message.startswith(message)
    assert error.body == said


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://elsewhere.example/v1/messages", "https://elsewhere.example/v1/messages"),
        ("https://me:secret@elsewhere.example:8443/v1?key=secret#secret", "https://elsewhere.example:8443/v1"),
        ("//me:secret@elsewhere.example?secret", "//elsewhere.example"),
        ("/login?next=secret", "/login"),
        ("https://elsewhere.example/" + "x" * 5000, "https://elsewhere.example/xxx"),
    ],
)
def test_a_redirect_says_where_it_leads(location: str, shown: str) -> None:
    for status in (301, 302, 307, 308):
        error = error_from_response(status, "", {"location": location}, now=NOON)
        assert error.message.startswith(f"it redirects to {shown}")
        assert "base_url" in error.message
        assert "secret" not in error.message
        assert len(error.message) < 400
        assert not error.retryable


def test_an_error_under_a_status_that_says_nothing_is_retried_by_its_type() -> None:
    assert error_from_response(200, body("overloaded_error"), {}, now=NOON).retryable
    assert not error_from_response(200, body("invalid_request_error"), {"x-should-retry": "true"}, now=NOON).retryable


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "errors", "message", "detail", "type", "msg", "loc"]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from([200, 302, 308, 400, 418, 500, 599]), JSON)
def test_an_error_has_a_text_whatever_its_body_is(status: int, said: Any) -> None:
    error = error_from_response(status, said, {}, now=NOON)
    assert 0 < len(error.message) <= 500
    assert error.body == said


def test_recorded_errors_have_their_classes(corpus: Path) -> None:
    expected = {400: errors.BadRequestError, 401: errors.AuthenticationError, 404: errors.NotFoundError}
    for path in corpus.glob("errors/*.json"):
        status = int(path.name.partition("-")[0])
        recorded = json.loads(path.read_text())
        recorded = recorded.get("body", recorded)
        assert type(error_from_response(status, recorded, {}, now=NOON)) is expected[status]
