"""The parts that all actors share: task, ref, deliveries to subscribers, and waiting for a task."""
