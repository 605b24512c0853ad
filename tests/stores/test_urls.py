from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from anthropix_actors import ConfigurationError, ParameterError, stores
from anthropix_actors.stores import MemoryStore, SQLiteStore, StoreError, open_store


def test_the_public_names_are_there_before_they_are_imported() -> None:
    assert {*stores.__all__} <= {*dir(stores)}


def test_a_url_names_a_store_in_memory() -> None:
    store = open_store("memory://", max_entry_bytes=10)
    assert isinstance(store, MemoryStore)
    assert store.max_entry_bytes == 10
    assert isinstance(open_store("memory:"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite://{}/logs.db", "logs.db"),
        ("sqlite:{}/logs.db", "logs.db"),
        ("SQLite:logs.db", "logs.db"),
        ("sqlite:./a%20b%3F%23.db", "a b?#.db"),
        ("sqlite::memory:", ":memory:"),
    ],
)
def test_a_url_names_a_file(url: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(url.format(tmp_path), timeout=1)
    assert isinstance(store, SQLiteStore)
    with closing(store):
        assert Path(store.path) == tmp_path / file
        assert (tmp_path / file).is_file()


@pytest.mark.parametrize(
    "url",
    ["sqlite:", "sqlite://", "sqlite://logs.db", "sqlite:a.db?mode=ro", "memory://a", "http://me:secret@a", "", 7],
)
def test_what_is_no_url_of_a_store_is_refused(url: Any) -> None:
    with pytest.raises(ParameterError, match=r"^url: expected ") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        open_store(f"sqlite:{tmp_path}/none/logs.db")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
def test_without_its_package_it_is_said_how_to_install_it(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("anthropix_actors.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install anthropix-actors\[redis\]") as caught:
        open_store(f"{scheme}://me:secret@127.0.0.1")
    assert "secret" not in str(caught.value)
