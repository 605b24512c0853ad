"""`ChatRequest`: a chat's parameters, parsed for the rules. Pure.

It raises nothing, whatever the JSON: values without the form of a message or a block are skipped.

Places are in the notation of the API's errors: `messages.2.content.0`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors.emulator._model.json import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


_MAX_DEPTH = 8
"""How deep blocks are looked for: the API's are nested two deep, but a request's may be a thousand."""


class Block(NamedTuple):
    """A content block.

    Attributes:
        place: Its place.
        data: The block itself; for content that is a string, a text block in its place.
        kind: Its type; "" if that is not a string.
    """

    place: str
    data: dict[str, Any]
    kind: str

    def text(self, key: str) -> str:
        """Return the value of `key` if it is a string; else ""."""
        value = self.data.get(key)
        return value if isinstance(value, str) else ""

    @property
    def typed_place(self) -> str:
        """Its place with its type, which the API puts before a key of the block."""
        return f"{self.place}.{self.kind}"


class Message(NamedTuple):
    """A message.

    Attributes:
        place: Its place.
        data: The message itself.
        role: Its role; "" if that is not a string.
        blocks: Its content.
    """

    place: str
    data: dict[str, Any]
    role: str
    blocks: tuple[Block, ...]


class Turn(NamedTuple):
    """Consecutive messages of one role, which the API joins.

    Attributes:
        place: The place of the first message.
        role: Their role.
        blocks: Their content.
    """

    place: str
    role: str
    blocks: tuple[Block, ...]

    def ids(self, kind: str, key: str) -> list[str]:
        """Return the ids under `key` of its blocks of type `kind`."""
        return [block.text(key) for block in self.blocks if block.kind == kind]


def _never_sent(_: str) -> Collection[tuple[str, int]]:
    return ()


NO_TURN = Turn("", "", ())
"""The turn before the first and after the last."""


class ChatRequest:
    """A chat request, as the rules see it.

    Args:
        body: The parameters.
        version: The version of the API in its header.
        betas: The betas in its header.
        known: The keys that the endpoint knows, except those of betas.
        in_batch: Whether it is a batch's request.
        sent_with: Returns the thoughts that were sent with a signature, and their places.
    """

    def __init__(  # noqa: PLR0913 - all have defaults, and names
        self,
        body: dict[str, Any],
        *,
        version: str = "2023-06-01",
        betas: frozenset[str] = frozenset(),
        known: frozenset[str] = frozenset(),
        in_batch: bool = False,
        sent_with: Callable[[str], Collection[tuple[str, int]]] = _never_sent,
    ) -> None:
        """Hold the parameters."""
        self.body = body
        self.version = version
        self.betas = betas
        self.known = known
        self.in_batch = in_batch
        self.sent_with = sent_with

    def get_object(self, key: str) -> dict[str, Any]:
        """Return an object of the request; an empty one if there is none.

        Example:
            >>> ChatRequest({"thinking": {"type": "adaptive"}, "metadata": 1}).get_object("metadata")
            {}
        """
        value = self.body.get(key)
        return value if is_object(value) else {}

    @cached_property
    def messages(self) -> list[Message]:
        """The messages."""
        return [
            Message(place, data, _role(data), tuple(_blocks(data.get("content"), f"{place}.content")))
            for place, data in objects(self.body.get("messages"), "messages")
        ]

    @cached_property
    def turns(self) -> list[Turn]:
        """The messages, with consecutive ones of one role joined."""
        turns: list[Turn] = []
        for message in self.messages:
            if turns and turns[-1].role == message.role:
                last = turns.pop()
                turns.append(last._replace(blocks=last.blocks + message.blocks))
            else:
                turns.append(Turn(message.place, message.role, message.blocks))
        return turns

    @property
    def last_turn(self) -> Turn:
        """The last turn."""
        return self.turns[-1] if self.turns else NO_TURN

    @cached_property
    def tools(self) -> list[Block]:
        """The tools, as blocks; a tool without a type is `custom`."""
        return [Block(place, data, _kind(data) or "custom") for place, data in objects(self.body.get("tools"), "tools")]

    @cached_property
    def system(self) -> list[Block]:
        """The blocks of the system prompt."""
        return list(_blocks(self.body.get("system"), "system"))

    @cached_property
    def all_blocks(self) -> list[Block]:
        """All blocks of the messages, including nested ones, in order: an inner block before its outer one."""
        return [found for message in self.messages for block in message.blocks for found in _nested(block)]

    @property
    def thinking_on(self) -> bool:
        """Whether thinking is on, with a budget or adaptive."""
        return self.get_object("thinking").get("type") in ("enabled", "adaptive")


def objects(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of an array, and their places.

    Example:
        >>> list(objects([{"a": 1}, "no", {}], "tools"))
        [('tools.0', {'a': 1}), ('tools.2', {})]
    """
    for index, item in enumerate(value if is_array(value) else ()):
        if is_object(item):
            yield f"{place}.{index}", item


def _role(data: dict[str, Any]) -> str:
    role = data.get("role")
    return role if isinstance(role, str) else ""


def _kind(data: dict[str, Any]) -> str:
    kind = data.get("type")
    return kind if isinstance(kind, str) else ""


def _blocks(content: Any, place: str) -> Iterator[Block]:
    if isinstance(content, str) and content:
        yield Block(place, {"type": "text", "text": content}, "text")
    for inner, data in objects(content, place):
        yield Block(inner, data, _kind(data))


def _nested(block: Block, depth: int = 0) -> Iterator[Block]:
    """Yield the blocks in a block, then the block itself."""
    holder = block.data
    place = f"{block.typed_place}.content"
    if block.kind == "document" and is_object(holder.get("source")):
        holder, place = holder["source"], f"{block.typed_place}.source.content"
    if is_array(holder.get("content")) and depth < _MAX_DEPTH:
        for inner in _blocks(holder["content"], place):
            yield from _nested(inner, depth + 1)
    yield block
