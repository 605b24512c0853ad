"""Bytes to events and values. Pure."""
