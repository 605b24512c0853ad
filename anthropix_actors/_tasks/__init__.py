"""What every actor of ours has: its task, ref and deliveries, and how others wait for it."""
