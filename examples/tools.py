"""A question that the model answers with the help of functions of this program.

    python tools.py "Shall I take an umbrella to Bergen?"

The model calls a tool; the program runs it, and sends its result in the next user message; so it goes until the answer
calls none. What a tool raises goes to the model, too, which may call it in another way. Without a key, an emulator
answers.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Literal

from anthropix_actors import AnthropixError, Call, Client, ConfigurationError, ToolError, run_tools, text_of, tool

if TYPE_CHECKING:
    from collections.abc import Generator

TURNS = 10


@tool(timeout=10)
def get_weather(city: str, unit: Literal["C", "F"] = "C", *, call: Call) -> str:
    """Get the weather of a city, now.

    Args:
        city: Its name, in English.
        unit: Of the temperature.
        call: Tells how far it is; the model knows nothing of it.
    """
    call.progress(f"looks at {city}")
    if city == "Atlantis":
        raise ToolError("it has sunk; ask for another city")
    return f"{city}: rain, {8 if unit == 'C' else 46} degrees"


@contextlib.contextmanager
def connected() -> Generator[Client]:
    """Give a client for the API, or without a key for an emulator."""
    try:
        client = Client()
    except ConfigurationError as error:
        from anthropix_actors.emulator import Emulator, ToolCall  # noqa: PLC0415 - an extra of its own

        print(f"{error}\nUntil then, an emulator answers.", flush=True)
        with Emulator() as emulator, Client("any-key", base_url=emulator.url, proxy="") as client:
            emulator.queue(ToolCall("get_weather", {"city": "Bergen"}), "Take an umbrella: it rains.")
            yield client
    else:
        with client:
            yield client


def ask(client: Client, question: str) -> str:
    """Ask, run what the answers call, and return the text of the one that calls nothing."""
    history: list[Any] = [{"role": "user", "content": question}]
    for _ in range(TURNS):
        answer = client.chat(model="claude-haiku-4-5", messages=history, tools=[get_weather])
        if answer["stop_reason"] != "tool_use":  # a call that max_tokens cut is not to be run
            return text_of(answer)
        history.append({"role": "assistant", "content": answer["content"]})
        history.append(run_tools(answer, [get_weather], on_progress=lambda call, data: print(f"-- {call.name} {data}")))
    sys.exit(f"no answer after {TURNS} turns")


def main() -> None:
    question = " ".join(sys.argv[1:]) or "Use get_weather: shall I take an umbrella to Bergen?"
    try:
        with connected() as client:
            print(ask(client, question))
    except AnthropixError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
