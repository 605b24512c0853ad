"""The models that the emulator knows, the newest first, and their pages.

Source: https://docs.claude.com/en/api/models-list, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_LIMIT = 20
HIGHEST_LIMIT = 1000

_NAMES = {
    "claude-fable-5-2": "Claude Fable 5.2",
    "claude-haiku-5-5": "Claude Haiku 5.5",
    "claude-sonnet-5-5": "Claude Sonnet 5.5",
    "claude-opus-5-5": "Claude Opus 5.5",
    "claude-sonnet-5": "Claude Sonnet 5",
    "claude-opus-5": "Claude Opus 5",
    "claude-opus-4-8": "Claude Opus 4.8",
    "claude-sonnet-4-6": "Claude Sonnet 4.6",
    "claude-opus-4-6": "Claude Opus 4.6",
    "claude-haiku-4-5-20251001": "Claude Haiku 4.5",
}

_YES = {"supported": True}

_CAPABILITIES: dict[str, Any] = {
    "batch": _YES,
    "citations": _YES,
    "code_execution": _YES,
    "context_management": {
        "supported": True,
        "clear_thinking_20251015": _YES,
        "clear_tool_uses_20250919": _YES,
        "compact_20260112": _YES,
    },
    "effort": {"supported": True, "low": _YES, "medium": _YES, "high": _YES, "xhigh": _YES, "max": _YES},
    "image_input": _YES,
    "pdf_input": _YES,
    "structured_outputs": _YES,
    "thinking": {"supported": True, "types": {"adaptive": _YES, "enabled": _YES}},
}


def _model(model_id: str, name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model_id,
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",  # the API's own way to say that it does not know
        "line": model_id.split("-")[1],
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": _CAPABILITIES,
    }


MODELS: Mapping[str, Mapping[str, Any]] = {model_id: _model(model_id, name) for model_id, name in _NAMES.items()}


def page(query: Mapping[str, str]) -> dict[str, Any]:
    """Get one page of models.

    Raises:
        ValueError: a parameter of the query is wrong; the text is the API's message.

    Example:
        >>> [model["id"] for model in page({"limit": "2"})["data"]]
        ['claude-fable-5-2', 'claude-haiku-5-5']
    """
    limit = _limit(query.get("limit", str(DEFAULT_LIMIT)))
    models = list(MODELS.values())
    if "after_id" in query:
        begin = _place(query, "after_id") + 1
    elif "before_id" in query:
        models = models[: _place(query, "before_id")]
        begin = max(0, len(models) - limit)
    else:
        begin = 0
    found = models[begin : begin + limit]
    more = begin > 0 if "before_id" in query and "after_id" not in query else begin + limit < len(models)
    return {"data": found, "has_more": more, **_ends(found)}


def _ends(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"first_id": found[0]["id"] if found else None, "last_id": found[-1]["id"] if found else None}


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= limit <= HIGHEST_LIMIT:
        raise ValueError(f"limit: Input should be an integer from 1 to {HIGHEST_LIMIT}")
    return limit


def _place(query: Mapping[str, str], key: str) -> int:
    try:
        return list(MODELS).index(query[key])
    except ValueError:
        raise ValueError(f"{key}: no such model: {query[key]}") from None
