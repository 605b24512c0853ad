"""A clerk in a window of Tk, with three tools: it finds customers, asks its user, and sends letters if that allows it.

    python clerk_tk.py

The window is one of the tools: it is told each call of `ask_user`, shows the question, and answers the call when its
user has. Letters need approval: for each, the window has two buttons. What is said while the clerk works, it hears at
the next step. Esc stops, and closing the window ends the work. Without ANTHROPIC_API_KEY, an emulator plays the model.
"""

import os
import tkinter as tk
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from tkinter import ttk
from typing import Any

from anthropix_actors import Agent, AnthropixError, Call, Client, Tool, messages, tool
from anthropix_actors.emulator import Answer, Ask, Emulator, Pace, calls, scripted
from anthropix_actors.subscribers import GuiSubscriber, to_tk

MODEL = "claude-sonnet-5"
SYSTEM = "You are the clerk of a small firm. Find the customer, ask the user what you are not sure of, then write."
CUSTOMERS = {"Ada Byron": "ada@example.com", "Mary Shelley": "mary@example.com"}
FONT, GREY = ("Helvetica", 11), "#57606a"
TAGS: dict[str, Any] = {
    "question": {"background": "#e8f0fe", "spacing1": 6, "spacing3": 6, "lmargin1": 12, "lmargin2": 12},
    "tool": {"foreground": GREY, "font": ("Courier", 10), "lmargin1": 12, "lmargin2": 24},
    "note": {"foreground": "#b3261e"},
}


@tool(safe=True, timeout=10)
def find_customer(name: str) -> dict[str, str]:
    """Find customers by a part of their name; returns names and addresses.

    Args:
        name: A part of the name, such as the first name.
    """
    return {full: address for full, address in CUSTOMERS.items() if name.lower() in full.lower()}


@tool(approve=True, timeout=60)
def send_letter(to: str, subject: str, text: str, *, call: Call) -> str:
    """Send a letter by mail.

    Args:
        to: The address.
        subject: One line.
        text: The letter.
        call: Its id is the same in every attempt; a real mailer would take it as a key.
    """
    return f"sent to {to}, {len(text.split())} words, as {subject!r}: number {call.id[-4:]}"


def asks(window: GuiSubscriber) -> Tool[..., str]:
    """Return the tool that is a window; the function only says what the input is."""

    @tool(actor=window)
    def ask_user(question: str, choices: list[str]) -> str:
        """Ask the user, who may take a while; returns the answer.

        Args:
            question: One sentence.
            choices: Two to four answers to choose from.
        """
        raise NotImplementedError  # the window answers

    return ask_user


class Desk(ttk.Frame):
    """A conversation with the clerk; below it, a card for each thing that waits for the user."""

    def __init__(self, window: tk.Misc, claude: Client) -> None:
        super().__init__(window, padding=10)
        self.cards: dict[str, ttk.LabelFrame] = {}  # by the id of the call
        subscriber = to_tk(self, self.show)  # it follows the conversation, and is a tool
        tools = [find_customer, send_letter, asks(subscriber)]
        self.talk = claude.converse(Agent(model=MODEL, system=SYSTEM, tools=tools), stream=subscriber)
        self.status = ttk.Label(self, text=MODEL, foreground=GREY)
        self.status.pack(side="bottom", anchor="w", pady=(8, 0))
        row = ttk.Frame(self)
        row.pack(side="bottom", fill="x", pady=(10, 0))
        self.entry = ttk.Entry(row, font=FONT)
        self.entry.pack(side="left", fill="x", expand=True, padx=(0, 8), ipady=3)
        ttk.Button(row, text="Say", command=self.say).pack(side="left")
        stop = partial(self.talk.cancel, "Stop was pressed")
        self.button = ttk.Button(row, text="Stop", command=stop, state="disabled")
        self.button.pack(side="left", padx=(8, 0))
        self.desk = ttk.Frame(self)
        self.desk.pack(side="bottom", fill="x")
        self.page = tk.Text(self, font=FONT, wrap="word", relief="flat", padx=16, pady=12, width=76, height=20)
        self.page.configure(state="disabled", background="white", highlightthickness=0)
        for tag, options in TAGS.items():
            self.page.tag_configure(tag, **options)
        self.page.pack(fill="both", expand=True)
        self.entry.bind("<Return>", lambda _: self.say())
        window.bind("<Escape>", lambda _: stop())
        self.bind("<Destroy>", lambda _: self.talk.stop(block=False), add="+")  # `to_tk` has bound it, too
        self.entry.focus()

    def say(self) -> None:
        """Begin a turn, or say something in the middle of the one that runs."""
        try:
            self.talk.say(self.entry.get().strip())
        except AnthropixError as error:  # such as an empty text: nothing was said
            self.add(f"{error}\n", "note")
            return
        self.add(f"{self.entry.get().strip()}\n", "question")
        self.entry.delete(0, "end")
        self.button.configure(state="normal")
        self.status.configure(text=f"{MODEL} works. Esc stops it.")

    def show(self, message: object) -> None:
        """Show what is told, and the calls of `ask_user`; called in Tk's thread."""
        match message:
            case messages.ChatEvent(data={"delta": {"type": "text_delta", "text": str(text)}}):
                self.add(text)
            case Call(input={"question": str(question), "choices": choices}):
                self.card(message.id, question, {choice: partial(message.done, choice) for choice in choices})
            case messages.ApprovalNeeded(approval=asked):
                letter = "{to}: {subject}\n\n{text}".format(**asked.input)
                decide = partial(self.talk.answer, asked, by="the user")
                choices = {"Send it": partial(decide, allow=True), "No": partial(decide, allow=False)}
                self.card(asked.call_id, letter, choices)
            case messages.ToolStarted(call=call):
                self.add(f"\n{call.name} {call.input}\n", "tool")
            case messages.ToolDone(call=call, result=result):
                self.remove(call.id)
                self.add(f"-> {result}\n", "tool")
            case messages.Steered(text=text):
                self.add(f"(it has heard: {text})\n", "tool")
            case messages.TurnDone(stopped=why) | messages.TurnFailed(error=why) | messages.TurnCancelled(reason=why):
                self.end(str(why or ""))

    def card(self, call_id: str, text: str, choices: Mapping[str, Callable[[], object]]) -> None:
        """Show something to decide. The first press counts: then the card is gone."""
        card = self.cards[call_id] = ttk.LabelFrame(self.desk, text="The clerk asks", padding=8)
        ttk.Label(card, text=text, font=FONT, wraplength=620).pack(anchor="w", pady=(0, 6))
        for choice, decide in choices.items():
            ttk.Button(card, text=choice, command=partial(self.press, call_id, decide)).pack(side="left", padx=(0, 8))
        card.pack(fill="x", pady=(10, 0))

    def press(self, call_id: str, decide: Callable[[], object]) -> None:
        self.remove(call_id)
        try:
            decide()
        except AnthropixError as error:  # the turn has ended in this moment
            self.add(f"{error}\n", "note")

    def remove(self, call_id: str) -> None:
        if call_id in self.cards:
            self.cards.pop(call_id).destroy()

    def end(self, why: str) -> None:
        self.add(f"\n{why}\n", "note")
        for call_id in [*self.cards]:
            self.remove(call_id)
        self.button.configure(state="disabled")
        used = self.talk.usage()
        self.status.configure(text=f"{used.input_tokens} tokens read, {used.output_tokens} written")

    def add(self, text: str, tag: str = "") -> None:
        self.page.configure(state="normal")
        self.page.insert("end", text, tag)
        self.page.configure(state="disabled")
        self.page.see("end")


@scripted
def played(ask: Ask) -> Generator[Answer, Ask]:
    """Play the model, once for each letter."""
    while True:
        yield Pace(calls("Let me look her up.", find_customer={"name": "Ada"}), tokens_per_second=30)
        choices = ["warmly", "briefly", "in verse"]
        ask = yield calls(ask_user={"question": "How shall I write to Ada?", "choices": choices})
        if ask.results[0].is_error:  # Stop was pressed, and something else said
            continue
        text = f"Dear Ada, ({ask.results[0].text}) shall we have lunch?"
        ask = yield calls(send_letter={"to": "ada@example.com", "subject": "Lunch", "text": text})
        said = "I have not sent it." if ask.results[0].is_error else "Your letter is on its way to Ada."
        yield Pace(said, tokens_per_second=30)


@contextmanager
def connected() -> Generator[Client]:
    """A client of the API; without a key, one of an emulator on this machine."""
    if {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"} & {*os.environ}:
        with Client() as claude:
            yield claude
    else:
        with Emulator() as here, Client("any", base_url=here.url) as claude:
            here.answer_with(played)
            yield claude


def main() -> None:
    with connected() as claude:
        root = tk.Tk()
        root.title("Clerk")
        ttk.Style().theme_use("clam")
        Desk(root, claude).pack(fill="both", expand=True)
        root.mainloop()


if __name__ == "__main__":
    main()
