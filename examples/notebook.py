"""A notebook, as a script of cells: chat, stream, answers as values, many at once, and what it all cost.

Editors run it cell by cell, and Jupyter opens it with jupytext; `python notebook.py` runs all of it. The prices are
made up: yours are in your contract, or at https://claude.com/pricing.
"""

# %% A client: the key comes from ANTHROPIC_API_KEY. A ledger counts whatever is asked.
import queue
from dataclasses import dataclass

from anthropix_actors import AnthropixError, ChatMessage, Client, Ledger, Price, as_completed
from anthropix_actors.content import text_of
from anthropix_actors.subscribers import to_queue

MODEL = "claude-haiku-4-5"
ledger = Ledger({MODEL: Price(input=1.00, output=5.00)})  # dollars for a million tokens
client = Client(ledger=ledger, max_concurrency=4)

# %% Ask, and wait for the answer. It is a dict, exactly as the API sent it.
question = "In one sentence: what is a median, and when is it better than a mean?"
message = client.chat(model=MODEL, messages=[{"role": "user", "content": question}])
print(text_of(message))
print(message["stop_reason"], message["usage"])

# %% The same as a stream: the text as it is written. Interrupt the kernel, and it costs no more.
with client.chat(model=MODEL, messages=[{"role": "user", "content": question}], stream=True) as stream:
    for text in stream.text:
        print(text, end="", flush=True)
print()


# %% An answer as a value: the model has to fill in a dataclass.
@dataclass
class Review:
    """What a customer says of a product."""

    product: str
    stars: int
    complaints: list[str]


def about(review: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Sum up this review.\n\n{review}"}]


parsed = client.chat(model=MODEL, messages=about("The kettle boils fast, but the lid came off twice."), output=Review)
print(parsed.output)

# %% Many at once: four at a time, as the client was told; each is a row as soon as it is there, or says why it is not.
reviews = {
    "r1": "The lamp flickers, and the seller never wrote back.",
    "r2": "Best umbrella that I have had in Bergen.",
    "r3": "The chair is fine. Its manual is not.",
    "r4": "A pen that writes. What more is there to say?",
    "r5": "The radio hums, and its dial is loose.",
}
inbox = queue.SimpleQueue[ChatMessage]()  # what is said on the way; here, nobody reads it
chats = [
    client.chat(model=MODEL, messages=about(review), output=Review, stream=to_queue(inbox), tag=name)
    for name, review in reviews.items()
]
rows: list[tuple[str, Review]] = []
for chat in as_completed(chats, timeout=300):
    try:
        rows.append((str(chat.tag), chat.output()))
    except AnthropixError as error:
        print(f"{chat.tag}: {error}")
for name, review in sorted(rows, key=lambda row: row[0]):
    print(name, review.stars, review.product, review.complaints)

# %% What it cost, in all and by tag.
for tag, usage in ledger.by_tag().items():
    print(tag or "(no tag)", usage.total_tokens, "tokens")
print(f"{ledger.cost().amount:.4f} dollars for {ledger.chats.done} answers")

# %% At the end, or with the kernel.
client.close()
