"""The emulated model: default replies, Messages and their events, tokens, caching, threads. Pure."""
