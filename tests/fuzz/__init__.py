"""Fuzzing: what has to hold for any bytes. README.md says how to run it."""
