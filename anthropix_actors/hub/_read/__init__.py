"""How a hub reads: the thread that reads any number of logs, and what is made of their entries."""
