"""The `anthropix` command, as a user types it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import anthropix_actors
from anthropix_actors import Client, OverloadedError, PermissionDeniedError, text_of
from anthropix_actors.emulator import Status

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import trustme

    from anthropix_actors.emulator import Emulator

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def anthropix(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-W", "error", "-m", "anthropix_actors.cli", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=6 * DEADLINE, check=False
    )


def test_the_demo_shows_everything_without_a_key() -> None:
    done = anthropix("demo")
    assert (done.stderr, done.returncode) == ("", 0)
    assert "No ANTHROPIC_API_KEY is set" in done.stdout
    assert "tell the others word by word" in done.stdout
    assert '[tool_use] {"city": "Bergen, Norway"' in done.stdout
    assert "[thinking] " in done.stdout
    assert re.search(r"-- 31 tokens in, 129 out; stop reason: end_turn; request req_", done.stdout)
    assert re.search(r"-- cancelled: \d+\.\d ms from cancel\(\)", done.stdout)
    assert done.stdout.splitlines()[-1].endswith("ANTHROPIC_API_KEY=sk-ant-... anthropix demo")


def test_the_demo_talks_to_the_api_with_a_key(anthropix_emulator: Emulator) -> None:
    done = anthropix(
        "demo", "--model", "my-model", ANTHROPIC_API_KEY="sk-ant-test", ANTHROPIC_BASE_URL=anthropix_emulator.url
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert f"Talking to {anthropix_emulator.url}." in done.stdout
    assert "This was a recording" not in done.stdout
    assert {request.body["model"] for request in anthropix_emulator.requests} == {"my-model"}


def test_the_demo_says_what_did_not_work(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(529, retry_after=0.001), Status(401, message="no such key"))
    done = anthropix("demo", ANTHROPIC_API_KEY="sk-ant-test", ANTHROPIC_BASE_URL=anthropix_emulator.url)
    assert done.returncode == 1
    assert "once more in 0.0 s" in done.stdout
    assert "It did not work: authentication_error: no such key (status 401" in done.stderr


@pytest.fixture
def served() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-W", "error", "-u", "-m", "anthropix_actors.cli", "emulator", "--port", "0"]
    running = subprocess.Popen(
        [*command, "--api-key", "mine", "--allow-host", "claude.test"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield running
    running.kill()
    running.communicate(timeout=DEADLINE)


def test_the_emulator_says_where_it_is_and_ends_with_ctrl_c(served: subprocess.Popen[str]) -> None:
    assert served.stdout is not None
    url = re.search(r"http://127\.0\.0\.1:\d+", served.stdout.readline())
    assert url is not None
    assert served.stdout.readline() == f"  export ANTHROPIC_BASE_URL={url[0]} ANTHROPIC_API_KEY=mine\n"
    with Client("mine", base_url=url[0]) as client:
        assert client.chat(**ASK)["stop_reason"] == "end_turn"
        assert client.chat(**ASK, extra_headers={"host": "claude.test"})["stop_reason"] == "end_turn"
        with pytest.raises(PermissionDeniedError, match="not a name of this emulator"):
            client.chat(**ASK, extra_headers={"host": "evil.example"})
    served.send_signal(signal.SIGINT)
    _, err = served.communicate(timeout=DEADLINE)
    assert (err, served.returncode) == ("", 0)


@contextlib.contextmanager
def client_of(*options: str, verify: Path | None = None) -> Generator[Client]:
    """Start an emulator, and make a client of it."""
    command = [sys.executable, "-P", "-W", "error", "-u", "-m", "anthropix_actors.cli", "emulator", "--port", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            url = re.search(r"http://127\.0\.0\.1:\d+|https://localhost:\d+", running.stdout.readline())
            assert url is not None
            with Client("any", base_url=url[0], max_retries=0, verify=verify) as client:
                yield client
        finally:
            running.kill()


def test_the_emulator_answers_at_a_models_pace_if_it_is_told_one() -> None:
    with client_of("--tokens-per-second", "0.5") as client, client.chat(**ASK, stream=True) as stream:
        assert next(iter(stream.text))
        assert stream.snapshot is not None
        assert stream.snapshot["stop_reason"] is None


def test_the_emulator_answers_with_a_text_or_with_as_many_words_as_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("Grüße!\n", "utf-8")
    with client_of("--answer", str(tmp_path / "answer.txt")) as client:
        assert text_of(client.chat(**ASK)) == "Grüße!\n"
        assert text_of(client.chat(**ASK)) == "Grüße!\n"
    with client_of("--words", "2000", "--tokens-per-second", "1000000") as client:
        assert len(text_of(client.chat(**ASK)).split()) == 2000


def test_the_emulator_refuses_chats_if_it_is_told_so() -> None:
    with client_of("--fail", "529") as client:
        for _ in range(2):
            with pytest.raises(OverloadedError):
                client.chat(**ASK)
        assert client.models.list()


def test_the_emulator_does_one_of_them() -> None:
    done = anthropix("emulator", "--port", "0", "--words", "5", "--fail", "529")
    assert (done.returncode, "give one of --answer, --words and --fail" in done.stderr) == (2, True)


def test_an_answer_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "answer.bin").write_bytes(b"\xff")
    done = anthropix("emulator", "--port", "0", "--answer", str(tmp_path / "answer.bin"))
    assert (done.returncode, "'utf-8' codec can't decode" in done.stderr) == (2, True)


def test_a_rule_that_is_none_is_told_before_anything_listens() -> None:
    done = anthropix("emulator", "--port", "0", "--without", "base64", "--without", "prefill")
    assert done.returncode == 2
    assert "no rule is called 'prefill'; did you mean 'prefill-" in done.stderr


def test_the_emulator_speaks_tls_if_it_is_given_a_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = ("--certfile", str(tmp_path / "cert.pem"), "--keyfile", str(tmp_path / "key.pem"))
    with client_of(*files, verify=tmp_path / "ca.pem") as client:
        assert client.chat(**ASK)["stop_reason"] == "end_turn"
    done = anthropix("emulator", "--port", "0", "--certfile", str(tmp_path / "cert.pem"))
    assert (done.returncode, "certfile: no key that can be used is in " in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_told(anthropix_emulator: Emulator) -> None:
    port = anthropix_emulator.url.rpartition(":")[2]
    done = anthropix("emulator", "--port", port)
    assert done.returncode == 1
    assert f"Error: cannot listen at 127.0.0.1, port {port}: Address already in use" in done.stderr


def test_the_endpoints_are_listed_in_columns() -> None:
    done = anthropix("endpoints")
    assert (done.stderr, done.returncode) == ("", 0)
    lines = done.stdout.splitlines()
    assert len(lines) == 286
    assert len({line.index("/v1/") for line in lines}) == 1
    rows = [line.split(maxsplit=2) for line in lines]
    assert ["POST", "/v1/messages", "json"] in rows
    assert ["GET", "/v1/messages/batches", "list (id)"] in rows
    assert ["GET", "/v1/organizations/spend_limits/{spend_limit_id}", "json           *"] in rows
    assert ["GET", "/v1/sessions/{session_id}/events/stream", "sse            managed-agents-2026-04-01"] in rows


@pytest.mark.parametrize(
    ("text", "count"), [("delete", 31), ("/batches", 6), ("Managed-Agents", 62), ("tunnels/{tunnel_id}/rotate", 1)]
)
def test_the_endpoints_are_filtered(text: str, count: int) -> None:
    assert len(anthropix("endpoints", text).stdout.splitlines()) == count


def test_the_endpoints_are_there_for_programs() -> None:
    first, *others = anthropix("endpoints", "spend_limits", "--json").stdout.splitlines()
    assert json.loads(first) == {
        "method": "GET",
        "path": "/v1/organizations/spend_limits",
        "name": "list",
        "page": "cursor",
        "answer": "json",
        "betas": ["spend-limit-reads-2026-09-26"],
        "beta_only": True,
    }
    assert [json.loads(line)["name"] for line in others] == ["set", "list", "retrieve", "delete"]


def test_an_endpoint_that_is_not_there_is_an_error() -> None:
    done = anthropix("endpoints", "nothing")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr == "Error: no endpoint has 'nothing' in its method, path or betas\n"


def test_the_version_and_the_help_are_there() -> None:
    assert anthropix("--version").stdout == f"anthropix, version {anthropix_actors.__version__}\n"
    listed = anthropix("-h").stdout
    assert "demo" in listed
    assert "emulator" in listed
    assert "endpoints" in listed


def test_the_advice_names_all_packages_of_the_extras() -> None:
    required = [
        requirement.partition(";")
        for requirement in importlib.metadata.requires("anthropix-actors") or ()
        if re.search(r"extra == .(cli|emulator).", requirement)
    ]
    names = sorted({re.split(r"[<>=!~ ]", name)[0] for name, _, _ in required})
    assert names == ["click", "python-multipart", "starlette", "uvicorn"]


@pytest.mark.parametrize(
    ("missing", "arguments", "advice"),
    [
        ("click", [], "needs click: pip install click python-multipart starlette uvicorn"),
        ("starlette", ["emulator"], "needs starlette: pip install python-multipart starlette uvicorn"),
    ],
)
def test_without_an_extra_the_command_says_how_to_get_it(missing: str, arguments: list[str], advice: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
sys.argv = ["anthropix", *{arguments!r}]
from anthropix_actors.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=6 * DEADLINE, check=False
    )
    assert done.returncode == 1
    assert advice in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dependency_that_is_missing_is_not_taken_for_an_extra() -> None:
    spoilt = "sys.modules['anthropix_actors.cli._demo'] = None"
    program = f"import sys; {spoilt}; from anthropix_actors.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=6 * DEADLINE, check=False
    )
    assert "ModuleNotFoundError" in done.stderr
    assert "pip install" not in done.stderr
