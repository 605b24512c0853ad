"""The models that the emulator lists, newest first.

Source: https://docs.claude.com/en/api/models-list, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._api.pages import page_by_id

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "server_tools": {"supported": True, "code_execution": _YES, "web_search": _YES},
    "structured_outputs": _YES,
    "thinking": {
        "supported": True,
        "types": {"adaptive": _YES, "between_tools": _YES, "disabled": _YES, "enabled": _YES},
    },
}


def _model(model_id: str, name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model_id,
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",  # the API's value for an unknown date
        "line": model_id.split("-")[1],
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": _CAPABILITIES,
    }


MODELS: Mapping[str, Mapping[str, Any]] = {model_id: _model(model_id, name) for model_id, name in _NAMES.items()}


def models_page(query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of models.

    Raises:
        RefusedError: a parameter of the query is wrong.

    Example:
        >>> [model["id"] for model in models_page({"limit": "2"})["data"]]
        ['claude-fable-5-2', 'claude-haiku-5-5']
    """
    return page_by_id(query, list(MODELS), MODELS.__getitem__, "model")
