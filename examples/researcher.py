"""A researcher with two assistants and a budget.

    python researcher.py "Why do cats purr?"

One assistant reads a library, the other one doubts what was found; each call of them is a conversation of its own, and
several run at once. All spend of one budget: when it is spent, the researcher says what there is. Ctrl-C ends it all.
Without a key, an emulator plays the models.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from anthropix_actors import Agent, AnthropixError, Client, ConfigurationError, Limits, messages, tool

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropix_actors.emulator import Answer, Ask, Script

LIBRARY = {
    "cats": "Cats purr at 25 to 150 hertz, when they are content, and also when they are hurt.",
    "bones": "Bones of mice that are shaken at 20 to 50 hertz become denser.",
    "lions": "Lions roar, and do not purr.",
}


@tool(safe=True, timeout=10)
def look_up(word: str) -> list[str]:
    """Find notes in the library.

    Args:
        word: One word that they contain.
    """
    return [note for note in LIBRARY.values() if word.lower() in note.lower()]


READER = Agent(
    model="claude-haiku-4-5",
    system="You read a library. Answer with what the notes say, and nothing else.",
    tools=[look_up],
    limits=Limits(requests=4),
)
DOUBTER = Agent(model="claude-haiku-4-5", system="You doubt. Name the weakest point of what you are told.")
RESEARCHER = Agent(
    model="claude-sonnet-5",
    system="You research. Ask your assistants, several times if need be, then answer in three sentences.",
    tools=[
        READER.as_tool("read", "Reads the library about one subject."),
        DOUBTER.as_tool("doubt", "Names the weakest point of a claim."),
    ],
    limits=Limits(requests=12, tokens=100_000, seconds=300),
)


def show(message: object) -> None:
    """Print what a turn tells; what an assistant does is indented."""
    match message:
        case messages.ChatEvent(data={"delta": {"type": "text_delta", "text": str(text)}}):
            print(text, end="", flush=True)
        case messages.AnswerDone(path=()):
            print()
        case messages.ToolStarted(call=call, path=path):
            print(f"{'  ' * len(path)}> {call.name}: {', '.join(map(str, call.input.values()))}")
        case messages.ToolDone(call=call, result=result, path=path):
            print(f"{'  ' * len(path)}< {call.name}: {result}")
        case messages.LimitReached(limit=limit):
            print(f"-- its {limit} are spent")
        case messages.TurnDone(usage=usage, stopped=stopped):
            print(f"-- {usage.total_tokens} tokens, {stopped or 'done'}")


def research(client: Client, question: str) -> None:
    talk = client.converse(RESEARCHER)
    turn = talk.say(question)
    for message in turn:  # leaving the loop, as by Ctrl-C, cancels the turn and all below it
        show(message)
    turn.result()  # raises what went wrong
    talk.stop()


def scripts() -> tuple[Script, ...]:
    """Return what plays the models, each known by its system prompt."""
    from anthropix_actors.emulator import Pace, calls, scripted  # noqa: PLC0415 - an extra of its own

    @scripted(system="You read")
    def reader(ask: Ask) -> Generator[Answer, Ask]:
        ask = yield calls(look_up={"word": ask.text.split()[-1]})
        yield f"The notes say: {ask.results[0].text}"

    @scripted(system="You doubt")
    def doubter(_: Ask) -> Generator[Answer, Ask]:
        yield "A mouse is no cat."

    @scripted(system="You research")
    def researcher(_: Ask) -> Generator[Answer, Ask]:
        subjects = [("read", {"task": "purring and cats"}), ("read", {"task": "sound and bones"})]
        yield calls("I have it looked up.", *subjects)
        yield calls(doubt={"task": "Purring heals bones."})
        yield Pace("Cats purr when they are content or hurt. It may help their bones; nobody has tried.", 30)

    return reader, doubter, researcher


@contextlib.contextmanager
def connected() -> Generator[Client]:
    """Give a client for the API, or without a key for an emulator."""
    try:
        client = Client()
    except ConfigurationError as error:
        from anthropix_actors.emulator import Emulator  # noqa: PLC0415 - as above

        print(f"{error}\nUntil then, an emulator answers.\n", flush=True)
        with Emulator() as here, Client("any-key", base_url=here.url, proxy="") as client:
            here.answer_with(*scripts())
            yield client
    else:
        with client:
            yield client


def main() -> None:
    try:
        with connected() as client:
            research(client, " ".join(sys.argv[1:]) or "Why do cats purr?")
    except AnthropixError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
