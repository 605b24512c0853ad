"""How a hub writes: which logs it has claimed, the thread that writes them, the beat that says it lives."""
