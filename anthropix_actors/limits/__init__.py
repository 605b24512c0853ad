"""Rate limiting: when each chat may send its request, so that the API's limits are used, but not hit."""
