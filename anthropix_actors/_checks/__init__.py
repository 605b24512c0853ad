"""Checks of the caller's arguments, with hints at what was probably meant. Pure, but for `plain_json`, which reads files."""
