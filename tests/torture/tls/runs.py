"""What is tried over TLS: each fault of an answer in records of some shape, and each fault of TLS itself."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from torture.matrix import SILENCE, WAYS, Report, Run, tortured
from torture.tls.handshake import handshakes
from torture.tls.openssl import consoles
from torture.tls.stream import answers, records
from torture.tls.wire import ROUTES, SHAPES, SLOW, VERSIONS, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torture.faults import Case


def torture(seed: int, *, short: bool = False, say: Callable[[str], object] = print) -> Report:
    """Try all of it."""
    return tortured(sorted(runs(seed, short=short), key=lambda run: run.case.phase), say)


def runs(seed: int, *, short: bool) -> Iterator[Run]:
    """Get what is tried. In the short form, a third of the cases, and few of those that wait, in one way."""
    dice = random.Random(seed)
    for case in cases(dice):
        longest = SILENCE if case.waits else 0.02
        if short:
            if dice.random() < (0.04 if case.waits else 0.33):
                yield Run(case, dice.choice(list(WAYS)), retries=dice.choice((0, 1)))
            continue
        for way in WAYS:
            yield Run(case, way)
            yield Run(case, way, retries=1)
            yield Run(case, way, cancel=dice.uniform(0, longest))


def cases(dice: random.Random) -> Iterator[Case]:
    """Get each fault; those of an answer twice, in either version, with records of some shape and by some route."""
    yield from handshakes()
    yield from consoles()
    for case in records():
        assert isinstance(case.world, Wire)
        route = dice.choice(_routes(case))
        yield replace(case, fault=f"{case.fault}, {route}", world=replace(case.world, route=route))
    for case in answers():
        for version in VERSIONS:
            shape, route = dice.choice(_shapes(case)), dice.choice(_routes(case))
            wire = Wire(version, shape, route, polite=dice.random() < 1 / 2)
            yield replace(case, phase=f"TLS, {case.phase}", fault=f"{case.fault}; {wire}", world=wire)


def _shapes(case: Case) -> list[str]:
    """Get the shapes that a fault can have within its time: of megabytes, no record for each byte.

    Nor are the bytes of a record sent one by one where it has only one byte of the answer.
    """
    large = any(word in case.fault for word in ("endless", "50 MB", "bomb", "one byte at a time"))
    return [shape for shape in SHAPES if not (large and shape in SLOW)]


def _routes(case: Case) -> tuple[str, ...]:
    if case.phase == "sending":
        return ROUTES[:1]  # a proxy takes much itself, and the server's fault comes later
    return ROUTES[:2] if "reset" in case.fault else ROUTES  # `ssl`, which an https proxy is met with, hides a reset
