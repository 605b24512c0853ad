"""`Ask`: what a script is told of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator.rules.chat_request import ChatRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anthropix_actors.emulator.rules.chat_request import Block


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a tool call.

    Attributes:
        id: The call's id.
        name: The tool; "" if the conversation has no such call.
        content: The result as it was sent: a text, or blocks.
        is_error: Whether it is an error.
        allowed: Of a session's tool call that asked for permission: whether it was given. Else None.

    Example:
        >>> Result("toolu_1", "add", [{"type": "text", "text": "3"}]).text
        '3'
    """

    id: str
    name: str
    content: Any = ""
    is_error: bool = False
    allowed: bool | None = None

    @property
    def text(self) -> str:
        """The texts of the result, one a line."""
        return joined_text(self.content)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request brings to the script that answers it.

    Attributes:
        body: The request's body. In a session, the events that came: `{"events": [...]}`.
        number: How many requests of this conversation the script has been asked, with this one.
        repeated: Whether the request before it came again, as it had no complete answer.
        text: The user's texts that came with it, one a line; "" if there are only results.
        results: What became of the calls of the answer before, in their order.

    Example:
        >>> ask = Ask({"model": "m"}, number=2, results=(Result("toolu_1", "add", "3"), Result("toolu_2", "add", "5")))
        >>> ask.model, [result.text for result in ask.results], ask.result("add").id
        ('m', ['3', '5'], 'toolu_1')
    """

    body: Mapping[str, Any]
    number: int = 1
    repeated: bool = False
    text: str = ""
    results: tuple[Result, ...] = ()

    @property
    def model(self) -> str:
        """The model; "" in a session."""
        return str(self.body.get("model", ""))

    @property
    def system(self) -> str:
        """The texts of the system prompt, one a line."""
        return joined_text(self.body.get("system"))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools."""
        return tuple(name for tool in ChatRequest(dict(self.body)).tools if (name := tool.text("name")))

    @property
    def messages(self) -> list[Any]:
        """The conversation so far; empty in a session."""
        return cast("list[Any]", self.body.get("messages") or [])

    def result(self, name: str) -> Result:
        """Return the result of the only call, or of the first one, of a tool.

        Raises:
            KeyError: there is none; the text says which there are.
        """
        for each in self.results:
            if each.name == name:
                return each
        raise KeyError(f"no result of {name!r} in this request; there are {[each.name for each in self.results]}")


def ask_of(body: Mapping[str, Any], number: int = 1, *, repeated: bool = False) -> Ask:
    """Return what a chat's request brings: of a checked body.

    Example:
        >>> ask_of({"messages": [{"role": "user", "content": "Hi"}]}, 2)
        Ask(body={'messages': [{'role': 'user', 'content': 'Hi'}]}, number=2, repeated=False, text='Hi', results=())
    """
    request = ChatRequest(dict(body))
    turns = [turn for turn in request.turns if turn.role != "system"]
    last = turns[-1].blocks if turns and turns[-1].role == "user" else ()
    before = turns[-2].blocks if len(turns) > 1 else ()
    names = {block.text("id"): block.text("name") for block in before if block.kind == "tool_use"}
    results = {block.text("tool_use_id"): block for block in last if block.kind == "tool_result"}
    order = [*(each for each in names if each in results), *(each for each in results if each not in names)]
    return Ask(
        body,
        number,
        repeated,
        text="\n".join(block.text("text") for block in last if block.kind == "text"),
        results=tuple(_result(results[each], names.get(each, "")) for each in order),
    )


def joined_text(content: Any) -> str:
    r"""Return a content's texts, one a line.

    Example:
        >>> joined_text([{"type": "text", "text": "One"}, {"type": "image"}, {"type": "text", "text": "two"}])
        'One\ntwo'
    """
    if isinstance(content, str):
        return content
    blocks: Sequence[Any] = content if is_array(content) else ()
    return "\n".join(str(each.get("text", "")) for each in blocks if is_object(each) and each.get("type") == "text")


def _result(block: Block, name: str) -> Result:
    return Result(block.text("tool_use_id"), name, block.data.get("content", ""), block.data.get("is_error") is True)
