"""Workers: they take chats out of a queue, and run them into logs."""
