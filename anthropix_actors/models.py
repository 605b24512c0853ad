"""Models: which exist, and what they can do.

Source: https://docs.claude.com/en/api/models-list, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from anthropix_actors._calls.pages import pages_at
from anthropix_actors._checks.paths import item_path

if TYPE_CHECKING:
    from typing import Unpack

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._calls.option_types import CallOptions
    from anthropix_actors._calls.pages import Pages
    from anthropix_actors._wire.resources import Model

_MODELS = "/v1/models"


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
        return pages_at(self._core, _MODELS, options, params, "id")

    def retrieve(self, model: str | Model, **options: Unpack[CallOptions]) -> Model:
        """Return one model: its limits, its capabilities, when it retires.

        Raises:
            AnthropixError: the call failed; `NotFoundError` if there is no such model.

        Example:
            >>> client.models.retrieve("claude-sonnet-5")["lifecycle"]
            'active'
        """
        return cast("Model", self._core.ask("GET", item_path(_MODELS, "model", model), options))
