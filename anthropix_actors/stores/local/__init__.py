"""What the stores of one machine share: their rules, checks, waits and forks. What differs are their tables."""
