"""The path of one item of a collection: a batch, a file, a model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anthropix_actors._checks.paths import fill_path
from anthropix_actors.errors import ParameterError, Problem


def item_path(folder: str, what: str, item: Any) -> str:
    """Return the path of an item, given its id or its object.

    Args:
        folder: The path of the collection.
        what: The name of the parameter, for errors.
        item: The id, or a mapping with an `id`.

    Raises:
        ParameterError: `item` is neither.

    Example:
        >>> item_path("/v1/models", "model", {"id": "claude-sonnet-5", "type": "model"})
        '/v1/models/claude-sonnet-5'
    """
    item_id = item.get("id") if isinstance(item, Mapping) else item
    if not isinstance(item_id, str):
        raise ParameterError([Problem(what, f"expected its id, or its object, got {type(item).__name__}")])
    try:
        return fill_path(folder + "/{id}", {"id": item_id})
    except ParameterError as exc:
        raise ParameterError([Problem(what, problem.text) for problem in exc.problems]) from None
