"""Answers → steps → bytes: what is sent, when, and how the response ends."""
