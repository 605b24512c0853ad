"""Servers of the Model Context Protocol, started, used and lost: real ones, and one that does what no library would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tool_servers import of, over_http, raw, real, use

from anthropix_actors import CancelToken, Mcp, McpError, ParameterError, run_tools
from anthropix_actors.tools import Toolbox
from anthropix_actors.tools.mcp import connection, server

from actors import no_thread_for
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Where a connection is closed as its server starts, asyncio warns of its own transports, whenever they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def start() -> Iterator[Callable[..., Mcp]]:
    """Make raw servers; they are closed at the end."""
    made: list[Mcp] = []

    def make(*how: str, **options: Any) -> Mcp:
        made.append(raw(*how, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def results(message: dict[str, Any]) -> list[Any]:
    """Return what the model is told of each call."""
    return [each.get("content", "") for each in message["content"]]


def result(tools: Any, name: str, **given: Any) -> Any:
    """Run one call; return its result."""
    (content,) = results(run_tools(of(use(name, **given)), tools if isinstance(tools, Toolbox) else [tools]))
    return content


def is_running(pid: int) -> bool:
    """Return whether a process lives."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# A real server


def grows(tool: Any) -> bool:
    return str(tool.name) == "w_grow"


def test_a_real_server_is_used_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    told: list[Any] = []
    file = tmp_path / "cancelled"
    with real(tmp_path, env={"WEATHER": "rain"}, prefix="w_", approve=grows) as weather:
        box = Toolbox([weather])
        found = {each["name"]: box.get(each["name"]) for each in box.wire}
        assert list(found) == ["w_weather", "w_wait", "w_environment", "w_grow", "w_ask"]
        assert box.wire[0]["description"] == "Tell the weather."
        assert box.wire[0]["input_schema"]["properties"] == {"city": {"title": "City", "type": "string"}}
        assert [each.safe for each in found.values() if each] == [True, False, False, False, False]
        assert [each.approve for each in found.values() if each] == [False, False, False, True, False]
        assert '"degrees": 6' in result(box_of(weather, "w_weather"), "w_weather", city="Bergen")
        assert "validation error" in result(box_of(weather, "w_weather"), "w_weather")
        names = str(result(box_of(weather, "w_environment"), "w_environment"))
        assert "WEATHER" in names
        assert "ANTHROPIC" not in names
        assert "roots" in result(box_of(weather, "w_ask"), "w_ask").lower()
        token = CancelToken()
        answer = run_tools(
            of(use("w_wait", file=str(file))),
            box_of(weather, "w_wait"),
            cancel=token,
            on_progress=lambda _, data: told.append(data) or token.cancel("seen enough"),  # type: ignore[func-returns-value]
        )
        assert results(answer) == ["cancelled (seen enough); it may have taken effect"]
        assert told == [{"progress": 1.0, "total": 2.0, "message": "waiting"}]
        until(file.exists)  # the server has heard of it
        before = box.renewed()
        assert before is box
        assert result(box_of(weather, "w_grow", approve=False), "w_grow") == "done"
        until(lambda: box.renewed().knows("w_grown"))
        assert not box.knows("w_grown")
    assert not weather.is_open


def box_of(server: Mcp, name: str, **options: Any) -> Toolbox:
    """Return a box with one tool of a server, which needs no approval."""
    (tool,) = (each for each in server.tools() if each.name == name)
    vars(tool).update(options)
    return Toolbox([tool])


def test_a_real_server_over_http_is_used_and_lost_and_found(tmp_path: Path) -> None:
    with over_http(tmp_path) as (url, running):
        weather = Mcp.http(url, headers={"x-who": "test"}, auth="secret", only=["weather", "grow"])
        assert repr(weather) == f"<Mcp {url}, closed>"
        with weather:
            assert '"degrees": 4' in result(weather, "weather", city="Oslo")
            box = Toolbox([weather])
            assert [each["name"] for each in box.wire] == ["weather", "grow"]
            running.kill()
            running.wait(DEADLINE)
            lost = str(result(box, "weather", city="Oslo"))
            assert lost
            assert str(result(box, "weather", city="Oslo")).startswith(f"not started: {url} cannot be used: ")


def test_tools_that_change_are_heard_of_over_http(tmp_path: Path) -> None:
    with over_http(tmp_path) as (url, _), Mcp.http(url) as weather:
        box = Toolbox([weather])
        assert result(box, "grow") == "done"
        until(lambda: box.renewed().knows("grown"))


# One that does what no library would


def test_one_connection_is_shared_and_started_when_it_is_used(start: Callable[..., Mcp]) -> None:
    echo = start()
    assert not echo.is_open
    assert echo.offered() is None
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(result(echo, "echo"))) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(DEADLINE)
    assert answers == ["echo"] * 5
    assert len(echo._starts) == 1
    echo.close()
    assert "closed" in result(Toolbox(echo.offered() or ()), "echo")
    assert result(echo, "echo") == "echo"


@pytest.mark.parametrize("what", ["die", "leave"])
def test_a_server_that_dies_costs_the_calls_that_run_and_is_started_again(start: Callable[..., Mcp], what: str) -> None:
    box = Toolbox([start()])
    ended = result(box, "do", what=what)
    assert ended == f"stdio {sys.executable} ended the connection before it answered; the call may have taken effect"
    assert result(box, "echo") == "echo"


def test_a_server_that_dies_again_and_again_is_left_alone(start: Callable[..., Mcp]) -> None:
    box = Toolbox([start()])
    for _ in range(server.MOST_STARTS):
        assert "ended the connection" in result(box, "do", what="die")
    message = run_tools(of(use("echo")), box)
    assert results(message)[0].startswith("not started: ")
    assert "was started 5 times within 60 s" in results(message)[0]


@pytest.mark.parametrize("what", ["garbage", "noise"])
def test_garbage_and_noise_harm_nobody(
    start: Callable[..., Mcp], what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "mcp")
    box = Toolbox([start(stderr=tmp_path / "errors")])
    assert result(box, "do", what=what) == what
    assert (tmp_path / "errors").stat().st_size == (10_000_000 if what == "noise" else 0)


def test_an_error_of_the_server_is_told_to_the_model(start: Callable[..., Mcp]) -> None:
    message = run_tools(of(use("do", what="error")), [start()])
    assert message["content"][0]["content"] == "no such thing"
    assert message["content"][0]["is_error"]


def test_a_server_that_hangs_costs_its_own_calls_and_is_started_again(start: Callable[..., Mcp]) -> None:
    echo = start(timeout=0.5)
    box = Toolbox([echo, start(prefix="other_")])
    both = run_tools(of(use("do", "toolu_1", what="hang"), use("other_echo", "toolu_2")), box)
    assert results(both) == ["timed out after 0.5 s; it may have taken effect", "echo"]
    until(lambda: echo._connection is None or echo._connection.lost)
    vars(box.get("echo"))["timeout"] = 30.0
    assert result(box, "echo") == "echo"


def test_a_call_that_times_out_is_cancelled_at_a_server_that_talks(start: Callable[..., Mcp], tmp_path: Path) -> None:
    file = tmp_path / "cancelled"
    echo = start(str(file), timeout=0.5)
    box = Toolbox([echo])
    two = run_tools(of(use("do", "toolu_1", what="deaf"), use("echo", "toolu_2")), box)
    assert results(two) == ["timed out after 0.5 s; it may have taken effect", "echo"]
    until(file.exists)
    assert echo._connection is not None
    assert not echo._connection.lost


@pytest.mark.parametrize(
    ("how", "words"),
    [("slow", "was not ready within 0.3 s"), ("dies", "Connection closed"), ("endless", "more than 100 pages")],
)
def test_a_server_that_does_not_start_is_an_error(start: Callable[..., Mcp], how: str, words: str) -> None:
    broken = start(how, start_timeout=0.3 if how == "slow" else 30.0)
    with pytest.raises(McpError, match=words) as caught:
        broken.open()
    assert str(caught.value).startswith(f"stdio {sys.executable} cannot be used: ")
    assert not broken.offered()


def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(McpError, match="there is no command 'no-such-server'"):
        Toolbox([Mcp.stdio("no-such-server")])


def test_a_url_where_no_server_is_is_an_error() -> None:
    with pytest.raises(McpError, match=r"http://127\.0\.0\.1:9/mcp cannot be used: ConnectError"):
        Mcp.http("http://127.0.0.1:9/mcp").open()


def test_a_cancel_waits_for_no_start(start: Callable[..., Mcp]) -> None:
    slow = start("slow")
    (tool,) = start().tools()[:1]
    slow._is_open = True

    def call_slow(input: Any, call: Any) -> Any:  # noqa: A002 - as a server's tool has it
        return slow._run("echo", input, call)

    vars(tool)["function"] = call_slow
    token = CancelToken()
    threading.Timer(0.2, token.cancel).start()
    assert results(run_tools(of(use("echo")), [tool], cancel=token)) == [
        "cancelled (cancelled); it may have taken effect"
    ]


def test_a_connection_that_was_closed_takes_no_call(start: Callable[..., Mcp]) -> None:
    echo = start().open()
    found = echo._connection
    assert found is not None
    echo.close()
    portal = found._portal
    assert portal is not None
    until(lambda: portal._event_loop_thread_id is None)
    for found.lost in (True, False):  # the loop has ended, too
        with pytest.raises(McpError, match="the connection was closed"):
            found.call("echo", {}, print)


def test_a_connection_that_is_closed_before_it_starts_is_over_at_once() -> None:
    place = raw()._place
    early = connection.Connection("raw", connection.transport_of(place), 30.0, print)
    early.close()
    early.start()
    with pytest.raises(McpError, match="raw cannot be used: it was closed"):
        early.ready.result(DEADLINE)
    wait(early.ended)


def test_where_no_thread_can_be_started_nothing_waits(
    start: Callable[..., Mcp], monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = start()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for("anthropix-mcp"))
        with pytest.raises(McpError, match="can't start new thread"):
            echo.open()
    assert result(echo, "echo") == "echo"


def test_an_interrupt_while_it_starts_comes_out(start: Callable[..., Mcp], monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "anthropix-mcp":
            raise KeyboardInterrupt
        begin(thread)

    echo = start()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            echo.open()
    assert result(echo, "echo") == "echo"


@pytest.mark.parametrize("how", ["refuses", "drops"])
def test_a_server_may_tell_changes_as_badly_as_it_likes(start: Callable[..., Mcp], how: str) -> None:
    box = Toolbox([start("modern", how)])
    assert result(box, "do", what="grow") == "grow"
    if how == "drops":
        until(lambda: box.renewed().knows("grown"))
        until(lambda: int(result(box, "do", what="lists")) > 4)
    assert result(box, "echo") == "echo"


def test_the_process_tree_is_gone_with_close(start: Callable[..., Mcp]) -> None:
    echo = start("stubborn")
    child = int(result(echo, "do", what="child"))
    assert is_running(child)
    echo.close(DEADLINE)
    until(lambda: not is_running(child))


@pytest.mark.parametrize("how", ["exit", "kill", "fork"])
def test_the_process_tree_is_gone_however_the_program_ends(how: str) -> None:
    program = textwrap.dedent(f"""
        import os, sys, time
        sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
        from tool_servers import of, raw, use
        from anthropix_actors import run_tools
        child = run_tools(of(use("do", what="child")), [raw("stubborn")])["content"][0]["content"]
        holder = os.fork() if {how!r} == "fork" else 1
        if not holder:  # it holds the pipe to the server
            os.close(1)
            time.sleep(600)
        print(child, holder, flush=True)
        if {how!r} != "exit":
            time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        child, holder = map(int, running.stdout.readline().split())
        if how != "exit":
            running.kill()
        until(lambda: not is_running(child))
        if how == "fork":
            os.kill(holder, signal.SIGKILL)


def test_a_forked_child_starts_one_of_its_own() -> None:
    program = textwrap.dedent(f"""
        import os, sys
        sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
        from tool_servers import of, raw, use
        from anthropix_actors import run_tools
        from anthropix_actors.tools import Toolbox
        echo = raw()
        box = Toolbox([echo])
        if not (pid := os.fork()):
            print(run_tools(of(use("echo")), box)["content"], flush=True)
            echo.close()
            sys.exit()
        os.waitpid(pid, 0)
        print(run_tools(of(use("echo")), box)["content"], flush=True)
        echo.close()
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("'content': 'echo'") == 2


# What is wrong


def test_what_cannot_be_a_server_is_said_with_each_place() -> None:
    wrong: Any = 1
    none: Any = None
    with pytest.raises(ParameterError) as caught:
        Mcp.stdio("", wrong, env=wrong, cwd=wrong, stderr=wrong, prefix=wrong, only="a", timeout=0, approve=wrong, x=1)  # type: ignore[call-arg]
    places = [each.place for each in caught.value.problems]
    assert places == ["command", "args", "env", "cwd", "stderr", "x", "prefix", "only", "timeout", "approve"]
    with pytest.raises(ParameterError) as caught:
        Mcp.http("ftp://a", headers={"a": wrong}, start_timeout=none)
    assert [each.place for each in caught.value.problems] == ["url", "headers", "start_timeout"]
    with pytest.raises(ParameterError, match="url"):
        Mcp.http("http://[")


def test_no_secret_is_shown() -> None:
    servers = [
        Mcp.stdio("server", "--token=secret", env={"TOKEN": "secret"}),
        Mcp.http("https://user:secret@example.org/mcp?key=secret", headers={"a": "secret"}, auth="secret"),
    ]
    assert [*map(repr, servers)] == ["<Mcp stdio server, closed>", "<Mcp https://example.org/mcp, closed>"]


def test_names_that_clash_are_an_error(start: Callable[..., Mcp]) -> None:
    def echo(text: str) -> str:
        return text

    with pytest.raises(ParameterError, match=r"tools\[1\]: expected a name of its own; tools\[0\] is 'echo', too"):
        Toolbox([echo, start()])
    assert Toolbox([echo, start(prefix="raw_")]).knows("raw_echo")
    with pytest.raises(ParameterError, match="expected names of its tools, echo, do; got nothing"):
        Toolbox([start(only=["nothing"])])


def test_a_change_that_cannot_be_is_logged_and_the_tools_before_are_kept(
    start: Callable[..., Mcp], caplog: pytest.LogCaptureFixture
) -> None:
    echo = start("twice")
    box = Toolbox([echo])
    assert result(box, "do", what="grow") == "grow"
    until(lambda: "those before are kept" in caplog.text)
    assert box.renewed() is box


@pytest.mark.parametrize("how", ["busy", "mute"])
def test_a_list_that_cannot_be_had_is_asked_for_again_when_it_changes_again(
    start: Callable[..., Mcp], how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK", 1.0)
    box = Toolbox([start(how)])
    assert result(box, "do", what="grow") == "grow"
    until(lambda: "does not list its tools again" in caplog.text)
    monkeypatch.undo()
    assert result(box, "do", what="grow") == "grow"
    until(lambda: "two tools of this name" in caplog.text)


def test_what_does_not_fit_the_server_s_own_schema_is_told_and_holds_up_nobody(start: Callable[..., Mcp]) -> None:
    lies, other = start("lies"), start()
    assert result(lies, "do", what="echo") == "echo"
    assert "!" in result(lies, "do", what="lie")
    assert result(other, "echo") == "echo"


def test_a_program_without_the_package_is_told() -> None:
    program = "import sys; sys.modules['mcp'] = None; from anthropix_actors import Mcp; Mcp.stdio('x').open()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert 'pip install "anthropix-actors[mcp]"' in done.stderr
