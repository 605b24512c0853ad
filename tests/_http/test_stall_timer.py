from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import APITimeoutError, StalledError, Timeout
from anthropix_actors._http.stall_timer import StallTimer

TIMES = st.floats(0, 1e6)
SECONDS = st.none() | st.floats(0.001, 1e4)


def timer(idle_since: float | None, asked_since: float | None) -> StallTimer:
    made = StallTimer()
    made.idle_since, made.asked_since = idle_since, asked_since
    return made


@given(st.none() | TIMES, st.none() | TIMES, SECONDS, SECONDS, TIMES)
def test_a_timeout_runs_out_if_its_clock_runs_and_its_time_is_up(
    idle_since: float | None, asked_since: float | None, idle: float | None, first_byte: float | None, now: float
) -> None:
    idle_is_up = idle_since is not None and idle is not None and now - idle_since >= idle
    asked_is_up = asked_since is not None and first_byte is not None and now - asked_since >= first_byte
    error = timer(idle_since, asked_since).run_out(now, Timeout(idle=idle, first_byte=first_byte))
    assert (error is not None) is (idle_is_up or asked_is_up)
    if error is not None:
        assert isinstance(error, APITimeoutError)
        assert error.retryable
        assert isinstance(error, StalledError) is idle_is_up
        assert ("timeout.idle" if idle_is_up else "timeout.first_byte") in str(error)


@given(TIMES, TIMES)
def test_progress_starts_the_clock_anew(now: float, later: float) -> None:
    stall, timeout = timer(now, None), Timeout(idle=10)
    assert stall.run_out(now + 20, timeout) is not None
    stall.idle_since = now + 20
    assert stall.run_out(now + 20 + min(later, 9), timeout) is None


@given(TIMES)
def test_a_clock_that_is_stopped_never_runs_out(now: float) -> None:
    timeout = Timeout(idle=0.001, first_byte=0.001)
    assert StallTimer().run_out(now, timeout) is None
    stopped = timer(0.0, 0.0)
    stopped.stop()
    assert stopped.run_out(now, timeout) is None
