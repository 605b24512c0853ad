from __future__ import annotations

from typing import Any

import pytest

from anthropix_actors import ParameterError
from anthropix_actors._checks.paths import item_path


def test_a_thing_is_named_by_its_id_or_its_object() -> None:
    assert (
        item_path("/v1/files", "file", "file_1")
        == item_path("/v1/files", "file", {"id": "file_1"})
        == "/v1/files/file_1"
    )
    assert item_path("/v1/files", "file", "a/b ü") == "/v1/files/a%2Fb%20%C3%BC"


@pytest.mark.parametrize("item", ["", ".", "..", "%2e%2E", ";x", None, 5, {}, {"id": None}, {"id": ".."}, b"x"])
def test_what_names_nothing_is_refused_under_the_parameters_name(item: Any) -> None:
    with pytest.raises(ParameterError) as raised:
        item_path("/v1/files", "file", item)
    assert [problem.place for problem in raised.value.problems] == ["file"]
