"""Models: which exist, and what they can do.

Source: https://docs.claude.com/en/api/models-list, read 2026-11-23.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from anthropix_actors._calls.pages import pages_at
from anthropix_actors._checks.paths import item_path
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._calls.option_types import CallOptions
    from anthropix_actors._calls.pages import Pages
    from anthropix_actors._wire.resources import Model

_MODELS = "/v1/models"

_PATIENCE = 10.0


class Models:
    """The models of a client: `client.models`. Any thread may use it.

    The options of a call are `timeout` (a `Timeout`, or seconds in all), `max_retries`, `beta`, `extra_headers`,
    `workspace_id`, and `cancel`, a `CancelToken`.
    """

    def __init__(self, core: ClientCore) -> None:
        """Use `client.models`, which the client makes."""
        self._core = core

    def list(
        self,
        *,
        limit: int | None = None,
        after_id: str | None = None,
        before_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Pages[Model]:
        """List all models, the newest first, page by page as you loop.

        Args:
            limit: Models per page; 20 by default, at most 1000.
            after_id: Begin after this model.
            before_id: Go from this model towards the newer ones.
            **options: See the class.

        Example:
            >>> next(iter(client.models.list()))["display_name"]
            'Claude Fable 5.2'
        """
        params = {"limit": limit, "after_id": after_id, "before_id": before_id}
        return pages_at(self._core, _MODELS, options, params, "id", of=self.list)

    def retrieve(self, model: str | Model, **options: Unpack[CallOptions]) -> Model:
        """Return one model: its limits, its capabilities, when it retires.

        Raises:
            AnthropixError: the call failed; `NotFoundError` if there is no such model.

        Example:
            >>> client.models.retrieve("claude-sonnet-5")["lifecycle"]
            'active'
        """
        return cast("Model", self._core.ask("GET", item_path(_MODELS, "model", model), options, of=self.retrieve))


def read_window(core: ClientCore, model: str, cancel: CancelToken, then: Callable[[], object]) -> None:
    """Ask the API how many tokens a model takes, for `core.windows`, on a thread of its own. Raises nothing.

    It is asked once: where that fails, the window is taken to be unknown, but not where it is cancelled.

    Args:
        core: The parts of the client.
        model: The model.
        cancel: Ends the call.
        then: Is called when it is known, or was cancelled.
    """

    def read() -> None:
        with contextlib.suppress(CancelledError):
            core.windows[model] = _window_of(core, model, cancel)
        then()

    if not in_background(read, "anthropix-window"):
        core.windows[model] = None
        then()


def _window_of(core: ClientCore, model: str, cancel: CancelToken) -> int | None:
    try:
        options = {"timeout": _PATIENCE, "max_retries": 0, "cancel": cancel}
        answer = core.ask("GET", item_path(_MODELS, "model", model), options, of=Models.retrieve)
        window = answer["max_input_tokens"]
    except CancelledError:
        raise
    except Exception:  # noqa: BLE001 - another server may answer anything
        return None
    return window if isinstance(window, int) else None
