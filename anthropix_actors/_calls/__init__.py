"""Everything that runs in the caller's own thread: blocking calls, streams of items, pages."""
