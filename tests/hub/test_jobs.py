"""What a job holds: the parameters of a chat as JSON, and nothing of this program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelToken, ParameterError, Timeout
from anthropix_actors.content import image
from anthropix_actors.hub.jobs import job_data

from actors import ASK

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def test_a_job_is_json_and_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    content = [image(tmp_path / "a.png"), {"type": "text", "text": "What is this?"}]
    job = job_data({**ASK, "messages": [{"role": "user", "content": content}]}, tag="night")
    assert json.loads(json.dumps(job)) == job
    assert job["tag"] == "night"
    assert job["retry_lost"] is False
    assert job["params"]["max_tokens"] == 4096
    assert job["params"]["messages"][0]["content"][0]["source"]["data"].startswith("iVBORw0K")


def test_options_that_are_json_go_along() -> None:
    job = job_data({**ASK, "beta": ["a-1"], "max_retries": 3, "resume": True, "timeout": 5, "workspace_id": None})
    expected = {"beta": ["a-1"], "max_retries": 3, "resume": True, "timeout": 5}
    assert {name: job["params"][name] for name in expected} == expected
    assert "workspace_id" not in job["params"]


def test_an_extra_body_goes_along() -> None:
    job = job_data({**ASK, "extra_body": {"brand_new": 1, "max_tokens": 7}}, retry_lost=True)
    assert job["params"]["extra_body"] == {"brand_new": 1}
    assert job["params"]["max_tokens"] == 7
    assert job["retry_lost"] is True


@pytest.mark.parametrize(
    ("more", "options", "place"),
    [
        ({"model": None}, {}, "model: expected a string"),
        ({"mesages": []}, {}, "did you mean messages"),
        ({"output": dict}, {}, "output: expected none: a job is JSON"),
        ({"cancel": CancelToken()}, {}, "cancel: expected none"),
        ({"extra_headers": {"x-api-key": "sk-ant-1"}}, {}, "extra_headers: expected none"),
        ({"timeout": Timeout()}, {}, "timeout: expected JSON"),
        ({"max_retries": -1}, {}, "max_retries: expected an integer"),
        ({}, {"retry_lost": 1}, "retry_lost: expected True or False"),
        ({}, {"tag": 1}, "tag: expected a string"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(more: dict[str, Any], options: dict[str, Any], place: str) -> None:
    with pytest.raises(ParameterError, match=place) as caught:
        job_data({**ASK, **more}, **options)
    assert "sk-ant-1" not in str(caught.value)
