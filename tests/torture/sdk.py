"""The same faults, met by the official SDK, where it is installed: what its users get to see."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from torture.matrix import SILENCE, SLOWEST
from torture.truth import MESSAGE
from torture.watch import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torture.faults import Case
    from torture.worlds import World

INSTALLED = importlib.util.find_spec("anthropic") is not None

COUNTED = (
    "as it should",
    "taken for whole, and was cut",
    "fails, and was whole",
    "hangs",
    "an error of a library below",
    "an error event that has lost its kind",
)
"""What may come of a fault; the first is good."""

HUNG = 4 * SILENCE
"""Seconds after which a stream that has been silent, or told nothing but pings, is taken for hung."""

WHOLE = "a whole answer"
CUT = "a cut answer, taken for whole"
HANGS = "hangs"


def tried(cases: Iterable[Case], at_once: int = 8) -> dict[str, str]:
    """Get what the SDK's `messages.stream()` helper makes of each case: an error's name, or one of the words above."""
    importlib.import_module("anthropic")  # it takes a second, which the first of them would need
    chosen = list(cases)
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(map(str, chosen), pool.map(_outcome, chosen), strict=True))


def _outcome(case: Case) -> str:
    found: list[str] = []
    with case.world(case.script, again=False) as world:
        thread = threading.Thread(target=lambda: found.append(_streamed(case, world)), daemon=True)
        thread.start()
        thread.join(HUNG)
        late = thread.is_alive()
    thread.join(SLOWEST)  # the server is gone, which ends it
    return HANGS if late or not found else found[0]


def _streamed(case: Case, world: World) -> str:
    import anthropic  # noqa: PLC0415 - it may not be installed

    ours: dict[str, Any] = {"proxy": world.proxy} if world.proxy else {}
    http = anthropic.DefaultHttpxClient(verify=world.verify or True, trust_env=False, **ours)
    with anthropic.Anthropic(
        api_key=KEY, base_url=world.url, max_retries=0, timeout=anthropic.Timeout(SILENCE), http_client=http
    ) as client:
        try:
            with client.messages.stream(
                model="claude-test", max_tokens=1024, messages=[{"role": "user", "content": "x" * case.prompt}]
            ) as stream:
                for _ in stream:
                    pass
                message = stream.get_final_message()
        except Exception as error:  # noqa: BLE001 - its kind is what we want to know
            kind = type(error)
            own = isinstance(error, anthropic.AnthropicError)
            return kind.__name__ if own else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    said = [block.to_dict() for block in message.content]
    return WHOLE if said == (MESSAGE or {})["content"] and message.stop_reason else CUT


def summed_up(cases: Iterable[Case], outcomes: dict[str, str]) -> Counter[str]:
    """Count what matters: is a cut answer told from a whole one, does it end, is the error one of the library's?"""
    count: Counter[str] = Counter()
    for case in cases:
        outcome = outcomes[str(case)]
        if outcome == CUT or (outcome == WHOLE and case.ends is not None):
            count["taken for whole, and was cut"] += 1
        elif outcome == HANGS:
            count["hangs"] += 1
        elif case.ends is None and outcome != WHOLE:
            count["fails, and was whole"] += 1
        elif case.ends is not None and "." in outcome:
            count["an error of a library below"] += 1
        elif case.ends is not None and "error event" in case.fault and outcome == "APIStatusError":
            count["an error event that has lost its kind"] += 1
        else:
            count["as it should"] += 1
    return count
