"""The chat in the browser, among the examples, used as a person would: click, type, wait, load again, leave."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import requests

from anthropix_actors.emulator import ErrorEvent, Stall, Status

from browser import ENTER, Browser, browser
from programs import ended_by, line
from servers import DEADLINE, Server, pump, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Emulator

    from programs import Programs
    from servers import Peer

pytestmark = pytest.mark.untraced

PROGRAM = Path(__file__).parents[1] / "examples" / "web_chat.py"
WHOLE = "Red light passes, blue light goes astray."
BEGUN = "Red light"


class Site(NamedTuple):
    program: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].rstrip("/"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Browser]:
    """A browser with a tab for this test, and none of others."""
    blank = chromium.tab
    chromium.new_tab("about:blank")
    yield chromium
    for tab in chromium.tabs:
        if tab != blank:
            chromium.look_at(tab)
            chromium.close_tab()
    chromium.look_at(blank)


@pytest.fixture
def serve(anthropix_emulator: Emulator, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Site]:
    """Start the example, and get where it is."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)

    def serve(port: int = 0, grace: int = 20) -> Site:
        program = programs.run([sys.executable, "-W", "error", str(PROGRAM), str(port), str(grace)])
        return Site(program, line(program))

    return serve


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    return serve()


def begun() -> Stall:
    """An answer that stops after some words, until it is released."""
    return Stall(WHOLE, after_events=5)


def ask(visitor: Browser, question: str) -> None:
    visitor.type("#question", question + ENTER)


def test_several_turns_each_shown_as_it_is_written(site: Site, visitor: Browser, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(begun(), "You are welcome.")
    visitor.open(site.url)
    assert not visitor.sees("#stop")
    visitor.type("#question", "Why is the sky blue?")
    visitor.click("#send")
    visitor.wait_for(BEGUN, ".answer")
    assert visitor.text(".answer") != WHOLE
    assert visitor.text(".question") == "Why is the sky blue?"
    assert (visitor.sees("#stop"), visitor.sees("#send")) == (True, False)
    anthropix_emulator.release()
    visitor.wait_for(WHOLE, ".answer")
    until(lambda: visitor.sees("#send"))
    assert not visitor.sees("#stop")
    ask(visitor, "Thanks!")
    visitor.wait_for("You are welcome.", ".answer")
    assert visitor.text("#log").split("\n\n") == ["Why is the sky blue?", WHOLE, "Thanks!", "You are welcome."]
    assert [each["content"] for each in anthropix_emulator.requests[1].body["messages"]] == [
        "Why is the sky blue?",
        WHOLE,
        "Thanks!",
    ]


def test_stop_ends_the_answer_and_what_was_said_stays(
    site: Site, visitor: Browser, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(begun(), "Well.")
    visitor.open(site.url)
    ask(visitor, "Why?")
    visitor.wait_for(BEGUN, ".answer")
    visitor.click("#stop")
    visitor.wait_for("(stopped)", ".note")
    anthropix_emulator.wait_for_hangups(1)
    said = visitor.text(".answer")
    assert WHOLE.startswith(said.strip())
    until(lambda: visitor.sees("#send"))
    ask(visitor, "And?")
    visitor.wait_for("Well.", ".answer")
    assert [each["content"] for each in anthropix_emulator.requests[1].body["messages"]] == [
        "Why?",
        said.strip(),
        "And?",
    ]


def test_a_reload_in_mid_answer_shows_what_was_said_and_goes_on(
    site: Site, visitor: Browser, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue("Hello.", begun())
    visitor.open(site.url)
    ask(visitor, "Hi.")
    visitor.wait_for("Hello.", ".answer")
    ask(visitor, "Why?")
    visitor.wait_for(BEGUN, ".answer")
    shown, address = visitor.text("#log"), visitor.url
    visitor.open("about:blank")
    gone = time.monotonic()
    until(lambda: time.monotonic() > gone + 0.5)  # subscribers are asked ten times a second whether they are there
    visitor.open(address)
    visitor.wait_for(BEGUN, ".answer")
    visitor.reload()
    visitor.wait_for(BEGUN, ".answer")
    assert visitor.text("#log") == shown
    assert visitor.sees("#stop")
    anthropix_emulator.release()
    visitor.wait_for(WHOLE, ".answer")
    until(lambda: visitor.sees("#send"))
    visitor.reload()
    visitor.wait_for(WHOLE, ".answer")
    until(lambda: visitor.sees("#send"))
    assert visitor.text(".answer").split() == ["Hello.", *WHOLE.split()]
    assert len(anthropix_emulator.requests) == 2


def test_a_connection_that_is_lost_in_mid_answer_comes_back_by_itself(
    site: Site, visitor: Browser, anthropix_emulator: Emulator
) -> None:
    def relay(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", site.port)) as server:
            back = threading.Thread(target=pump, args=(server, peer.sock))
            back.start()
            pump(peer.sock, server)
            back.join(DEADLINE)

    anthropix_emulator.queue("Hello.", begun())
    with Server(relay) as network:
        visitor.open(f"{network.url}/")
        ask(visitor, "Hi.")
        visitor.wait_for("Hello.", ".answer")
        ask(visitor, "Why?")
        visitor.wait_for(BEGUN, ".answer")
        shown = visitor.text("#log")
        network.hang_up()
        visitor.wait_for("Connecting again", "#status")
        until(lambda: not visitor.text("#status"))
        visitor.wait_for(BEGUN, ".answer")
        assert visitor.text("#log") == shown
        anthropix_emulator.release()
        visitor.wait_for(WHOLE, ".answer")
        visitor.open("about:blank")
    assert len(anthropix_emulator.requests) == 2


def test_two_tabs_see_the_same(site: Site, visitor: Browser, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(begun(), begun())
    visitor.open(site.url)
    first = visitor.tab
    second = visitor.new_tab(visitor.url)
    ask(visitor, "Why?")
    visitor.wait_for(BEGUN, ".answer")
    visitor.look_at(first)
    visitor.wait_for(BEGUN, ".answer")
    anthropix_emulator.release()
    visitor.wait_for(WHOLE, ".answer")
    ask(visitor, "Once more?")
    for tab in (second, first):
        visitor.look_at(tab)
        until(lambda: visitor.text(".answer").count(BEGUN) == 2)
    again = requests.post(f"{visitor.url}ask", json={"question": "Me too?"}, timeout=DEADLINE)
    assert (again.status_code, again.json()["detail"]) == (409, "The last question is still being answered.")
    visitor.close_tab()
    visitor.look_at(second)
    visitor.click("#stop")
    visitor.wait_for("(stopped)", ".note")
    visitor.new_tab(visitor.url)
    visitor.wait_for("(stopped)", ".note")
    shown = visitor.text("#log")
    visitor.look_at(second)
    assert visitor.text("#log") == shown
    assert len(anthropix_emulator.requests) == 2


def test_errors_are_shown_and_the_conversation_goes_on(
    site: Site, visitor: Browser, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(
        Status(400, "That is too much."), ErrorEvent(WHOLE, "overloaded_error", after_events=5), "Better."
    )
    visitor.open(site.url)
    ask(visitor, "One?")
    visitor.wait_for("Error: That is too much.", ".note")
    until(lambda: visitor.sees("#send"))
    ask(visitor, "Two?")
    until(lambda: visitor.text("#log").count("Error: ") == 2)
    visitor.wait_for(BEGUN, ".answer")
    until(lambda: visitor.sees("#send"))
    ask(visitor, "Three?")
    visitor.wait_for("Better.", ".answer")
    said = [each["content"] for each in anthropix_emulator.requests[2].body["messages"]]
    assert (said[0], said[-1], len(said)) == ("Two?", "Three?", 3), "what was not answered at all is left out"


def test_markdown_is_shown_and_nothing_else_is_markup(
    site: Site, visitor: Browser, anthropix_emulator: Emulator
) -> None:
    hostile = "<img src=x onerror='document.title=1'>"
    lists = f"- one\n- {hostile}\n\n1. first"
    text = f"# Title\n**bold** and *slanted*, `x < **y**`\n\n{lists}\n\n```html\n{hostile}\n\n**\n```\n{hostile}"
    anthropix_emulator.queue(text)
    visitor.open(site.url)
    ask(visitor, hostile)
    until(lambda: visitor.text("#log").count(hostile) == 4)
    for selector, shown in {
        "h3": "Title",
        "b": "bold",
        "i": "slanted",
        "code": "x < **y**",
        "ul li": f"one\n{hostile}",
        "ol li": "first",
        "pre": f"{hostile}\n\n**",
        "img": "",
    }.items():
        assert visitor.text(f"#log {selector}").strip() == shown
    assert visitor.run("return document.title") == "Chat"


def test_whoever_leaves_for_good_stops_the_answer_after_a_while(
    serve: Callable[..., Site], visitor: Browser, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(begun())
    visitor.open(serve(grace=1).url)
    ask(visitor, "Why?")
    visitor.wait_for(BEGUN, ".answer")
    address = visitor.url
    visitor.open("about:blank")
    anthropix_emulator.wait_for_hangups(1)
    visitor.open(address)
    visitor.wait_for(BEGUN, ".answer")
    visitor.wait_for("(", ".note")
    until(lambda: visitor.sees("#send"))


def test_a_server_that_ends_says_so_to_all_and_its_conversations_are_gone(
    serve: Callable[..., Site], visitor: Browser, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(begun(), "Hello.")
    site = serve()
    visitor.open(site.url)
    ask(visitor, "Why?")
    visitor.wait_for(BEGUN, ".answer")
    _, errors = ended_by(site.program, signal.SIGTERM)
    assert errors == ""
    visitor.wait_for("(the client was closed)", ".note")
    visitor.wait_for("Connecting again", "#status")
    ask(visitor, "Are you there?")
    visitor.wait_for("cannot be reached", "#status")
    assert visitor.run("return document.querySelector('#question').value") == "Are you there?"
    serve(site.port)
    visitor.wait_for("This conversation is gone.", "#status")
    visitor.click("#status a")
    ask(visitor, "Hi.")
    visitor.wait_for("Hello.", ".answer")


def test_other_sites_have_no_say(site: Site) -> None:
    elsewhere = requests.get(site.url, headers={"Host": "evil.example"}, timeout=DEADLINE)
    assert elsewhere.status_code == 400
    room = requests.get(site.url, timeout=DEADLINE).url
    plain = {"Content-Type": "text/plain"}  # what a page of another site may send without being asked first
    form = requests.post(f"{room}ask", '{"question": "Why?"}', headers=plain, timeout=DEADLINE)
    assert form.status_code == 422
