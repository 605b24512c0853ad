"""The table of endpoints, and finding one in it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.endpoints import Endpoint, endpoints, find

GROUPS = {  # all, and those that are beta only
    "messages": (8, 0),
    "models": (2, 0),
    "files": (5, 0),
    "skills": (9, 1),
    "user_profiles": (9, 3),
    "agents": (6, 6),
    "sessions": (19, 19),
    "environments": (14, 14),
    "deployments": (8, 8),
    "deployment_runs": (2, 2),
    "vaults": (13, 13),
    "memory_stores": (14, 14),
    "dreams": (5, 5),
    "tunnels": (10, 10),
    "compliance": (5, 5),
    "organizations": (157, 75),
}
MANAGED = ("managed-agents-2026-04-01",)


def found(method: str, path: str) -> Endpoint:
    endpoint = find(method, path)
    assert endpoint is not None
    return endpoint


def test_all_endpoints_are_there() -> None:
    assert len(endpoints()) == 286
    assert len({endpoint.path for endpoint in endpoints()}) == 185
    assert len({(endpoint.method, endpoint.path) for endpoint in endpoints()}) == 286
    assert Counter(endpoint.method for endpoint in endpoints()) == {"GET": 138, "POST": 117, "DELETE": 31}


def test_each_group_has_as_many_as_the_api_has() -> None:
    groups = Counter(endpoint.path.split("/")[2] for endpoint in endpoints())
    beta = Counter(endpoint.path.split("/")[2] for endpoint in endpoints() if endpoint.beta_only)
    assert {name: (count, beta[name]) for name, count in groups.items()} == GROUPS


def test_every_kind_of_page_and_answer_is_there_as_often_as_in_the_api() -> None:
    pages = Counter(endpoint.page for endpoint in endpoints() if endpoint.page)
    assert pages == {"id": 8, "cursor": 60, "bidi": 1, "report": 6}
    assert all(endpoint.name == "list" for endpoint in endpoints() if endpoint.page)
    answers = Counter(endpoint.answer for endpoint in endpoints())
    assert answers == {"json": 280, "sse": 2, "jsonl": 1, "binary": 3}


def test_they_are_sorted_and_read_once() -> None:
    paths = [endpoint.path for endpoint in endpoints()]
    assert paths == sorted(paths)
    assert [endpoint.method for endpoint in endpoints() if endpoint.path.endswith("/spend_limits")] == ["GET", "POST"]
    assert endpoints() is endpoints()


@pytest.mark.parametrize(
    "expected",
    [
        Endpoint("POST", "/v1/messages", "create", None, "json", (), beta_only=False),
        Endpoint("GET", "/v1/messages/batches", "list", "id", "json", (), beta_only=False),
        Endpoint("POST", "/v1/messages/batches", "create", None, "json", (), beta_only=False),
        Endpoint(
            "GET", "/v1/messages/batches/{message_batch_id}/results", "results", None, "jsonl", (), beta_only=False
        ),
        Endpoint("POST", "/v1/messages/count_tokens", "count_tokens", None, "json", (), beta_only=False),
        Endpoint("GET", "/v1/files/{file_id}/content", "download", None, "binary", (), beta_only=False),
        Endpoint(
            "GET", "/v1/skills/{skill_id}/versions/{version}/content", "download", None, "binary", (), beta_only=True
        ),
        Endpoint("GET", "/v1/user_profiles", "list", "cursor", "json", (), beta_only=False),
        Endpoint(
            "POST",
            "/v1/user_profiles/{user_profile_id}/enrollment_url",
            "create_enrollment_url",
            None,
            "json",
            ("user-profiles-2026-08-18",),
            beta_only=True,
        ),
        Endpoint("GET", "/v1/sessions", "list", "bidi", "json", MANAGED, beta_only=True),
        Endpoint("POST", "/v1/sessions", "create", None, "json", MANAGED, beta_only=True),
        Endpoint("GET", "/v1/sessions/{session_id}/events/stream", "stream", None, "sse", MANAGED, beta_only=True),
        Endpoint("GET", "/v1/organizations/analytics/cost_report", "list", "report", "json", (), beta_only=True),
        Endpoint(
            "GET",
            "/v1/organizations/spend_limits",
            "list",
            "cursor",
            "json",
            ("spend-limit-reads-2026-09-26",),
            beta_only=True,
        ),
        Endpoint("POST", "/v1/organizations/spend_limits", "set", None, "json", (), beta_only=True),
    ],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_an_endpoint_is_as_the_api_has_it(expected: Endpoint) -> None:
    assert find(expected.method, expected.path) == expected


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/v1/sessions/sesn_1", "/v1/sessions/{session_id}"),
        ("get", "/sessions/{id}", "/v1/sessions/{session_id}"),
        ("Get", "sessions/sesn%2F1", "/v1/sessions/{session_id}"),
        ("GET", "v1/sessions/{}", "/v1/sessions/{session_id}"),
        ("GET", "/messages/batches", "/v1/messages/batches"),
        ("GET", "/organizations/analytics/users", "/v1/organizations/analytics/users"),
        ("GET", "/organizations/users/users", "/v1/organizations/users/{user_id}"),
        ("GET", "/environments/e/work/poll", "/v1/environments/{environment_id}/work/poll"),
        ("GET", "/environments/e/work/w", "/v1/environments/{environment_id}/work/{work_id}"),
        ("POST", "/environments/e/work/poll/ack", "/v1/environments/{environment_id}/work/{work_id}/ack"),
        ("GET", "/organizations/spend_limits/effective", "/v1/organizations/spend_limits/effective"),
        ("DELETE", "/organizations/spend_limits/x", "/v1/organizations/spend_limits/{spend_limit_id}"),
    ],
)
def test_an_endpoint_is_found_by_its_template_or_a_path(method: str, path: str, template: str) -> None:
    assert found(method, path).path == template


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/models"),
        ("POST", "/models"),
        ("POST", "/environments/e/work/poll"),
        ("GET", "/nothing"),
        ("GET", "/messages/batches/b/results/more"),
        ("GET", "/organizations/analytics"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/models/"),
        ("GET", "//models"),
        ("GET", "/sessions//events"),
    ],
)
def test_what_the_api_does_not_have_is_not_found(method: str, path: str) -> None:
    assert find(method, path) is None


@given(st.sampled_from(endpoints()), st.data())
def test_every_endpoint_is_found_whatever_the_values_are(endpoint: Endpoint, data: st.DataObject) -> None:
    def value(segment: str) -> str:
        return data.draw(st.from_regex(r"[a-z]+_[A-Z0-9%]+", fullmatch=True)) if segment[:1] == "{" else segment

    filled = "/".join(map(value, endpoint.path.split("/")))
    assert find(endpoint.method, filled) == find(endpoint.method.lower(), endpoint.path[3:]) == endpoint


@given(st.text(), st.text())
def test_anything_may_be_looked_for(method: str, path: str) -> None:
    result: Any = find(method, path)
    assert result is None or result in endpoints()


def test_importing_the_package_does_not_read_the_table() -> None:
    program = (
        "import anthropix_actors, anthropix_actors.endpoints as module; print(module.endpoints.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0\n"
