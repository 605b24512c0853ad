"""Conversations: actors with a history, whose turns run tools."""
