from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from anthropix_actors._foreign.log import LOGGER, log, log_end, named, shown

from servers import DEADLINE, wait


def test_a_record_has_its_text_its_error_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("odd")
    log(logging.WARNING, "%s failed", "it", exc_info=error, tag="night", attempts=2)
    record: Any = caplog.records[0]
    assert (record.name, record.getMessage()) == ("anthropix_actors", "it failed")
    assert (record.tag, record.attempts, record.exc_info[1]) == ("night", 2, error)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_handler_that_raises_costs_its_record_only_but_for_ctrl_c(error: type[BaseException]) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error(record)

    def write() -> None:
        log(logging.ERROR, "nobody hears this")
        written.set()

    broken, written = Broken(), threading.Event()
    LOGGER.addHandler(broken)
    try:
        writing = threading.Thread(target=write)
        writing.start()
        wait(written)
        writing.join(DEADLINE)
        if error is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                log(logging.ERROR, "nor this")
        else:
            log(logging.ERROR, "nor this")
    finally:
        LOGGER.removeHandler(broken)


def test_a_level_that_is_off_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log(logging.DEBUG, "nothing")
    assert not caplog.records


def test_a_tag_is_in_the_text_in_one_line_and_shortened(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_end("chat", {"state": "cancelled", "seconds": 0.9, "tag": "night\n7"}, why="the client was closed")
    log_end("chat", {"state": "done", "seconds": 0.9, "tag": None})
    assert caplog.messages == [r"chat 'night\n7' cancelled after 0.9 s: the client was closed", "chat done after 0.9 s"]
    assert named("chat", "a" * 500) == f"chat '{'a' * 76}..."


def test_an_object_is_shown_shortened_and_one_whose_repr_raises_by_its_type() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise SystemError

    assert shown("a" * 500) == "'" + "a" * 196 + "..."
    assert shown(Odd()) == "<Odd, whose repr raises>"
