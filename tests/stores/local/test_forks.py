from __future__ import annotations

from anthropix_actors.stores.local.forks import Forks


class Store:
    def __init__(self) -> None:
        self.told: list[str] = []

    def before_fork(self) -> None:
        self.told.append("before")

    def after_fork_in_parent(self) -> None:
        self.told.append("parent")

    def after_fork_in_child(self) -> None:
        self.told.append("child")


def test_stores_are_told_of_forks_as_long_as_they_are_there() -> None:
    forks, store = Forks(), Store()
    forks.tell(Store())
    forks.tell(store)
    forks.before()
    forks.in_parent()
    forks.before()
    forks.in_child()
    assert store.told == ["before", "parent", "before", "child"]
    forks.before()
    forks.in_parent()
    assert store.told[4:] == ["before", "parent"]


def test_a_fork_that_was_half_done_when_it_began_is_let_be() -> None:
    """Another thread may fork while the module is imported: then only what comes after the fork is called."""
    forks, store = Forks(), Store()
    forks.tell(store)
    forks.in_parent()
    assert store.told == []
    forks.before()
    forks.in_parent()
    assert store.told == ["before", "parent"]
