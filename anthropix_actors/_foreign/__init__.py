"""Code that is not ours: the program's logging, and threads that call what may block."""
