"""Decoders: bytes to events and values. Pure."""
