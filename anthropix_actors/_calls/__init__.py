"""What runs in the caller's own thread: calls that wait, streams of items, pages."""
