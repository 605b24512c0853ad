"""What `make drift` tells: the official SDK that is installed here, and one that moved."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

import pytest

from anthropix_actors.endpoints import Endpoint, endpoints

import drift

pytestmark = pytest.mark.untraced

MOVED = {
    "_version.py": '__version__ = "9.9.9"',
    "resources/things.py": """
        class Things(SyncAPIResource):
            def list(self):
                return self._get_api_list(
                    "/v1/things", page=SyncPageCursor[Thing], options=options(span_route="/v1/things")
                )

            def retrieve(self, thing_id):
                return self._get(path_template("/v1/things/{thing_id}", thing_id=thing_id), cast_to=Thing)

            def helper(self):
                return self.retrieve("x")

        class AsyncThings(AsyncAPIResource):
            async def other(self):
                return self._post("/v1/others")
    """,
    "resources/beta/things.py": """
        class Things(SyncAPIResource):
            kind = "things"

            def list(self, betas):
                headers = {"anthropic-beta": ",".join(betas), "other": "x"}
                headers = {"anthropic-beta": "things-2026-01-01,more-2026-02-02", **headers}
                return self._get_api_list("/v1/things?beta=true", page=SyncPage[Thing])

            def watch(self):
                return self._get("/v1/things/watch", cast_to=cast(Any, Thing), stream=True)

            def content(self):
                headers = {"anthropic-beta": "things-2026-01-01"}
                return self._post("/v1/things/content", cast_to=BinaryAPIResponse)
    """,
    "resources/messages/messages.py": """
        class Messages(SyncAPIResource):
            def create(self, model, *, messages, brand_new, betas, extra_query):
                return self._post("/v1/messages", cast_to=Message, stream=stream or False)

            def stream(self, other):
                return self._post("/v1/messages", cast_to=Message, stream=True)
    """,
}


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    for name, text in MOVED.items():
        path = tmp_path / "anthropic" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path / "anthropic"


def test_the_table_is_that_of_the_official_sdk() -> None:
    spec = importlib.util.find_spec("anthropic")
    if spec is None or spec.origin is None:
        pytest.skip("the official SDK is not installed")
    folder = Path(spec.origin).parent
    if drift.version_of(folder) != "2.14.0":
        pytest.skip("another release of the official SDK; make drift tells the differences")
    assert drift.differences(folder) == []
    there, _ = drift.endpoints_of(folder)
    assert sorted(there) == sorted(f"{endpoint.method} {endpoint.path}" for endpoint in endpoints())


def test_what_moved_is_told_line_by_line(sdk: Path) -> None:
    known = [
        Endpoint("GET", "/v1/gone", "list", None, "json", (), beta_only=False),
        Endpoint("GET", "/v1/things", "list", "id", "json", (), beta_only=False),
        Endpoint("GET", "/v1/things/{thing_id}", "retrieve", None, "json", (), beta_only=False),
    ]
    assert drift.differences(sdk, known) == [
        "- GET /v1/gone: not in the SDK",
        "~ GET /v1/things: GET list:cursor (GA); here GET list:id (GA)",
        "+ GET /v1/things/watch: GET watch:sse (beta)",
        "+ POST /v1/messages: POST create (GA)",
        "+ POST /v1/things/content: POST content:binary (beta things-2026-01-01)",
        "+ POST /v1/messages: parameter brand_new",
    ]


def test_the_exit_status_says_whether_something_differs(sdk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift.main(["--folder", str(sdk)]) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("anthropic 9.9.9: 5 endpoints, ")
    assert "+ GET /v1/things/watch: GET watch:sse (beta)" in lines
