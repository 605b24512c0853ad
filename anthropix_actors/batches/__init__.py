"""Batches: many requests at half the price, answered within a day."""

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.batches.batches import LONGEST_POLL, Batch, Batches, Lines, Requests

__all__ = ["LONGEST_POLL", "Batch", "Batches", "Lines", "Requests"]

publish(__name__, map(globals().get, __all__))
