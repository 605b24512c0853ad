"""What is promised of names, numbers and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from anthropix_actors.errors import ParameterError
from anthropix_actors.stores.conformance.kit import (
    check_of_log,
    everything,
    expect,
    expect_equal,
    expect_refusal,
    numbered,
    numbers_in,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.stores.log import Log

_ODD = [
    *(
        "a b",
        "a/b",
        "../a",
        "a:b",
        "a%",
        "a_",
        "a*",
        "a?",
        "a[b]",
        "a{b}",
        "a'b",
        'a"b',
        "a;--",
        "a\\b",
        "A",
        "é",
        "日本",
        "🎻",
    ),
]
_NO_NAMES: list[Any] = ["", "x" * 257, "a\nb", "a\0b", "\ud800", "\x7f", 7, None, b"a"]
_VALUES: dict[str, Any] = {
    "empty": {},
    "nested": {"a": [{"b": [[], {}, [None, True, False]]}]},
    "texts": ["", "\0\n\t\x7f", "é日本🎻", '"\\/', "\u2028"],
    "numbers": [0, -1, 1.5, 1e300, -0.0, 2**63, -(2**64), 10**30],
    "": {"": ""},
}
_NO_JSON: list[Any] = [
    None,
    7,
    "text",
    ["list"],
    {"a": {1, 2}},
    {"a": float("nan")},
    {"a": b"bytes"},
    {1: "a"},
    {"a": "\ud800"},
]


@check_of_log
def names_are_found_by_how_they_begin(log: Log, name: str) -> None:
    """`names` returns exactly the names that begin with the prefix, sorted, whatever characters it has."""
    made = sorted(f"{name}{odd}" for odd in _ODD)
    for each in made:
        log.claim(each)
    expect_equal(log.names(name), made, "the names")
    for prefix in [*made, f"{name}a", f"{name}A", f"{name}x", name[:-1]]:
        expected = [each for each in made if each.startswith(prefix)]
        found = [each for each in log.names(prefix) if each.startswith(name)]
        expect_equal(found, expected, f"the names that begin with {prefix!r}")
    expect_equal(log.names(f"{name}\ud800"), [], "the names that begin with what no name can have")
    expect([each for each in log.names() if each.startswith(name)] == made, "names() does not have all names")


@check_of_log
def odd_names_are_names(log: Log, name: str) -> None:
    """Any 1 to 256 printable characters are a name, of logs, keys and holders, and each is another one."""
    names = [f"{name}{odd}" for odd in (*_ODD, "x" * (256 - len(name)))]
    for number, each in enumerate(names):
        started(log, each, number)
        log.post(f"{name}/keys", {"n": number}, key=each)
    found = [numbers_in(log, each) for each in names]
    expect_equal(found, [[number] for number in range(len(names))], "the entries of logs with odd names")
    expect_equal(numbers_in(log, f"{name}/keys"), [*range(len(names))], "what was posted with odd keys")
    for each in names:
        log.delete(each)


@check_of_log
def what_is_no_name_is_refused(log: Log, name: str) -> None:
    """Every method refuses what is no name, with a `ParameterError`."""
    for wrong in _NO_NAMES:
        calls = {
            "claim": lambda wrong=wrong: log.claim(wrong),
            "append": lambda wrong=wrong: log.append(wrong, 1, 0, []),
            "post": lambda wrong=wrong: log.post(wrong, {}, key="k"),
            "a key": lambda wrong=wrong: log.post(name, {}, key=wrong),
            "read": lambda wrong=wrong: log.read(wrong),
            "read_many": lambda wrong=wrong: log.read_many({wrong: None}),
            "state": lambda wrong=wrong: log.state(wrong),
            "expire": lambda wrong=wrong: log.expire(wrong, 1),
            "delete": lambda wrong=wrong: log.delete(wrong),
            "beat": lambda wrong=wrong: log.beat(wrong, 1),
        }
        for what, call in calls.items():
            expect_refusal(ParameterError, f"{what} of the name {wrong!r:.20}", call)
        if wrong is not None:
            expect_refusal(ParameterError, f"the holder {wrong!r:.20}", log.claim, name, holder=wrong)


@check_of_log
def numbers_out_of_range_are_refused(log: Log, name: str) -> None:
    """Negative epochs and numbers, and times that are no seconds from 0 on, are a `ParameterError`."""
    epoch = started(log, name, 0)
    below: list[Any] = [-1, 1.5, "1", True, None, 10**400]
    times: list[Any] = [-1, float("nan"), float("inf"), "1", True, 1j]
    for wrong in below:
        expect_refusal(ParameterError, f"first = {wrong!r:.20}", log.append, name, epoch, wrong, numbered(0))
        expect_refusal(ParameterError, f"epoch = {wrong!r:.20}", log.append, name, wrong, 0, numbered(0))
    for wrong in times:
        expect_refusal(ParameterError, f"read(wait={wrong})", log.read, name, wait=wrong)
        expect_refusal(ParameterError, f"read_many(wait={wrong})", log.read_many, {name: None}, wait=wrong)
        expect_refusal(ParameterError, f"expire(seconds={wrong})", log.expire, name, wrong)
        expect_refusal(ParameterError, f"beat(seconds={wrong})", log.beat, name, wrong)


@check_of_log
def json_comes_back_as_it_was(log: Log, name: str) -> None:
    """Entries are any JSON objects, and are read as they were appended."""
    values = [{key: value} for key, value in _VALUES.items()]
    log.append(name, log.claim(name), 0, values)
    expect_equal([entry.data for entry in log.read(name)], values, "the entries")


@check_of_log
def what_is_no_json_is_refused(log: Log, name: str) -> None:
    """Entries that are no JSON objects are a `ParameterError`."""
    epoch = started(log, name, 0)
    for wrong in _NO_JSON:
        expect_refusal(ParameterError, f"an append of {wrong!r}", log.append, name, epoch, 1, [wrong])
        expect_refusal(ParameterError, f"a post of {wrong!r}", log.post, f"{name}/posts", wrong, key="k")
    for wrong in (None, 7, "text", {"n": 1}):
        expect_refusal(ParameterError, f"entries = {wrong!r}", log.append, name, epoch, 1, cast("Any", wrong))
    expect_equal(numbers_in(log, name), [0], "what is there after it")


@check_of_log
def entries_are_the_logs_own(log: Log, name: str) -> None:
    """Changing what was appended, or what was read, changes no entry."""
    data = {"n": [1]}
    log.append(name, log.claim(name), 0, [data])
    data["n"].append(2)
    cast("dict[str, list[int]]", log.read(name)[0].data)["n"].append(3)
    expect_equal(log.read(name)[0].data, {"n": [1]}, "an entry whose data were changed outside")


@check_of_log
def big_entries_are_taken_and_bigger_ones_refused(log: Log, name: str) -> None:
    """An entry of a megabyte is one; where a store has an attribute `max_entry_bytes`, one above it is refused."""
    big = {"text": "é" * 400_000, "more": ["x" * 1000] * 100}
    most = getattr(log, "max_entry_bytes", None)
    epoch = log.claim(name)
    log.append(name, epoch, 0, [big, {"n": 1}, big])
    found = everything(log, name)
    expect(
        [entry.data for entry in found] == [big, {"n": 1}, big], "entries of a megabyte did not come back as they were"
    )
    for text in _above(most):
        expect_refusal(ParameterError, "an entry that is too big", log.append, name, epoch, 3, [{"text": text}])
        expect_refusal(ParameterError, "a post that is too big", log.post, f"{name}/posts", {"text": text}, key="k")


def _above(most: int | None) -> Iterator[str]:
    if most is not None:
        yield "x" * most


VALUE_CHECKS = (
    names_are_found_by_how_they_begin,
    odd_names_are_names,
    what_is_no_name_is_refused,
    numbers_out_of_range_are_refused,
    json_comes_back_as_it_was,
    what_is_no_json_is_refused,
    entries_are_the_logs_own,
    big_entries_are_taken_and_bigger_ones_refused,
)
