"""The parts that all actors share: task, followers, ref, deliveries to subscribers, and waiting for a task."""
