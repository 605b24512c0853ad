"""Checks of the caller's arguments, with hints at what was probably meant. Pure, but for the files in `plain_json`."""
