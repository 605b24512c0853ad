"""What a request leaves to the next ones: its connection, and its session of TLS."""
