"""Small changes to the core, one after the other: a test has to notice each, or a reason be given. See `__main__`."""
