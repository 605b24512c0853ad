"""The core of a conversation: values, and what follows from what happens to them. Pure."""
