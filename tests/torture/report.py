"""What the torture showed, as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torture.sdk import COUNTED, summed_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from torture import everywhere, foreign, kills, matrix, patience, pool, schedules, torn_talks, turns
    from torture.faults import Case
    from torture.tls import cancels

    Counted: TypeAlias = foreign.Report | torn_talks.Report | patience.Report | everywhere.Report


@dataclass
class Part:
    """What one part showed.

    Attributes:
        title: Its heading.
        tried: What was tried: names and numbers.
        checks: How many things were checked.
        failures: What did not hold.
        notes: What else there is to say, a line each.
        tables: Tables: rows, the head first.
    """

    title: str
    tried: dict[str, int]
    checks: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[list[Sequence[str]]] = field(default_factory=list)


def report(parts: Sequence[Part], *, seed: int, seconds: float, where: str) -> str:
    """Get the whole text."""
    failures = [f"{part.title}: {text}" for part in parts for text in part.failures]
    sums: dict[str, int] = {}
    for part in parts:
        for what, number in part.tried.items():
            sums[what] = sums.get(what, 0) + number
    lines = [
        f"Seed {seed}, {seconds / 60:.1f} minutes. {where}.",
        "",
        "; ".join(f"{what}: {number:,}" for what, number in sums.items())
        + f"; invariants checked: {sum(part.checks for part in parts):,}; **failures: {len(failures)}**",
    ]
    for part in parts:
        tried = ", ".join(f"{what}: {number:,}" for what, number in part.tried.items())
        lines += ["", f"### {part.title}", "", f"{tried}; failures: {len(part.failures)}", ""]
        lines += [f"- {note}" for note in part.notes]
        for rows in part.tables:
            lines += ["", *_table(rows)]
    lines += ["", "### Failures", "", *(f"- {text:.2000}" for text in failures)] if failures else []
    return "\n".join(lines) + "\n"


def _table(rows: list[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _most(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {number:,}" for name, number in ordered)


def faults(found: matrix.Report) -> Part:
    seconds, name = found.slowest
    notes = [
        f"ended as: {_most(found.ended)}",
        f"the slowest took {seconds:.1f} s: {name}",
        f"memory: at most {found.most / 2**20:.0f} MiB, with prompts of 8 MiB, answers of 50 and bombs of 200",
    ]
    tried = {"faults": found.cases, "chats": found.runs, "events delivered": found.events, "cancelled": found.cancelled}
    return Part("Every fault in every phase", tried, found.checks, found.failures, notes)


def encrypted(found: matrix.Report, cancels: cancels.Report) -> Part:
    """Take what the faults over TLS showed, and the cancels."""
    seconds, name = cancels.worst
    part = faults(found)
    part.title = "Over TLS"
    part.tried["cancels that were timed"] = cancels.cases
    part.checks += cancels.cases
    part.failures += cancels.failures
    part.notes.append(f"a cancel took {_ms(seconds)} at most: {name}; {cancels.again} were late, and tried again")
    return part


def plans(found: schedules.Report) -> Part:
    tried = {"chats": found.chats, "messages delivered": found.messages}
    notes = [f"ended as: {_most(found.ended)}"]
    return Part("Random schedules", tried, found.checks, found.failures, notes)


def conversations(found: turns.Report) -> Part:
    tried = {
        "conversations": found.conversations,
        "turns": found.turns,
        "calls run": found.calls,
        "messages delivered": found.messages,
    }
    notes = [f"ended as: {_most(found.ended)}"]
    return Part("Random conversations", tried, found.checks, found.failures, notes)


def queued(found: Iterable[pool.Report]) -> Part:
    part = Part("Thousands of chats, few at once", {"chats": 0, "cancelled": 0})
    for each in found:
        part.tried["chats"] += each.chats
        part.tried["cancelled"] += each.cancelled
        part.checks += each.checks
        part.failures += each.failures
        part.notes.append(
            f"{each.chats:,} chats, {each.at_once} at once: {each.seconds:.1f} s; "
            f"{max(0, each.growth) / 1024:.0f} KiB for each that waits"
        )
    return part


def counted(
    title: str, what: str, found: foreign.Report | torn_talks.Report | patience.Report | everywhere.Report
) -> Part:
    return Part(title, {what: found.cases}, found.cases, found.failures)


def killed(found: kills.Report) -> Part:
    notes = [f"killed, frozen or cut: {_most(found.kills)}", f"answers ended as: {_most(found.ended)}"]
    tried = {"answers": found.jobs, "words read": found.words, "processes and connections killed": found.kills.total()}
    return Part("Readers, workers, brokers and connections that die", tried, found.checks, found.failures, notes)


def bent(figures: Any) -> Part:
    """Take what the benchmark `load` measured."""
    failures = [f"{figures.lost} chats lost an event"] if figures.lost else []
    part = Part("A thousand chats for a minute, 5 events/s each", {"chats": figures.chats}, figures.chats, failures)
    part.tried["events delivered"] = round(figures.chats * 300)
    delays = f"{_ms(figures.p50)} median, {_ms(figures.p99)} p99, {_ms(figures.worst)} at most"
    cpu = f"{figures.cpu * 1e6:.0f} µs of CPU for each event, {figures.cores:.2f} cores in all"
    each = f"{_ms(figures.cores / figures.chats)} a second for each chat"
    part.notes = [
        f"from the server's send to the subscriber: {delays}",
        f"{figures.memory / 1024:.0f} KiB for each chat; {cpu}, {each}",
    ]
    return part


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def limited(found: dict[tuple[str, str], Any]) -> Part:
    """Take what the benchmark `limits` measured."""
    part = Part("The API's limits", {"chats": sum(figures.chats for figures in found.values())})
    rows: list[Sequence[str]] = [("limit of", "", "best, s", "took, s", "x best", "refused", "failed")]
    part.tables = [rows]
    for (kind, name), figures in found.items():
        rows.append([kind.replace("_", " "), name, *figures.cells()])
        if "governor" in name:
            part.checks += 3
            held = figures.seconds <= 1.15 * figures.best, figures.refused < 0.02, not figures.failed
            part.failures += [] if all(held) else [f"{kind}: {figures}"]
    return part


def side_by_side(cases: Sequence[Case], ours: dict[str, str], sdk: dict[str, str] | None) -> Part:
    """Compare what comes of each fault with what the official SDK makes of it."""
    part = Part("The same faults and the official SDK", {"faults again": len(cases)}, len(cases))
    counts = [summed_up(cases, outcomes) if outcomes else None for outcomes in (ours, sdk)]
    rows = [(what, *(str(count[what]) if count else "-" for count in counts)) for what in COUNTED]
    part.tables.append([("outcome", "here", "official SDK"), *rows])
    part.failures = [f"{case}: {ours[str(case)]}" for case in cases if summed_up([case], ours)[COUNTED[0]] != 1]
    if sdk is None:
        part.notes.append("the official SDK is not installed")
        return part
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(_kind(case), []).append(case)
    found = {kind: summed_up(alike, sdk) for kind, alike in kinds.items()}
    good = [kind for kind, count in found.items() if set(count) == {COUNTED[0]}]
    details = [(kind, str(len(kinds[kind])), _most(count)) for kind, count in found.items() if kind not in good]
    part.tables.append([("fault", "times", "official SDK"), *details])
    part.notes.append(f"the official SDK does as it should, each time, with: {', '.join(good)}")
    return part


def _kind(case: Case) -> str:
    """Get what a fault is called, wherever in an answer it comes, and whatever status it has."""
    if case.phase == "status":
        status, of, body = case.fault.partition(" with ")
        return f"a status{of}{body}" if of else "a redirect" if "elsewhere" in status else status
    name = case.fault.partition(", ")[0]
    if case.phase.startswith(("after", "inside", "between", "before")):
        return f"in an answer: {name}" if case.phase != "after message_stop" else f"after its end: {name}"
    return f"{case.phase}: {name}"
