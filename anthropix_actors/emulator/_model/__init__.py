"""What a model says: a request as it is seen, Messages and their events, tokens, caching. Pure."""
