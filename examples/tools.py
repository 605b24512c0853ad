"""A question that the model answers with the help of functions of this program.

    python tools.py "Shall I take an umbrella to Bergen?"

The model calls a tool; the program runs it, and sends its result in the next user message; so it goes until the answer
calls none. What a tool raises goes to the model, too, which may call it in another way.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from anthropix_actors import AnthropixError, Client, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 10


def get_weather(city: str) -> str:
    return f"{city}: rain, 8 degrees"


FUNCTIONS: dict[str, Callable[..., str]] = {"get_weather": get_weather}

TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the weather of a city, now.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def result_of(call: Any) -> dict[str, Any]:
    """Run what a `tool_use` block calls, and get the block that says what came of it."""
    print(f"-- {call['name']} {call['input']}")
    result = {"type": "tool_result", "tool_use_id": call["id"]}
    try:
        return {**result, "content": FUNCTIONS[call["name"]](**call["input"])}
    except Exception as error:  # noqa: BLE001 - whatever it is, the model is told
        return {**result, "content": f"{type(error).__name__}: {error}", "is_error": True}


def main() -> None:
    question = " ".join(sys.argv[1:]) or "Use get_weather: shall I take an umbrella to Bergen?"
    history: list[Any] = [{"role": "user", "content": question}]
    try:
        with Client() as client:
            for _ in range(TURNS):
                answer = client.chat(model="claude-haiku-4-5", messages=history, tools=TOOLS)
                history.append({"role": "assistant", "content": answer["content"]})
                if answer["stop_reason"] != "tool_use":  # a call that max_tokens cut is not to be run
                    break
                calls = [block for block in answer["content"] if block["type"] == "tool_use"]
                history.append({"role": "user", "content": [result_of(call) for call in calls]})
            else:
                sys.exit(f"no answer after {TURNS} turns")
    except AnthropixError as error:
        sys.exit(str(error))
    print(text_of(history[-1]))


if __name__ == "__main__":
    main()
