"""What is told of figures of several pipelines side by side, and how they keep what is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from _measure import BEFORE, HAS_SDK, Verdict, median_and_range, ratio, table, times
from _pipelines import OURS, RAW, SDK_CREATE, SDK_STREAM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Figures: TypeAlias = "Mapping[str, Sequence[float]]"
Targets: TypeAlias = "Mapping[str, Mapping[str, float]]"
"""What a pipeline may cost against the raw loop at most, and how many times less than the SDK at least."""


def show(figures: Figures, unit: str, more: Mapping[str, Figures] | None = None) -> None:
    """Print a table: each pipeline against the raw loop and the SDK, and the medians of `more` by their heads."""
    more = more or {}
    sdk = (SDK_CREATE, SDK_STREAM) if HAS_SDK else ()
    head = ["pipeline", unit, "from-to", "x raw", *(f"{name.split('(')[0]} ÷ it" for name in sdk), *more]
    rows = [
        [name, *median_and_range(values), ratio(values, figures[RAW])]
        + [ratio(figures[other], values) if name.removesuffix(BEFORE) in OURS else "" for other in sdk]
        + [median_and_range(others[name])[0] for others in more.values()]
        for name, values in figures.items()
    ]
    table(head, rows)
    if not HAS_SDK:
        print("(the official SDK is not installed)")


def verdicts(figures: Figures, targets: Targets, what: str) -> list[Verdict]:
    """Compare with what is promised; `what` is it that was measured."""
    found = []
    for other, of in targets.items():
        for name, target in of.items() if other in figures else ():
            promise = f"{what}, {name}, against {other}"
            if other == RAW:
                more = times(figures[name], figures[RAW])
                found.append(Verdict(promise, f"<= {target:g} x", f"{more:.2f} x", more <= target))
            else:
                less = times(figures[other], figures[name])
                found.append(Verdict(promise, f">= {target:g} x less", f"{less:.1f} x less", less >= target))
    return found
