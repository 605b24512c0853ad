"""Ill will at scale: faults, random schedules, load and limits, with what must hold checked after each chat.

`make torture` runs all of it and prints a report; a short form runs with the tests.
"""
