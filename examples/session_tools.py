"""The tools of a managed agent, which runs at the API: this program answers its calls until the session ends.

    python session_tools.py sesn_01...

The agent calls custom tools, which run here; and it asks before it uses some tools of its own: the question is put on
the command line. Ctrl-C ends the program, and the session goes on. Started again, it answers what has no answer yet.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anthropix_actors import AnthropixError, Call, Client, SessionToolDone, tool
from anthropix_actors.subscribers import Listener

if TYPE_CHECKING:
    from anthropix_actors import SessionRef, SessionToolMessage


@tool(timeout=30)
def get_weather(city: str) -> str:
    """Tell the weather of a city, now.

    Args:
        city: Its name, without the country.
    """
    return f"{city}: rain, 8 degrees"


@tool
def get_time() -> str:
    """Tell the time."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def approve(call: Call) -> bool | str:
    answer = input(f"May the agent use {call.name} with {call.input}? [y/n] ")
    return True if answer.strip().lower().startswith("y") else "the user said no"


class Printer(Listener):
    """Prints what the agent says, and what came of its calls."""

    use_daemon_thread = True  # else Ctrl-C would not end the program

    def on_session_event(self, session: SessionRef, event: dict[str, Any]) -> None:
        for block in event["content"] if event["type"] == "agent.message" else ():
            print(block.get("text", ""))

    def on_session_tool(self, session: SessionRef, message: SessionToolMessage) -> None:
        if isinstance(message, SessionToolDone):
            print(f"-- {message.call['name']} {message.call['input']}: {message.content}")


def main() -> None:
    if not sys.argv[1:]:
        sys.exit("usage: python session_tools.py SESSION_ID")
    printer = Printer.start()
    try:
        with Client() as client:
            tools = [get_weather, get_time]
            serving = client.sessions.serve(sys.argv[1], tools=tools, approve=approve, stream=printer)
            try:
                serving.result()
            finally:
                serving.stop()  # returns when the printer was told that it is over
    except KeyboardInterrupt:
        print("-- the session goes on without its tools")
    except AnthropixError as error:
        sys.exit(f"-- {type(error).__name__}: {error}")
    finally:
        printer.stop()


if __name__ == "__main__":
    main()
