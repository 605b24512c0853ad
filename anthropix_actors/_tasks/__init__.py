"""The parts that all actors share: task, audience, ref, deliveries to subscribers, and waiting for a task."""
