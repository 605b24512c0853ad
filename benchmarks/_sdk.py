"""The same answer, read by the official SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anthropic

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pipelines import OnText

_MODEL = "claude-sonnet-5"
_MAX_TOKENS = 1024


def sdk_client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="key", base_url=url, max_retries=0, timeout=300)


def create(url: str) -> Callable[[OnText], None]:
    """Read with `create(stream=True)`, which accumulates nothing."""
    client = sdk_client(url)

    def read(on_text: OnText) -> None:
        with client.messages.create(
            model=_MODEL, max_tokens=_MAX_TOKENS, messages=[{"role": "user", "content": "Hello"}], stream=True
        ) as stream:
            for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    on_text(event.delta.text)

    return read


def stream(url: str) -> Callable[[OnText], None]:
    """Read with the `stream()` helper, and get the final message."""
    client = sdk_client(url)

    def read(on_text: OnText) -> None:
        with client.messages.stream(
            model=_MODEL, max_tokens=_MAX_TOKENS, messages=[{"role": "user", "content": "Hello"}]
        ) as stream:
            for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    on_text(event.delta.text)
            stream.get_final_message()

    return read
