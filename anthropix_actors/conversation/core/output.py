"""What type a turn's answer is of: the caller's, or, after a restart, the JSON that its schema describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors.chat.output import decode_output, output_format
from anthropix_actors.content import text_of
from anthropix_actors.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeptOutput(msgspec.Struct, frozen=True):
    """A type of which only the format is left: a log keeps no types."""

    form: Mapping[str, Any]


def format_of(output: Any) -> Mapping[str, Any]:
    """Return the `output_config.format` of a type.

    Raises:
        ParameterError: no schema of the API can describe it.

    Example:
        >>> format_of(KeptOutput({"type": "json_schema", "schema": {"type": "object"}}))["type"]
        'json_schema'
    """
    return output.form if isinstance(output, KeptOutput) else output_format(output)


def value_of(output: Any, message: Any) -> Any:
    """Return the value of an answer; None where none was asked for, or there is no answer.

    Raises:
        OutputError: it does not fit.

    Example:
        >>> value_of(KeptOutput({}), {"content": [{"type": "text", "text": '{"name": "Ada"}'}]})
        {'name': 'Ada'}
    """
    if output is None or message is None:
        return None
    if not isinstance(output, KeptOutput):
        return decode_output(output, message)
    text = text_of(message)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        raise OutputError(f"the answer is not JSON: {exc}", text=text) from exc
