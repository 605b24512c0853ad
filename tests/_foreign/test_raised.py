"""What was raised is looked at without asking it anything."""

from __future__ import annotations

import logging

import pytest
from odd_errors import ODD

from anthropix_actors._foreign.log import log, safely, shown
from anthropix_actors._foreign.raised import for_log, is_a, kind_of


@pytest.mark.parametrize("name", ODD)
def test_an_odd_error_is_what_the_interpreter_knows_it_by(name: str) -> None:
    kind = ODD[name]
    error = kind("odd")
    assert is_a(error, KeyError, kind)
    assert not is_a(error, KeyboardInterrupt)
    assert kind_of(error) == name
    assert shown(error)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_error_is_logged(name: str, caplog: pytest.LogCaptureFixture) -> None:
    def raises() -> None:
        raise ODD[name]("odd")

    log(logging.ERROR, "it failed", exc_info=ODD[name]("odd"))
    safely("it", raises)
    assert [record.getMessage() for record in caplog.records] == ["it failed", "it raised"]


def test_an_error_that_cannot_be_looked_at_has_no_traceback() -> None:
    assert {name for name in ODD if for_log(ODD[name]("odd")) is None} == {"Silent", "Classless"}
