"""URLs: one server, TLS, users, Sentinel, a Cluster; and that passwords stay where they are."""

from __future__ import annotations

import logging
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from redis import Redis

from anthropix_actors import ParameterError
from anthropix_actors.stores import Lost, StoreError
from anthropix_actors.stores.redis import RedisStore

from redis_servers import RedisServer, blocked, cluster_of_one, free_port, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "hush-hush"


def works(store: RedisStore) -> bool:
    """Write and read a little, and close."""
    store.append("a", store.claim("a"), 0, [{"n": 1}])
    found = store.read("a")[0].data == {"n": 1}
    store.delete("a")
    store.close()
    return found


def refused(call: Callable[[], object], kind: type[Exception] = StoreError) -> str:
    """Return all that an error shows, which has no password."""
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert SECRET not in str(error) + repr(error)
    cause = error.__cause__
    assert cause is None or (SECRET not in repr(vars(cause)) and cause.__traceback__ is None)
    return shown


@pytest.fixture(autouse=True)
def _no_password_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRET not in caplog.text


def test_users_and_passwords(redis: RedisServer) -> None:
    redis.run("CONFIG", "SET", "requirepass", SECRET)
    place = f"127.0.0.1:{redis.port}"
    store = RedisStore.from_url(f"redis://:{SECRET}@{place}/3")
    assert SECRET not in repr(store)
    assert repr(store) == "<RedisStore 'anthropix', 1 shards>"
    assert works(store)
    assert works(RedisStore.from_url(f"redis://{place}", username="default", password=SECRET))
    assert "it wants a password" in refused(lambda: RedisStore.from_url(f"redis://{place}"))
    wrong = refused(lambda: RedisStore.from_url(f"redis://:{SECRET}-not@{place}"))
    assert "user or password are wrong" in wrong
    assert works(RedisStore.from_url(f"redis://default:{SECRET}@{place}?db=2"))


def test_a_password_where_none_is_set_is_told_of(redis: RedisServer) -> None:
    said = refused(lambda: RedisStore.from_url(f"redis://:{SECRET}@127.0.0.1:{redis.port}"))
    assert "it has no password for this user" in said


def test_a_user_with_the_rights_of_the_documentation_may_do_everything(redis: RedisServer, documented: str) -> None:
    redis.run(*documented.replace("PASSWORD", SECRET).split())
    store = RedisStore.from_url(f"redis://anthropix:{SECRET}@127.0.0.1:{redis.port}")
    epoch = store.claim("a", "one")
    store.beat("one", 60)
    store.append("a", epoch, 0, [{"n": 1}])
    [entry] = store.read("a")
    assert store.read_many({"a": entry.cursor}, wait=0.01) == {}
    assert store.post("p", {}, key="x")
    assert store.names() == ["a", "p"]
    store.expire("a", 60)
    store.expire("a", None)
    assert store.state("a") is not None
    store.append("a", epoch, 1, [], close=True)
    for number in range(3):
        store.put("q", str(number), {})
    assert len(store.take("q", "one", 2, wait=1)) == 2
    assert store.take("other", "one", 1, wait=0.01) == []
    assert store.job("q", "0") is not None
    assert store.finish("q", "one", "0")
    assert store.give_back("q", "one", "1")
    assert store.remove("q", "2")
    assert store.queue_state("q").waiting == 1
    store.beat("one", 0)
    store.delete("a")
    store.close()
    with Redis(port=redis.port, username="anthropix", password=SECRET) as client:
        for command in (("GET", "other:key"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
            with pytest.raises(Exception, match=r"permission"):
                client.execute_command(*command)


def test_a_user_who_may_not_is_told_so(redis: RedisServer) -> None:
    redis.run("ACL", "SETUSER", "weak", "on", f">{SECRET}", "~anthropix:*", "+@all", "-xadd")
    store = RedisStore.from_url(f"redis://weak:{SECRET}@127.0.0.1:{redis.port}")
    epoch = store.claim("a")
    assert "this user may not do that" in refused(lambda: store.append("a", epoch, 0, [{}]))
    store.close()


@pytest.fixture
def documented() -> str:
    """The command that makes a user, as the documentation has it."""
    page = (Path(__file__).parents[3] / "docs" / "redis.md").read_text("utf-8")
    (command,) = re.findall(r"^ACL SETUSER [^`]*", page, re.MULTILINE)
    return str(command)


# TLS


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The port of a server that speaks TLS, and the file with its authority."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = str(free_port())
    files = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"]
    files = [part if part.startswith("--") else str(tmp_path / part) for part in files]
    with RedisServer("--tls-port", port, *files, "--tls-auth-clients", "no"):
        yield port, str(tmp_path / "ca.pem")


def test_tls(certified: tuple[str, str]) -> None:
    port, authority = certified
    assert works(RedisStore.from_url(f"rediss://localhost:{port}", ssl_ca_certs=authority))
    assert works(RedisStore.from_url(f"rediss://localhost:{port}?ssl_ca_certs={authority}"))
    store = RedisStore.from_url(f"rediss://localhost:{port}", ssl_ca_certs=authority)
    store.claim("b")
    reader, found = started(lambda: store.read("b", wait=DEADLINE))
    store.append("b", 1, 0, [{"n": 1}])
    reader.join(DEADLINE)
    assert found[0][0].data == {"n": 1}
    store.close()


def test_a_certificate_that_is_not_trusted_is_refused_at_once(certified: tuple[str, str]) -> None:
    said = refused(lambda: RedisStore.from_url(f"rediss://localhost:{certified[0]}", patience=600))
    assert "its certificate is not one of ssl_ca_certs" in said


def test_one_who_speaks_tls_with_who_does_not_is_told_so(redis: RedisServer) -> None:
    said = refused(lambda: RedisStore.from_url(f"rediss://127.0.0.1:{redis.port}", patience=0, timeout=0.2))
    assert "Redis: " in said


# Sentinel


def test_a_primary_is_found_by_way_of_sentinels(redis: RedisServer) -> None:
    redis.run("CONFIG", "SET", "requirepass", SECRET)
    with RedisServer(mode="--sentinel", tcp=True) as sentinel:
        sentinel.run("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", redis.port, 1)
        sentinel.run("SENTINEL", "SET", "mymaster", "auth-pass", SECRET)
        places = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
        url = f"redis+sentinel://:{SECRET}@{places}/mymaster/1"
        store = RedisStore.from_url(url)
        assert SECRET not in repr(store)
        store.claim("b")
        reader, found = started(lambda: store.read("b", wait=DEADLINE))
        store.append("b", 1, 0, [{"n": 1}])
        reader.join(DEADLINE)
        assert found[0][0].data == {"n": 1}
        assert works(store)
        with Redis(port=redis.port, password=SECRET, db=1) as client:
            assert client.exists("anthropix:{s00}:log:b")
        said = refused(lambda: RedisStore.from_url(url.replace("mymaster", "another"), patience=0))
        assert "No master found for 'another'" in said


# A Cluster


@pytest.fixture
def cluster() -> Iterator[RedisServer]:
    with cluster_of_one() as node:
        yield node


def test_a_cluster_keeps_logs_in_many_places(cluster: RedisServer) -> None:
    store = RedisStore.from_url(f"redis+cluster://127.0.0.1:{cluster.port}", patience=DEADLINE)
    assert repr(store) == "<RedisStore 'anthropix', 16 shards>"
    names = [f"log-{number}" for number in range(40)]
    for name in names:
        store.append(name, store.claim(name), 0, [{"name": name}])
    assert len({store._keys.shard(name) for name in names}) > 8
    found = store.read_many(dict.fromkeys(names))
    cursors: dict[str, str | None] = {name: entries[-1].cursor for name, entries in found.items()}  # type: ignore[index]
    assert {*cursors} == {*names}
    assert store.names() == sorted(names)
    for name in names[:3]:
        reader, read = started(lambda: store.read_many(cursors, wait=DEADLINE))
        until(lambda: blocked(cluster) > 8)
        store.append(name, 1, 1, [{"n": 1}])
        reader.join(DEADLINE)
        assert [*read[0]] == [name]
        cursors[name] = read[0][name][-1].cursor
    store.beat("one", 60)
    store.put("q", "a", {})
    assert [job.id for job in store.take("q", "one", 1, wait=DEADLINE)] == ["a"]
    store.delete(names[0])
    assert isinstance(store.read_many(cursors)[names[0]], Lost)
    reader, read = started(lambda: store.read_many({name: cursors[name] for name in names[1:]}, wait=DEADLINE))
    until(lambda: blocked(cluster) > 8)
    store.close()
    reader.join(DEADLINE)
    assert read == [{}]


def test_a_cluster_that_comes_back_is_used_again(cluster: RedisServer) -> None:
    store = RedisStore.from_url(f"redis+cluster://127.0.0.1:{cluster.port}", patience=DEADLINE)
    store.claim("a")
    cluster.restart()
    assert store.state("a") is None
    assert works(store)


def test_a_cluster_that_is_away_is_told_of() -> None:
    said = refused(lambda: RedisStore.from_url(f"redis+cluster://:{SECRET}@127.0.0.1:{free_port()}", patience=0))
    assert "Redis: " in said


# What is no address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:6379",
        f"redis:/user:{SECRET}@one:6379/0",
        f"redis:user:{SECRET}@one",
        f"rediss:/:{SECRET}@one",
        SECRET,
        f"redis+sentinel://:{SECRET}@one:26379",
        f"redis+sentinel://:{SECRET}@one:{SECRET}/mymaster",
        "redis+sentinel://one/mymaster/x",
        f"redis+cluster://:{SECRET}@",
        f"redis+cluster://:{SECRET}@one:x",
        f"redis://user:{SECRET}/{SECRET}@one:6379",
        None,
    ],
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    assert "url: expected" in refused(lambda: RedisStore.from_url(url), ParameterError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefix", ""),
        ("prefix", "a{b}"),
        ("prefix", 7),
        ("shards", 0),
        ("shards", True),
        ("shards", 1000),
        ("patience", -1),
        ("timeout", "x"),
        ("eviction", "hope"),
        ("no_option_of_redis", 1),
    ],
)
def test_options_are_checked(redis: RedisServer, name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match="no_option" if name.startswith("no") else name):
        RedisStore.from_url(redis.tcp_url, **{name: value})


def test_a_client_may_be_the_callers(redis: RedisServer) -> None:
    store = RedisStore(lambda: Redis(unix_socket_path=str(redis.path)))
    store.claim("b")
    reader, found = started(lambda: store.read("b", wait=DEADLINE))
    until(lambda: blocked(redis))
    store.append("b", 1, 0, [{"n": 1}])
    reader.join(DEADLINE)
    assert found[0][0].data == {"n": 1}
    assert works(store)
