from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import APIError, CancelledError
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._http.backoff import Backoff
from anthropix_actors._http.requester import Requester
from anthropix_actors._http.retry import RetryPolicy
from anthropix_actors._http.transport import Transport
from anthropix_actors._http.trust import Trust

if TYPE_CHECKING:
    from anthropix_actors._http.backoff import Retrying


def failed(*, retryable: bool = True, retry_after: float | None = None) -> APIError:
    """Get an error that has been raised."""

    def fail() -> None:
        raise APIError("no", retryable=retryable, retry_after=retry_after)

    with pytest.raises(APIError) as caught:
        fail()
    return caught.value


def collecting(told: list[object]) -> Retrying:
    return lambda error, attempt, delay: told.append((error, attempt, delay))


@pytest.fixture
def requester() -> Requester:
    return Requester(Transport("http://127.0.0.1:9", Trust()), CancelScope())


def test_the_waits_grow_with_the_failures_in_a_row_and_start_again_after_progress(requester: Requester) -> None:
    backoff = Backoff(requester, RetryPolicy(max_retries=3))
    for first in (1, 1):
        for failures, longest in enumerate((0.5, 1.0, 2.0), first):
            assert 0.75 * longest <= backoff.delay(failed()) <= longest
            assert backoff.failures == failures
        backoff.reset()


def test_the_waits_have_jitter_so_that_clients_do_not_march_in_step(requester: Requester) -> None:
    assert len({Backoff(requester, RetryPolicy()).delay(failed()) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("error", "veto"), [(failed(retryable=False), False), (failed(retry_after=61.0), False), (failed(), True)]
)
def test_the_end_is_the_error_itself_without_the_way_that_it_came(
    requester: Requester, error: APIError, *, veto: bool
) -> None:
    requester.attempts = 3
    told: list[object] = []
    with pytest.raises(APIError) as caught:
        Backoff(requester, RetryPolicy()).wait(error, collecting(told), veto=veto)
    assert caught.value is error
    assert error.attempts == 3
    assert error.__context__ is None
    assert "fail" not in [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert not told


def test_an_attempt_at_once_is_beyond_the_policys_number(requester: Requester) -> None:
    backoff = Backoff(requester, RetryPolicy(max_retries=1))
    told: list[object] = []
    errors = [failed(), failed(retry_after=0.001)]
    backoff.wait(errors[0], collecting(told), at_once=True)
    backoff.wait(errors[1], collecting(told))
    assert told == [(errors[0], 1, 0.0), (errors[1], 2, 0.001)]
    with pytest.raises(APIError):
        backoff.delay(failed())
    backoff.reset()
    assert 0.375 <= backoff.delay(failed()) <= 0.5


def test_a_retry_is_told_before_the_wait_which_a_cancel_ends(requester: Requester) -> None:
    cause = CancelledError("enough")
    error = failed(retry_after=60.0)

    def cancel(*_: object) -> None:
        assert error.__traceback__ is None  # of an error that is kept: its frames hold headers and sockets
        requester.scope.cancel(cause)

    with pytest.raises(CancelledError) as caught:
        Backoff(requester, RetryPolicy()).wait(error, cancel)
    assert caught.value is cause
