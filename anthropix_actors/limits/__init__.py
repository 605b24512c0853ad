"""When a chat may go: what the API allows in a minute, and how its limits are used and not run into."""
