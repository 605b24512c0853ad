"""Cancellation from outside: the scope that ends a thread's waits, the token, and the sweeper."""
