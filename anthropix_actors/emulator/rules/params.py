"""Rules on the parameters themselves: unknown keys, and those that the newer version of the API dropped. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors.emulator.rules.rule import DOCS, OPENAPI, Violation, documented, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.rules.chat_request import ChatRequest

NEWER_VERSION = "2026-10-21"

_BETA_KEYS = {"output_format": "structured-outputs-"}
"""Keys that only a beta knows, and the beginning of its name."""

_MESSAGE_KEYS = frozenset({"role", "content"})

_CACHED = frozenset({"type", "cache_control"})

_BLOCK_KEYS = {
    "text": _CACHED | {"text", "citations"},
    "image": _CACHED | {"source"},
    "document": _CACHED | {"source", "title", "context", "citations"},
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": _CACHED | {"id", "name", "input", "caller", "toolset_name"},
    "server_tool_use": _CACHED | {"id", "name", "input", "caller"},
    "tool_result": _CACHED | {"tool_use_id", "content", "is_error", "toolset_name"},
}
"""The keys of the block types that are about as old as the API."""

_EFFORTS = ("low", "medium", "high", "xhigh", "max")

_EXTRA = "Extra inputs are not permitted"


def _unknown_keys(request: ChatRequest) -> Iterator[Violation]:
    for key in request.body:
        beta = _BETA_KEYS.get(key)
        if not (key in request.known if beta is None else any(name.startswith(beta) for name in request.betas)):
            yield Violation(key)


def _stream(request: ChatRequest) -> Iterator[Violation]:
    if request.in_batch and request.body.get("stream") is True:
        yield Violation("stream")


def _message_keys(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages:
        yield from (Violation(f"{message.place}.{key}") for key in message.data if key not in _MESSAGE_KEYS)


def _block_keys(request: ChatRequest) -> Iterator[Violation]:
    for block in request.all_blocks:
        known = _BLOCK_KEYS.get(block.kind)
        if known:
            yield from (Violation(f"{block.typed_place}.{key}") for key in block.data if key not in known)


def _stop_sequences(request: ChatRequest) -> Iterator[Violation]:
    sequences = request.body.get("stop_sequences")
    for each in sequences if isinstance(sequences, list) else ():
        if isinstance(each, str) and not each.strip():
            yield Violation("stop_sequences")


def _effort(request: ChatRequest) -> Iterator[Violation]:
    effort = request.get_object("output_config").get("effort")
    if effort is not None and effort not in _EFFORTS:
        yield Violation("output_config.effort")


def _is_newer(request: ChatRequest) -> bool:
    return request.version >= NEWER_VERSION


def _sampling(request: ChatRequest) -> Iterator[Violation]:
    if _is_newer(request):
        yield from (Violation(key) for key in ("temperature", "top_p", "top_k") if request.body.get(key) is not None)


def _documents(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages if _is_newer(request) else ():
        if message.role == "assistant":
            yield from (Violation(block.place) for block in message.blocks if block.kind == "document")


def _citations(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages if _is_newer(request) else ():
        if message.role == "user":
            cited = (block for block in message.blocks if block.kind == "text" and block.data.get("citations"))
            yield from (Violation(f"{block.typed_place}.citations") for block in cited)


_VERSIONS = DOCS + "api/versioning"

RULES = (
    seen(
        "unknown-key",
        _unknown_keys,
        "a parameter that the endpoint does not know; `output_format` goes with the beta `structured-outputs-...`",
        _EXTRA,
        issue("Aider-AI/aider", 4404),
    ),
    documented(
        "batch-stream",
        _stream,
        "`stream: true` in a batch (`false` is accepted)",
        _EXTRA,
        DOCS + "build-with-claude/batch-processing",
    ),
    documented(
        "message-key",
        _message_keys,
        "a key in a message other than `role` and `content`",
        _EXTRA,
        OPENAPI,
    ),
    seen(
        "block-key",
        _block_keys,
        "a key in a block that a request cannot have: `parsed_output`, `index`, `cache_control` on thoughts",
        _EXTRA,
        issue("anthropics/claude-code", 4378),
    ),
    seen(
        "stop-sequence-blank",
        _stop_sequences,
        "a stop sequence of white space only",
        "each stop sequence must contain non-whitespace",
        issue("BerriAI/litellm", 3286),
    ),
    documented(
        "effort-unknown",
        _effort,
        "an unknown effort",
        "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        OPENAPI,
    ),
    documented(
        "version-sampling",
        _sampling,
        "`temperature`, `top_p` and `top_k`, from version 2026-10-21 on",
        "the API refuses this from version 2026-10-21 on",
        _VERSIONS,
    ),
    documented(
        "version-documents",
        _documents,
        "a document directly in a message of the model's, from version 2026-10-21 on",
        "the API refuses this from version 2026-10-21 on: a document directly in a message of the assistant",
        _VERSIONS,
    ),
    documented(
        "version-citations",
        _citations,
        "citations on a text of the user's, from version 2026-10-21 on",
        "the API refuses this from version 2026-10-21 on: citations on a text block of the user",
        _VERSIONS,
    ),
)
