"""What a worker does with a job that it has taken. Pure.

The rules, of which the first that fits holds:

- the log is closed: the answer came to its end, whatever it was, and only the job was not finished;
- too many workers have had the job: it may be what kills them;
- readers were told nothing: it is asked (again), and nobody can tell the difference but by the bill;
- readers were told something: only whoever gave the job can say whether another answer may take its place.
"""

from __future__ import annotations

from enum import Enum


class Step(Enum):
    """What to do with a job."""

    FINISH = "its log is closed: the job is over"
    GIVE_UP = "too many workers that had it have died"
    ASK = "nobody was told anything: it is asked"
    RESTART = "something was told, and may be replaced: it is asked again"
    LOSE = "something was told, and its worker has died"


def step_for(attempt: int, *, closed: bool, told: bool, retry_lost: bool, most: int) -> Step:
    """Return what to do.

    Args:
        attempt: How many workers have taken the job, this one included.
        closed: Whether the log is closed.
        told: Whether there is anything in it that its readers are told.
        retry_lost: Whether whoever gave the job wants another answer where one was lost.
        most: How many workers may take it.

    Example:
        >>> step_for(1, closed=False, told=False, retry_lost=False, most=3).name
        'ASK'
        >>> step_for(2, closed=False, told=True, retry_lost=False, most=3).name
        'LOSE'
    """
    if closed:
        return Step.FINISH
    if attempt > most:
        return Step.GIVE_UP
    if not told:
        return Step.ASK
    return Step.RESTART if retry_lost else Step.LOSE
