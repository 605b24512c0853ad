"""What a caller may say, and what was meant where it is not that. Pure."""
