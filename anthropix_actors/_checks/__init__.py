"""Checks of the caller's arguments, with hints for likely mistakes. Pure, except that `plain_json` reads files."""
