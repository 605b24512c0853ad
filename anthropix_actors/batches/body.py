"""The requests of batches: checked as a chat's parameters are, and split into bodies that the API takes.

A body may be as large as 256 MB, so it is kept in a temporary file: in memory up to 8 MB, then on disk.

Source: https://docs.claude.com/en/api/creating-message-batches, read 2026-11-23.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from anthropix_actors._checks.call_errors import unknown_problems
from anthropix_actors._foreign.log import shown
from anthropix_actors.chat.parameters import BATCH_PARAMETERS, MAX_TOKENS, batch_body
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

MAX_REQUESTS = 100_000
MAX_BYTES = 256_000_000

_IN_MEMORY = 8 << 20
_DIGEST_BYTES = 16
_MOST_PROBLEMS = 1000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_KEYS = frozenset({"custom_id", "params"})
_UNKNOWN_KEY = 'unknown key: expected "custom_id" and "params"'
_HEAD, _TAIL = b'{"requests":[', b"]}"


class _Named(TypedDict):
    custom_id: str


class _Requests(TypedDict):
    requests: list[_Named]


class BatchBody:
    """The request body that creates one batch: filled first, then sent.

    Attributes:
        first: The index of its first request, among all requests.
        count: Its number of requests.
        size: Its length in bytes.
    """

    content_type = "application/json"
    repeatable = True

    def __init__(self, first: int = 0) -> None:
        """Start without requests."""
        self.first = first
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `close` closes it
        self._file.write(_HEAD)
        self.count = 0
        self.size = len(_HEAD) + len(_TAIL)

    def has_room_for(self, request: bytes) -> bool:
        """Return whether `request` fits."""
        return self.count < MAX_REQUESTS and self.size + len(request) + 1 <= MAX_BYTES

    def add(self, request: bytes) -> None:
        """Append a request."""
        self._file.write(b"," + request if self.count else request)
        self.size += len(request) + bool(self.count)
        self.count += 1

    @property
    def place(self) -> str:
        """Its requests, as a Python slice."""
        return f"requests[{self.first}:{self.first + self.count}]"

    def open(self) -> tuple[BinaryIO, int]:
        """Return the body as a file, and its length in bytes."""
        self._file.seek(self.size - len(_TAIL))
        self._file.write(_TAIL)
        self._file.seek(0)
        opened: Any = _Unclosed(self._file)
        return opened, self.size

    def digest(self) -> str:
        """Return what differs for other requests, or another order of them."""
        file, _ = self.open()
        found = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for chunk in iter(partial(file.read, _IN_MEMORY), b""):
            found.update(chunk)
        return found.hexdigest()

    def custom_ids(self) -> set[str]:
        """Return the `custom_id` of each of its requests."""
        file, _ = self.open()
        return {each["custom_id"] for each in msgspec.json.decode(file.read(), type=_Requests)["requests"]}

    def close(self) -> None:
        """Delete its file."""
        self._file.close()


class _Unclosed:
    """A file that stays open when the sender closes it: it may have to be sent again."""

    def __init__(self, file: Any) -> None:
        self.read = file.read

    def close(self) -> None:
        """Leave it open."""


def batch_bodies(requests: Iterable[Any], *, api_version: str) -> list[BatchBody]:
    """Check the requests of a batch, and split them into as many bodies as they need.

    Args:
        requests: Mappings with a `custom_id` of your own choice, and `params` as for a chat.
        api_version: The version of the API that they are sent to.

    Raises:
        ParameterError: a request is invalid; it has every problem (the first thousand, at least).

    Example:
        >>> hello = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        >>> bodies = batch_bodies([{"custom_id": "a", "params": hello}], api_version="2023-06-01")
        >>> [body.count for body in bodies]
        [1]
        >>> close_all(bodies)
    """
    bodies = [BatchBody()]
    try:
        problems = _fill(bodies, requests, api_version)
    except BaseException:
        close_all(bodies)
        raise
    if problems:
        close_all(bodies)
        raise ParameterError(problems)
    return bodies


def close_all(bodies: Iterable[BatchBody]) -> None:
    """Close all bodies."""
    for body in bodies:
        body.close()


def _fill(bodies: list[BatchBody], requests: Iterable[Any], api_version: str) -> list[Problem]:
    """Add requests to bodies until the first problem; from then on, only look for more problems."""
    problems: list[Problem] = []
    places: dict[str, str] = {}
    for index, request in enumerate(_iterable(requests)):
        encoded = _encoded(request, f"requests[{index}]", places, problems, api_version)
        if len(problems) >= _MOST_PROBLEMS:
            break
        if not problems:
            if not bodies[-1].has_room_for(encoded):
                bodies.append(BatchBody(index))
            bodies[-1].add(encoded)
    if not places and not problems:
        problems.append(Problem("requests", "expected at least one request, got none"))
    return problems


def _iterable(requests: Any) -> Iterable[Any]:
    try:
        if isinstance(requests, (str, bytes, Mapping)):
            raise TypeError  # noqa: TRY301 - iterable, but not a list of requests
        found: Iterable[Any] = iter(requests)
    except TypeError:
        what = f"expected an iterable of requests, got {type(requests).__name__}"
        raise ParameterError([Problem("requests", what)]) from None
    return found


def _encoded(request: Any, place: str, places: dict[str, str], problems: list[Problem], api_version: str) -> bytes:
    """Return one request as JSON; add everything wrong with it to `problems`."""
    if not isinstance(request, Mapping):
        problems.append(Problem(place, f'expected a mapping with "custom_id" and "params", got {_kind(request)}'))
        return b""
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
        what = f"expected 1 to 64 letters, digits, _ and -, got {shown(custom_id)}"
        problems.append(Problem(f"{place}.custom_id", what))
    else:
        custom_id = str.__str__(custom_id)  # a subclass, such as an enum, may be encoded as something else
        if (other := places.setdefault(custom_id, place)) is not place:
            problems.append(Problem(f"{place}.custom_id", f"expected a unique one; {other} has {custom_id!r}"))
    problems += [
        Problem(f"{place}.{key if isinstance(key, str) else shown(key)}", _UNKNOWN_KEY)
        for key in request
        if not isinstance(key, str) or key not in _KEYS
    ]
    body = _params(request.get("params"), f"{place}.params", problems, api_version)
    encoded = msgspec.json.encode({"custom_id": custom_id, "params": body}) if not problems else b""
    if len(encoded) + len(_HEAD) + len(_TAIL) > MAX_BYTES:
        problems.append(Problem(place, f"expected at most {MAX_BYTES} bytes, got {len(encoded)}"))
    return encoded


def _params(params: Any, place: str, problems: list[Problem], api_version: str) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        problems.append(Problem(place, f"expected the parameters of a chat, got {_kind(params)}"))
        return {}
    given: dict[str, Any] = {"max_tokens": MAX_TOKENS, **params}
    found: list[Problem] = []
    if given.pop("stream", None):
        found.append(Problem("stream", "expected none: a batch is not streamed"))
    found += unknown_problems(given, BATCH_PARAMETERS, "chat")
    known = {name: value for name, value in given.items() if name in BATCH_PARAMETERS}
    extra_body = known.pop("extra_body", None)
    body: dict[str, Any] = {}
    try:
        body = batch_body(known, api_version=api_version, extra_body=extra_body)
    except ParameterError as exc:
        found += exc.problems
    problems += [Problem(f"{place}.{problem.place}", problem.text) for problem in found]
    return body


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
