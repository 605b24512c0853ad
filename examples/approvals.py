"""A clerk whose letters somebody else approves, in another process, whenever that is.

    python approvals.py talks.db write "Write to Ada that the invoice is paid."
    python approvals.py talks.db approve
    python approvals.py talks.db write

The first one ends while its letter waits: the turn is suspended, and kept in the file. The second one needs no API key.
The third one goes on where the first one was; so would one on another machine, with a store that both can reach.
"""

from __future__ import annotations

import sys

from anthropix_actors import Agent, ApprovalNeeded, Client, Conversations, ToolDone, TurnDone, TurnFailed, text_of, tool
from anthropix_actors.stores import SQLiteStore

NAME = "clerk"


@tool(approve=True, unknown="ask")
def send_letter(to: str, text: str) -> str:
    """Send a letter."""
    print(f"-- a letter to {to}: {text}")
    return "sent"


CLERK = Agent(model="claude-sonnet-5", system="You are a clerk.", tools=[send_letter])


def write(store: SQLiteStore, question: str) -> None:
    """Say something, or go on; leave when a letter waits for approval."""
    with Client() as client:
        talk = client.converse(CLERK, store=store, id=NAME)
        for turn in [talk.say(question)] if question else talk.turns:
            for message in turn:
                match message:
                    case ApprovalNeeded(approval=asked):
                        print(f"-- {asked.name} waits for approval: {asked.input}")
                        if not decided_soon(store):
                            talk.stop()
                    case ToolDone(result=result):
                        print(f"-- {result}")
                    case TurnDone(message=answer):
                        print(text_of(answer))
                    case TurnFailed(error=error):
                        print(f"-- failed: {error}")
        talk.stop()  # it waits until all is in the file


def decided_soon(store: SQLiteStore) -> bool:
    """Return whether somebody has decided already: then it is about to go on."""
    return not Conversations(store).approvals(NAME)


def approve(store: SQLiteStore, who: str) -> None:
    """Approve all that waits."""
    talks = Conversations(store)
    for asked in talks.approvals(NAME):
        first = talks.answer(NAME, asked, allow=True, by=who)
        print(f"-- {asked.name} is approved by {who}" if first else "-- somebody was faster")


def main() -> None:
    """Do what the command line says."""
    path, command, *words = sys.argv[1:]
    store = SQLiteStore(path)
    if command == "approve":
        approve(store, " ".join(words) or "Eva")
    else:
        write(store, " ".join(words))
    store.close()


if __name__ == "__main__":
    main()
