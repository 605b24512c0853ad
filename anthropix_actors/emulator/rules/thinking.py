"""Rules on thinking: the parameters that it excludes, and how its blocks are sent back. Pure.

The emulator's signatures encode the thoughts and their place in the turn, as the API's do, so it recognizes changed or
moved blocks without remembering any. For other signatures, from recordings or scripts, it remembers the thoughts that
it sent with them (`sent_thoughts`); signatures that it never sent are accepted.
"""

from __future__ import annotations

import base64
import hashlib
from itertools import takewhile
from typing import TYPE_CHECKING

from anthropix_actors.emulator.rules.rule import DOCS, Violation, documented, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anthropix_actors.emulator.rules.chat_request import ChatRequest, Turn

_THOUGHTS = ("thinking", "redacted_thinking")

_MARK = "EpEmulatedBy/anthropix+actors+++"
"""The beginning of the emulator's own signatures."""

_GUIDE = "Please consult our documentation at https://platform.claude.com/docs/en/build-with-claude/extended-thinking"


def sign(thinking: str, place: int) -> str:
    """Return the signature of thoughts; `place` is the number of blocks before them in the turn, as `places` counts.

    Example:
        >>> sign("Hm.", 0) == sign("Hm.", 0), sign("Hm.", 0) == sign("Hm.", 1)
        (True, False)
    """
    digest = hashlib.sha384(b"%d %s" % (place, thinking.encode(errors="surrogatepass"))).digest()
    return _MARK + base64.b64encode(digest).decode()


def places(kinds: Sequence[str]) -> list[int]:
    """Return the number of blocks before each. Consecutive texts count as one: clients may join them.

    Args:
        kinds: The types of the blocks.

    Example:
        >>> places(["thinking", "text", "text", "thinking"])
        [0, 1, 1, 2]
    """
    counted: list[int] = []
    for index, kind in enumerate(kinds):
        again = kind == "text" and index > 0 and kinds[index - 1] == "text"
        counted.append(0 if not index else counted[-1] + (not again))
    return counted


def _budget_small(request: ChatRequest) -> Iterator[Violation]:
    budget = _budget(request)
    if budget is not None and budget < _MIN_BUDGET:
        yield Violation("thinking.enabled.budget_tokens", (_MIN_BUDGET,))


_MIN_BUDGET = 1024


def _budget_large(request: ChatRequest) -> Iterator[Violation]:
    """Find a budget not below `max_tokens`; with tools, interleaved thinking spreads it over the whole turn."""
    budget, most = _budget(request), request.body.get("max_tokens")
    interleaved = request.tools and any(beta.startswith("interleaved-thinking-") for beta in request.betas)
    if budget is not None and isinstance(most, int) and budget >= most and not interleaved:
        yield Violation("")


def _budget(request: ChatRequest) -> int | None:
    thinking = request.get_object("thinking")
    budget = thinking.get("budget_tokens")
    return budget if thinking.get("type") == "enabled" and isinstance(budget, int) else None


def _temperature(request: ChatRequest) -> Iterator[Violation]:
    temperature = request.body.get("temperature")
    if request.thinking_on and isinstance(temperature, (int, float)) and temperature != 1:
        yield Violation("")


def _top_p(request: ChatRequest) -> Iterator[Violation]:
    top_p = request.body.get("top_p")
    if request.thinking_on and isinstance(top_p, (int, float)) and top_p < _MIN_TOP_P:
        yield Violation("")


_MIN_TOP_P = 0.95


def _top_k(request: ChatRequest) -> Iterator[Violation]:
    if request.thinking_on and request.body.get("top_k") is not None:
        yield Violation("")


def _forced_tool(request: ChatRequest) -> Iterator[Violation]:
    if request.get_object("thinking").get("type") == "enabled" and request.get_object("tool_choice").get("type") in (
        "any",
        "tool",
    ):
        yield Violation("")


def _not_first(request: ChatRequest) -> Iterator[Violation]:
    """Find thoughts in a turn that begins with a text; after a server tool, as recordings show, they are accepted."""
    for turn in request.turns if request.get_object("thinking").get("type") == "enabled" else ():
        kinds = [block.kind for block in turn.blocks]
        if turn.role == "assistant" and kinds[:1] == ["text"] and any(kind in _THOUGHTS for kind in kinds):
            yield Violation(turn.blocks[0].place, ("text",))


def _last_block(request: ChatRequest) -> Iterator[Violation]:
    for turn in request.turns:
        if turn.role == "assistant" and turn.blocks and turn.blocks[-1].kind in _THOUGHTS:
            yield Violation(turn.place, (turn.blocks[-1].kind,))


def _loop_without_thinking(request: ChatRequest) -> Iterator[Violation]:
    """Find a turn that the request continues, by results or as a prefill, and that does not begin with thoughts.

    A loop of calls and results is one turn of the model's: it need not think again before each of its calls.
    """
    if request.get_object("thinking").get("type") != "enabled":
        return
    goes_on = request.last_turn.role == "assistant" or _has_results(request.last_turn)
    loop = takewhile(lambda turn: turn.role != "user" or _has_results(turn), reversed(request.turns))
    turn = next((turn for turn in reversed(list(loop)) if turn.role == "assistant"), None)
    if goes_on and turn and turn.blocks and turn.blocks[0].kind not in _THOUGHTS:
        yield Violation(f"{turn.blocks[0].place}.type", (turn.blocks[0].kind,))


def _has_results(turn: Turn) -> bool:
    return any(block.kind == "tool_result" for block in turn.blocks)


def _prefill_with_thinking(request: ChatRequest) -> Iterator[Violation]:
    if request.get_object("thinking").get("type", "disabled") == "disabled" and request.last_turn.role == "assistant":
        for block in request.last_turn.blocks:
            if block.kind in _THOUGHTS:
                yield Violation(block.place, (block.kind,))


def _signature(request: ChatRequest) -> Iterator[Violation]:
    for block in (block for message in request.messages if message.role == "assistant" for block in message.blocks):
        if block.kind == "thinking" and not block.text("signature").strip():
            yield Violation(block.place)


def _changed(request: ChatRequest) -> Iterator[Violation]:
    latest = next((turn.blocks for turn in reversed(request.turns) if turn.role == "assistant"), ())
    said = [block for block in latest if block.kind != "text" or block.text("text")]
    for block, place in zip(said, places([block.kind for block in said]), strict=True):
        signature, thinking = block.text("signature"), block.text("thinking")
        if block.kind == "thinking" and signature.startswith(_MARK):
            changed = signature != sign(thinking, place)
        else:
            sent = request.sent_with(signature) if block.kind == "thinking" else ()
            changed = bool(sent) and (thinking, place) not in sent
        if changed:
            yield Violation(block.place)


RULES = (
    seen(
        "thinking-budget-small",
        _budget_small,
        "a thinking budget below 1,024",
        "Input should be greater than or equal to {}",
        issue("themaximalist/llm.js", 30),
    ),
    seen(
        "thinking-budget-large",
        _budget_large,
        "a thinking budget that is not below `max_tokens`, unless thinking is interleaved with tools",
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
        issue("router-for-me/CLIProxyAPI", 413),
    ),
    seen(
        "thinking-temperature",
        _temperature,
        "thinking with a temperature other than 1",
        "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. " + _GUIDE,
        issue("mnfst/modelparams.dev", 214),
    ),
    documented(
        "thinking-top-p",
        _top_p,
        "thinking with a `top_p` below 0.95",
        "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled or in adaptive mode. "
        + _GUIDE,
        DOCS + "build-with-claude/extended-thinking",
    ),
    seen(
        "thinking-top-k",
        _top_k,
        "thinking with `top_k`",
        "`top_k` must be unset when thinking is enabled. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
        "#important-considerations-when-using-extended-thinking",
        issue("quarkiverse/quarkus-langchain4j", 1812),
    ),
    seen(
        "thinking-forced-tool",
        _forced_tool,
        "thinking with a budget, and a `tool_choice` that forces a tool",
        "Thinking may not be enabled when tool_choice forces tool use.",
        issue("mastra-ai/mastra", 7507),
    ),
    seen(
        "thinking-not-first",
        _not_first,
        "with a thinking budget, thoughts in a turn of the model's that begins with a text",
        "If an assistant message contains any thinking blocks, the first block must be `thinking` or "
        "`redacted_thinking`. Found `{}`.",
        issue("anthropics/claude-code", 20705),
    ),
    seen(
        "thinking-last",
        _last_block,
        "a turn of the model's that ends with thoughts",
        "The final block in an assistant message cannot be `{}`.",
        issue("tailcallhq/forgecode", 2107),
    ),
    seen(
        "thinking-missing",
        _loop_without_thinking,
        "with a thinking budget, a turn that the request continues and that does not begin with thoughts",
        "Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is enabled, a final `assistant` "
        "message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` "
        "blocks). We recommend you include thinking blocks from previous turns. To avoid this requirement, disable "
        "`thinking`. Please consult our documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking",
        issue("anomalyco/opencode", 3077),
    ),
    seen(
        "thinking-disabled",
        _prefill_with_thinking,
        "thoughts in a last message of the model's, without thinking",
        "When thinking is disabled, an `assistant` message in the final position cannot contain `{}`. To use thinking "
        "blocks, enable `thinking` in your request.",
        issue("tailcallhq/forgecode", 1853),
    ),
    seen(
        "thinking-signature",
        _signature,
        "an empty signature",
        "Invalid `signature` in `thinking` block",
        issue("anthropics/claude-code", 10627),
    ),
    seen(
        "thinking-changed",
        _changed,
        "thoughts of the model's latest turn that the emulator sent, and that were changed or moved",
        "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks "
        "must remain as they were in the original response.",
        issue("anthropics/claude-code", 19539),
    ),
)
