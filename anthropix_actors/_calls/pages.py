"""Lists that come in pages, as one lazy list.

The API has five kinds of page, which differ in how the next page is requested:

| kind | a page has | the next request adds |
|---|---|---|
| `id` | `data`, `has_more`, `first_id`, `last_id` | `after_id=last_id`, or backwards `before_id=first_id` |
| `cursor` | `data`, `next_page` | `page=next_page` |
| `bidi` | `data`, `next_page`, `prev_page` | `page=next_page` |
| `report` | `data`, `has_more`, `next_page` | `page=next_page` |
| `token` | `data`, `has_more`, `next_page` | `page_token=next_page` |

An empty page of kind `id` is the last one; an empty page of another kind may have a next one. A list that has
`has_more` without the id or token of the next page is cut, which is an error; so is a list that repeats a page.

Source: https://docs.claude.com/en/api/overview and the official SDK 2.12.0, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, get_args

from msgspec.structs import replace

from anthropix_actors._calls.client_core import decode_json
from anthropix_actors._calls.options import CALL_OPTIONS, checked_options
from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._http.urls import encode_query
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.transport import Response

T = TypeVar("T")

PageKind: TypeAlias = Literal["id", "cursor", "bidi", "report", "token"]
"""How the next page is requested."""

KINDS: tuple[PageKind, ...] = get_args(PageKind)


class Pages(Generic[T]):
    """A list of the API, read page by page as it is looped over. Each loop starts anew.

    Example:
        >>> models = client.models.list()
        >>> [model["id"] for model in models][:2]
        ['claude-fable-5-2', 'claude-haiku-5-5']
        >>> [len(page["data"]) for page in models.pages()]
        [10]
    """

    def __init__(
        self, fetch: Callable[[Mapping[str, Any]], Any], params: Mapping[str, Any], kind: PageKind | None = None
    ) -> None:
        """Lists are returned by a client's methods; do not make one yourself."""
        self._fetch = fetch
        self._params = dict(params)
        self._kind: PageKind | None = kind

    def __iter__(self) -> Iterator[T]:
        """Loop over the items of all pages; a page is fetched when its first item is needed.

        Raises:
            AnthropixError: a page could not be fetched.
        """
        for page in self.pages():
            yield from page["data"]

    def pages(self) -> Iterator[dict[str, Any]]:
        """Loop over the pages, as they are on the wire.

        Raises:
            AnthropixError: a page could not be fetched, or is not a page.
        """
        params: dict[str, Any] | None = self._params
        # Brent's algorithm finds a cycle of any length: one earlier page is kept, replaced after 1, 2, 4, 8... pages.
        kept, age, limit = self._params, 0, 1
        while params is not None:
            page = self._fetch(params)
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise ProtocolError(f"expected a page with data, got {shown(page)}", body=page)
            yield page
            params = next_params(self._kind or kind_of(page), page, params)
            if params == kept:
                raise ProtocolError("the list does not end: its next page repeats an earlier one", body=page)
            age += 1
            if params is not None and age == limit:
                kept, age, limit = params, 0, 2 * limit


def pages_at(  # noqa: PLR0913 - the parts of a call
    core: ClientCore,
    path: str,
    options: Mapping[str, Any],
    params: Mapping[str, Any],
    kind: PageKind,
    *,
    of: Callable[..., object],
) -> Pages[Any]:
    """Return a list that comes in pages; nothing is sent yet.

    Raises:
        ParameterError: an option or a value of `params` cannot be sent.
    """
    given = checked_options(options, *CALL_OPTIONS, of=of)
    cancel = given.pop("cancel", None)
    request = core.request_factory.build("GET", path, **given)
    return pages_of(core, request, decode_json, params, kind, cancel=cancel)


def pages_of(  # noqa: PLR0913 - the parts of a call
    core: ClientCore,
    request: Request,
    use: Callable[[Response], Any],
    params: Mapping[str, Any],
    kind: PageKind | None,
    *,
    cancel: CancelToken | None,
) -> Pages[Any]:
    """Return a list that comes in pages: each is requested as `request` says, with another query.

    Raises:
        ParameterError: a value of `params` cannot go into a query.
    """
    encode_query(params)

    def fetch(query: Mapping[str, Any]) -> Any:
        return core.wait_for(replace(request, path=request.path + encode_query(query)), use, cancel=cancel)

    return Pages(fetch, params, kind)


def kind_of(page: Mapping[str, Any]) -> PageKind:
    """Return a page's kind, by its keys. A page of kind `token` is taken for `report`: only their requests differ.

    Example:
        >>> kind_of({"data": [], "next_page": None})
        'cursor'
    """
    if "last_id" in page:
        return "id"
    if "prev_page" in page:
        return "bidi"
    return "report" if "has_more" in page else "cursor"


def next_params(kind: PageKind, page: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the query of the next page, or None after the last one.

    Raises:
        ProtocolError: there are more pages, but no id or token of the next one.

    Example:
        >>> next_params("id", {"data": [1], "has_more": True, "first_id": "a", "last_id": "b"}, {"limit": 1})
        {'limit': 1, 'after_id': 'b'}
    """
    if page.get("has_more") is False:
        return None
    if kind == "id":
        if not page["data"]:
            return None
        backwards = params.get("before_id") is not None and params.get("after_id") is None
        name, key = ("before_id", "first_id") if backwards else ("after_id", "last_id")
    else:
        name, key = ("page_token" if kind == "token" else "page"), "next_page"
    value = page.get(key)
    if not value and page.get("has_more") is not True:
        return None
    if not value or not isinstance(value, (str, int)) or value is True:
        raise ProtocolError(f"expected {key}, which leads to the next page, got {shown(value)}", body=dict(page))
    return {**params, name: value}


publish("anthropix_actors", (Pages,))
