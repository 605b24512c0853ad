"""A chat: the actor that runs one request, its ref, its messages, and how its answer is accumulated."""
