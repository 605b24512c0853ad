"""A budget: several chats at once, and what they cost so far, in tokens and in dollars; answers come as values.

The prices are made up. Yours are in your contract, or at https://claude.com/pricing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from anthropix_actors import AnthropixError, CancelToken, Client, Ledger, Price

MODEL = "claude-haiku-4-5"
DISHES = ("soup", "pasta", "curry", "pie", "salad", "stew")
BUDGET = 0.02  # dollars


@dataclass
class Recipe:
    """A dish for two."""

    title: str
    minutes: int
    ingredients: list[str]


class Budget(Ledger):
    """A ledger that stops everything when too much is spent."""

    def __init__(self, limit: float, stop: CancelToken) -> None:
        super().__init__({MODEL: Price(input=1.00, output=5.00)})
        self.limit = limit
        self.stop = stop

    def tell(self, message: object, /) -> None:
        super().tell(message)
        if self.cost().amount > self.limit:
            self.stop.cancel("the budget is spent")


def cook(client: Client, dish: str, stop: CancelToken) -> None:
    question = f"A recipe for {dish}."
    try:
        parsed = client.chat(
            model=MODEL, messages=[{"role": "user", "content": question}], output=Recipe, tag=dish, cancel=stop
        )
    except AnthropixError as error:
        print(f"{dish}: {error}\n", end="")
    else:
        print(f"{dish}: {parsed.output.title}, {parsed.output.minutes} min\n", end="")


def main() -> None:
    stop = CancelToken()
    ledger = Budget(BUDGET, stop)
    with Client(ledger=ledger) as client:
        cooks = [threading.Thread(target=cook, args=(client, dish, stop)) for dish in DISHES]
        for thread in cooks:
            thread.start()
        for thread in cooks:
            thread.join()
    for dish, usage in ledger.by_tag().items():
        print(f"-- {dish}: {usage.total_tokens} tokens")
    cost = ledger.cost()
    print(f"-- {'about ' if cost.estimate else ''}{cost.amount:.6f} dollars for {ledger.chats.done} recipes")


if __name__ == "__main__":
    main()
