"""Code outside this package: the program's logging, and threads for calls that may block."""
