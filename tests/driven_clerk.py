"""The clerk of the examples, driven; `python driven_clerk.py` plays all scenarios."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator import Status

from driven_chats import TkChat, missing, play_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors import Client
    from anthropix_actors.emulator import Emulator

    from driven_chats import Steps


class TkClerk(TkChat):
    example = "clerk_tk"

    def open_chat(self, claude: Client) -> None:
        self.open()
        self.root.withdraw()
        self.module: Any = import_module(self.example)
        self.module.ttk.Style().theme_use("clam")
        self.chat = self.module.Desk(self.window, claude)
        self.chat.pack(fill="both", expand=True)

    def ask(self, question: str) -> None:
        self.chat.entry.insert(0, question)
        self.chat.say()

    def is_idle(self) -> bool:
        return bool(str(self.chat.button["state"]) == "disabled")

    def buttons(self) -> dict[str, Any]:
        """Return the buttons of the cards, by their texts."""
        found = [each for card in self.chat.cards.values() for each in card.winfo_children()]
        return {str(each["text"]): each for each in found if each.winfo_class() == "TButton"}

    def script(self, emulator: Emulator) -> None:
        """Have it play the example's own model."""
        emulator.answer_with(self.module.played)


def a_letter_is_sent_as_the_user_wants_it(clerk: Any, _: Emulator) -> Steps:
    yield from until_the_letter(clerk)
    clerk.buttons()["Send it"].invoke()
    yield clerk.is_idle
    yield lambda: not missing(clerk, "Mary", "in verse", "sent to ada@example.com", "on its way", "it has heard: Hurry")
    assert not clerk.buttons()
    assert "written" in clerk.status()


def until_the_letter(clerk: Any) -> Iterator[Any]:
    clerk.ask("Write to Ada, not to Mary.")
    yield lambda: "in verse" in clerk.buttons()
    clerk.ask("Hurry")
    clerk.buttons()["in verse"].invoke()
    yield lambda: "Send it" in clerk.buttons()


def what_the_user_denies_is_not_done(clerk: Any, _: Emulator) -> Steps:
    yield from until_the_letter(clerk)
    clerk.buttons()["No"].invoke()
    yield clerk.is_idle
    yield lambda: not missing(clerk, "denied by the user", "I have not sent it.")
    assert "sent to" not in clerk.page()


def a_window_closed_while_it_asks_ends_the_turn(clerk: Any, _: Emulator) -> Steps:
    yield from until_the_letter(clerk)
    clerk.close()


def stop_takes_the_cards_away(clerk: Any, _: Emulator) -> Steps:
    clerk.ask("Write to Ada.")
    yield lambda: "in verse" in clerk.buttons()
    stale = clerk.buttons()["in verse"]
    clerk.press()
    yield clerk.is_idle
    yield lambda: not missing(clerk, "Stop was pressed", "cancelled; it may have taken effect")
    assert not clerk.buttons()
    assert not stale.winfo_exists()
    clerk.ask("Once more.")
    yield lambda: "in verse" in clerk.buttons()


def an_error_is_shown(clerk: Any, emulator: Emulator) -> Steps:
    clerk.ask("")
    assert not missing(clerk, "expected a string that is not empty")
    emulator.queue(Status(529))
    clerk.ask("Write to Ada.")
    yield clerk.is_idle
    yield lambda: not missing(clerk, "overloaded_error", "req_")


SCENARIOS = (
    a_letter_is_sent_as_the_user_wants_it,
    what_the_user_denies_is_not_done,
    a_window_closed_while_it_asks_ends_the_turn,
    stop_takes_the_cards_away,
    an_error_is_shown,
)

if __name__ == "__main__":
    play_all(TkClerk(), SCENARIOS)
