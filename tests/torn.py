"""Conversations whose processes are killed at random moments: one after the other goes on with them.

`python torn.py` starts them: a process without threads, which forks one for each line that it reads, as that is fast.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anthropix_actors import Agent, Client, Conversations
from anthropix_actors.conversation.record import fold
from anthropix_actors.emulator import Emulator, Reply, ToolCall
from anthropix_actors.stores import SQLiteStore
from anthropix_actors.tools import Call, tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

MODEL = "claude-sonnet-5"
UNKNOWN = "interrupted: what came of it is unknown; it may have taken effect"
LONGEST = 30.0
"""Seconds that a conversation may take to come to its end, when nobody kills it any more."""


QUIET = 0.3
"""Seconds without news after which a process is taken to have nothing more to do."""


# In the processes that are killed


def agent_of(effects: str) -> Agent:
    """Return an agent whose tools append to a file what they do: once, or as often as they run."""

    def note(kind: str, call: Call) -> str:
        for moment in ("begins", "ends"):
            with Path(effects).open("a", encoding="utf-8", buffering=1) as file:
                file.write(f"{kind} {call.id} {moment}\n")
            time.sleep(0.5 if effects.endswith("slow") else 0.01)
        return f"{kind} is done"

    @tool
    def once(*, call: Call) -> str:
        """Do it."""
        return note("once", call)

    @tool(idempotent=True)
    def often(*, call: Call) -> str:
        """Do it, perhaps again."""
        return note("often", call)

    return Agent(model=MODEL, tools=[once, often])


def run(path: str, url: str, name: str, effects: str, lease: float, take_over: bool) -> None:  # noqa: FBT001, PLR0917
    """Run a conversation for ever."""
    store = SQLiteStore(path)
    client = Client("key", base_url=url, proxy="")
    talk = client.converse(agent_of(effects), store=store, id=name, lease=lease, take_over=take_over)
    talk.actor_stopped.wait()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                run(*json.loads(line))
            except BaseException:  # noqa: BLE001 - the parent looks at what is written
                traceback.print_exc()
            finally:
                os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


# In the process that kills them


class Torn:
    """Conversations in one file, and one server that answers them all. Ends with its `with` block."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "talks.db")
        self.folder = folder
        self.emulator = Emulator(handler=answered)
        self._errors = (folder / "errors").open("w", encoding="utf-8")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.emulator.__enter__()
        command = [sys.executable, "-P", __file__]
        paths = {"PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parents[1], Path(__file__).parent]))}
        environment = {**os.environ, **paths}
        pipe = subprocess.PIPE
        self._forks = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=environment
        )
        self.store = SQLiteStore(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        with self._forks as forks:
            forks.kill()
        self.store.close()
        self.emulator.__exit__(None, None, None)
        self._errors.close()

    def begin(self, name: str, *, lease: float = 10.0, take_over: bool = True) -> int:
        """Start a process that runs a conversation; return its id."""
        told = [self.path, self.emulator.url, name, self.effects(name), lease, take_over]
        with self._lock:
            assert self._forks.stdin is not None
            assert self._forks.stdout is not None
            self._forks.stdin.write(json.dumps(told) + "\n")
            self._forks.stdin.flush()
            return int(self._forks.stdout.readline())

    def effects(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def errors(self) -> str:
        return Path(self._errors.name).read_text("utf-8")


def answered(request: Any) -> Reply:
    """Have each question be answered by two calls, and their results by a text."""
    last = request.body["messages"][-1]["content"]
    if isinstance(last, list) and any(block["type"] == "tool_result" for block in last):
        return Reply(["Done."])
    return Reply(["Let me see.", ToolCall("once", {}), ToolCall("often", {})])


def torture(torn: Torn, name: str, *, kills: int, seed: int) -> None:
    """Say something, start a process and kill it, again and again; let the last one come to an end; look at it all.

    Raises:
        AssertionError: something was done, asked or heard twice, or not at all.
    """
    chance, talks = random.Random(seed), Conversations(torn.store)
    for number in range(kills):
        talks.say(name, f"say {number}", when=chance.choice(["next", "idle"]), key=str(number))
        enough = length(torn, name) + chance.randint(1, 7)  # a turn has some nine entries
        pid = torn.begin(name)
        try:
            written(torn, name, enough)
            time.sleep(chance.uniform(0, 0.015))
        finally:
            os.kill(pid, signal.SIGKILL)
    last = torn.begin(name)
    try:
        soon(lambda: is_over(torn, name, kills), torn)
    finally:
        os.kill(last, signal.SIGKILL)
    check(torn, name, kills)


def soon(condition: Callable[[], bool], torn: Torn) -> None:
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, f"nothing goes on: {torn.errors}"
        time.sleep(0.002)


def written(torn: Torn, name: str, enough: int) -> None:
    """Wait until the log has so many entries, or nothing comes any more, as the turn is over."""
    end = time.monotonic() + LONGEST
    before = last = length(torn, name)
    since = time.monotonic()
    while last < enough and not (last > before and time.monotonic() > since + QUIET):
        assert time.monotonic() < end, f"nothing goes on: {torn.errors}"
        time.sleep(0.002)
        if (now := length(torn, name)) != last:
            last, since = now, time.monotonic()


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def length(torn: Torn, name: str) -> int:
    state = torn.store.state(name)
    return 0 if state is None else state.length


def entries(torn: Torn, name: str) -> list[Any]:
    """Return the log of a conversation, as far as it goes."""
    return [entry.data for entry in Conversations(torn.store).follow(name, timeout=0.01)]


def is_over(torn: Torn, name: str, says: int) -> bool:
    log = entries(torn, name)
    return sum(entry["kind"] == "say" for entry in log) == says and not fold(log).state.unfinished


def check(torn: Torn, name: str, says: int) -> None:
    """Look at what was done, and at what the model was told.

    Raises:
        AssertionError: as `torture`.
    """
    log, history = entries(torn, name), Conversations(torn.store).history(name)
    path = Path(torn.effects(name))
    done = path.read_text("utf-8").splitlines() if path.exists() else []
    once = [each.split()[1] for each in done if each.startswith("once") and each.endswith("begins")]
    assert len(once) == len({*once}), "a call ran twice"
    assert not [entry for entry in log if entry["kind"] == "failed"], "the API refused something"
    blocks = [block for message in history for block in message["content"]]
    heard = [block["text"] for message in history if message["role"] == "user" for block in texts_of(message)]
    assert sorted(heard) == sorted(f"say {number}" for number in range(says)), "something was not heard just once"
    names = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
    for block in blocks:
        if block["type"] == "tool_result":
            tool_name, told = names[block["tool_use_id"]], block["content"]
            expected = {f"{tool_name} is done", *([UNKNOWN] if tool_name == "once" else [])}
            assert told in expected, told
            if told != UNKNOWN:
                assert f"{tool_name} {block['tool_use_id']} ends" in done, "what was not done was told as done"
    assert {*once} <= {*names}, "a call ran that nobody knows of"


def texts_of(message: Any) -> list[Any]:
    return [block for block in message["content"] if block["type"] == "text"]


if __name__ == "__main__":
    main()
