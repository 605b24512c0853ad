"""What goes wrong over TLS: in the handshake, between records, and in answers that travel in records of any kind."""
