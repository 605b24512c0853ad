"""The API's endpoints, as an ASGI application, and what they share."""
