"""Fork and multiprocessing: a child has chats of its own, and leaves its parent's alone."""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from actors import ASK
from servers import (
    DEADLINE,
    Peer,
    Server,
    answer,
    answering,
    chunks,
    error_body,
    head,
    json_answer,
    send_answer,
    wait,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from programs import Programs


FORKING = """
import random, queue, warnings
warnings.simplefilter("ignore")  # Python warns of any fork while threads run

class Inbox(queue.SimpleQueue):
    tell = queue.SimpleQueue.put

def child(work):
    if (pid := os.fork()) == 0:
        work()
        sys.exit(7)
    return pid

def text(message):
    return message["content"][0]["text"]
"""


@pytest.mark.parametrize("seed", range(2))
def test_forks_at_any_moment_disturb_none_of_many_chats(begin: Callable[..., subprocess.Popen[str]], seed: int) -> None:
    """Each chat's answer comes in five rounds; in each of them a child is forked, after any number of its events."""
    rounds, pieces, chats = 5, 10, 20
    forked = [threading.Event() for _ in range(rounds)]
    children = []

    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"child" in peer.body:
                send_answer(peer, "for a child")
                children.append(peer.number)
                forked[(len(children) - 1) // 2].set()  # it has two clients
                continue
            events = answer(*[f"{n} " for n in range(rounds * pieces)])
            peer.send(head(), chunks(events[:2]))
            for number, gate in enumerate(forked):
                peer.send(chunks(events[2 + number * pieces : 2 + (number + 1) * pieces]))
                wait(gate)
            peer.send(chunks(events[2 + rounds * pieces :]), b"0\r\n\r\n")

    with Server(script) as server:
        running = begin(
            server.url,
            FORKING
            + f"""
dice = random.Random({seed})
inbox = Inbox()
chats = [client.chat(**ask("parent's"), stream=inbox) for _ in range({chats})]

def work():
    for chat in chats:
        try:
            chat.result(5)
            os._exit(1)
        except CancelledError as error:
            assert "forked" in error.reason, error
    with Client("k", base_url=url, proxy="") as new:
        assert text(client.chat(**ask("child"))) == text(new.chat(**ask("child"))) == "for a child"

heard = []
def hear(count):
    for _ in range(count):
        heard.append(inbox.get(timeout=20))

children = []
for number in range({rounds}):
    first = dice.randrange(1, {chats * pieces})
    hear(first)
    children.append(child(work))
    hear({chats * pieces} - first)
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [7] * {rounds}
answers = [chat.result(20) for chat in chats]
while sum(isinstance(each, ChatDone) for each in heard) < {chats}:
    hear(1)
for chat, answer in zip(chats, answers):
    told = [each for each in heard if each.chat is chat]
    assert isinstance(told[-1], ChatDone)
    deltas = [each.data["delta"]["text"] for each in told[:-1] if each.data["type"] == "content_block_delta"]
    assert deltas == [f"{{n}} " for n in range({rounds * pieces})]
    assert "".join(deltas) == text(answer)
print("whole:", len(answers))
""",
        )
        out, err = running.communicate(timeout=3 * DEADLINE)
    assert (out, err, running.returncode) == (f"whole: {chats}\n", "", 0)


def test_a_child_can_chat_though_another_thread_was_starting_a_chat_when_it_was_forked(
    begin: Callable[..., subprocess.Popen[str]],
) -> None:
    """A handler of the log holds that thread up in the middle of it."""
    with Server(answering("Hi")) as server:
        running = begin(
            server.url,
            FORKING
            + """
import logging
inside, go_on = threading.Event(), threading.Event()

class Holding(logging.Handler):
    def handle(self, record):  # without the lock of a handler, which Python looks after
        if os.getpid() == parent and "Starting ChatActor" in record.getMessage():
            inside.set()
            go_on.wait(20)

parent = os.getpid()
logging.getLogger("pykka").addHandler(Holding())
logging.getLogger("pykka").setLevel("DEBUG")
other = threading.Thread(target=lambda: client.chat(**ask()))
other.start()
inside.wait(20)

def work():
    print(text(client.chat(**ask())), flush=True)
    client.close()

pid = child(work)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
go_on.set()
other.join()
""",
        )
        out, err = running.communicate(timeout=2 * DEADLINE)
    assert (out, err, running.returncode) == ("Hi\n7\n", "", 0)


@pytest.mark.parametrize("kind", ["to_queue", "to_function"])
def test_a_child_uses_a_subscriber_that_was_full_as_it_was_forked(
    begin: Callable[..., subprocess.Popen[str]], kind: str
) -> None:
    with Server(answering(*map(str, range(600)))) as server:
        running = begin(
            server.url,
            FORKING
            + f"""
from anthropix_actors import ChatDone
from anthropix_actors.subscribers import to_function, to_queue

class Executor:  # whose threads run in the child, too
    held = threading.Event()
    def submit(self, run):
        from concurrent.futures import Future
        future = Future()
        def work():
            while os.getpid() == parent and not self.held.wait(20):
                pass
            run()
            future.set_result(None)
        threading.Thread(target=work, daemon=True).start()
        return future

parent, inbox = os.getpid(), queue.Queue(4)
subscriber = to_queue(inbox) if "{kind}" == "to_queue" else to_function(inbox.put, Executor())

def chat():
    texts = 0
    client.chat(**ask(), stream=subscriber)
    while not isinstance(message := inbox.get(timeout=20), ChatDone):
        texts += message.data["type"] == "content_block_delta"
    return texts

first = client.chat(**ask(), stream=subscriber)
while not subscriber.window._waiting:
    first.actor_stopped.wait(0.01)

def work():
    while not inbox.empty():
        inbox.get_nowait()
    print(chat(), flush=True)
    client.close()

pid = child(work)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
""",
        )
        out, err = running.communicate(timeout=2 * DEADLINE)
    assert (out, err, running.returncode) == ("600\n7\n", "", 0)


MISTAKEN = """
def use():
    try:
        client.chat(modell="m", messages=[])
    except Exception as exc:
        return "did you mean model?" in str(exc)
"""


@pytest.mark.parametrize(
    ("module", "use", "used"),
    [("multipart.py", "use = lambda: type(client.files).__name__\n", "Files"), ("difflib.py", MISTAKEN, "True")],
)
def test_a_child_can_use_what_another_thread_was_importing_when_it_was_forked(
    begin: Callable[..., subprocess.Popen[str]], module: str, use: str, used: str
) -> None:
    """The other thread is held up in the middle of its first use, up to the moment of the fork."""
    program = """
inside, go_on = threading.Event(), threading.Event()

def hold(frame, *_):
    if frame.f_code.co_filename.endswith(module):
        inside.set()
        go_on.wait(20)

sys.setswitchinterval(1)  # the fork is at once, unless it waits
threading.settrace(hold)
other = threading.Thread(target=use)
other.start()
inside.wait(20)
os.register_at_fork(before=go_on.set)

def work():
    print(use(), flush=True)

pid = child(work)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
other.join()
"""
    with Server(answering("Hi")) as server:
        whole = f"{FORKING}\nmodule = {module!r}\n{use}{program}"
        out, err = begin(server.url, whole).communicate(timeout=2 * DEADLINE)
    assert (out, err) == (f"{used}\n7\n", "")


@pytest.mark.parametrize(
    ("part", "use"),
    [
        ("model_limits", "client.chat(**ask)['content'][0]['text']"),
        ("growth", "''.join(client.chat(**ask, stream=True).text)"),
        ("window", "client.chat(**ask, stream=Inbox()).result()['content'][0]['text']"),
    ],
)
def test_a_child_can_chat_though_another_thread_was_importing_what_that_needs(
    programs: Programs, part: str, use: str
) -> None:
    program = f"""
import os, queue, sys, threading, warnings
from anthropix_actors import Client
warnings.simplefilter("ignore")  # Python warns of any fork while threads run
client, ask = Client("k", base_url=sys.argv[1], proxy=""), {ASK!r}
inside, go_on = threading.Event(), threading.Event()

class Inbox(queue.SimpleQueue):
    tell = queue.SimpleQueue.put

def use():
    return {use}

def hold(frame, *_):
    if frame.f_code.co_filename.endswith("{part}.py") and frame.f_code.co_name == "<module>":
        inside.set()
        go_on.wait(20)

sys.setswitchinterval(1)  # the fork is at once, unless it waits
threading.settrace(hold)
other = threading.Thread(target=use)
other.start()
assert inside.wait(20)
os.register_at_fork(before=go_on.set)
if (pid := os.fork()) == 0:
    print(use(), flush=True)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
other.join()
"""
    with Server(answering("Hi")) as server:
        out, err = programs.run([sys.executable, "-P", "-c", program, server.url]).communicate(timeout=2 * DEADLINE)
    assert (out, err) == ("Hi\n7\n", "")


def test_a_child_can_import_what_it_needs_though_a_thread_was_importing_before_there_was_a_client(
    programs: Programs,
) -> None:
    """Forks wait for no import then; but what the thread held does not keep the child from other modules."""
    program = """
import os, sys, threading
import anthropix_actors
inside, go_on = threading.Event(), threading.Event()

def hold(frame, *_):
    if frame.f_code.co_filename.endswith("ledger.py"):
        inside.set()
        go_on.wait(20)

threading.settrace(hold)
other = threading.Thread(target=lambda: anthropix_actors.Ledger)
other.start()
inside.wait(20)
if (pid := os.fork()) == 0:
    print(anthropix_actors.Usage.__name__, flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
go_on.set()
other.join()
"""
    out, _ = programs.run([sys.executable, "-P", "-c", program]).communicate(timeout=2 * DEADLINE)
    assert out == "Usage\n7\n"


POOL = """
import dataclasses, json, multiprocessing, sys, warnings
from anthropix_actors import *

warnings.simplefilter("ignore")  # Python warns of any fork while threads run
inherited = Client("k", base_url=sys.argv[2], proxy="", max_retries=0)

def chat(text):
    message = inherited.chat(model="m", messages=[{"role": "user", "content": text}])
    return message["content"][0]["text"], message

def attributes(error):
    names = ("status", "type", "request_id", "attempts", "retry_after", "body", "problems", "reason", "partial", "text")
    return {name: getattr(error, name) for name in names if hasattr(error, name)}

def fails(text):
    token = CancelToken()
    token.cancel("enough")
    more = {"parameter": {"top_k": -1}, "cancelled": {"cancel": token}, "output": {"output": Number}}.get(text, {})
    inherited.chat(**{"model": "m", "messages": [{"role": "user", "content": text}], **more})

@dataclasses.dataclass
class Number:
    value: int

if __name__ == "__main__":
    inherited.chat(model="m", messages=[{"role": "user", "content": "the parent's"}])  # leaves a connection behind
    with multiprocessing.get_context(sys.argv[1]).Pool(3) as pool:
        for text, message in pool.map(chat, [f"question {n}" for n in range(12)]):
            print(text, message["stop_reason"], message["usage"]["output_tokens"])
        for text in ("limit", "cut", "parameter", "cancelled", "output"):
            try:
                pool.apply(fails, (text,))
            except AnthropixError as error:
                print(json.dumps([type(error).__name__, attributes(error)]))
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_of_a_pool_chat_and_their_errors_arrive_whole(programs: Programs, tmp_path: Path, method: str) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            text = json.loads(peer.body)["messages"][0]["content"]
            if text == "limit":
                peer.send(json_answer("429 Slow", error_body("rate_limit_error"), {"retry-after": "3"}))
            elif text == "cut":
                peer.send(head(), chunks(answer("Hel", "lo")[:3]))
                return
            else:
                send_answer(peer, f"the answer to {text}")

    with Server(script) as server:
        (tmp_path / "pool.py").write_text(POOL)
        running = programs.run([sys.executable, "-P", "-W", "error", str(tmp_path / "pool.py"), method, server.url])
        out, err = running.communicate(timeout=3 * DEADLINE)
    assert (err, running.returncode) == ("", 0)
    lines = out.splitlines()
    assert lines[:12] == [f"the answer to question {n} end_turn 9" for n in range(12)]
    errors = [json.loads(line) for line in lines[12:]]
    assert [name for name, _ in errors] == [
        "RateLimitError",
        "TruncatedError",
        "ParameterError",
        "CancelledError",
        "OutputError",
    ]
    limit, cut, parameter, cancelled, output = [known for _, known in errors]
    assert limit["body"] == error_body("rate_limit_error")
    assert (limit["status"], limit["request_id"], limit["attempts"], limit["retry_after"]) == (429, "req_test", 1, 3.0)
    assert cut["partial"]["content"] == [{"type": "text", "text": "Hel"}]
    assert (cut["request_id"], cut["attempts"]) == ("req_test", 1)
    assert parameter["problems"][0][0] == "top_k"
    assert cancelled["reason"] == "enough"
    assert (output["text"], output["partial"]["stop_reason"]) == ("the answer to output", "end_turn")


def test_a_child_goes_on_though_another_thread_was_in_pykkas_registry_when_it_was_forked(
    begin: Callable[..., subprocess.Popen[str]],
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"child" in peer.body:
                send_answer(peer, "Hi")
                continue
            peer.send(head(), chunks(answer("Hi")[:3]))
            peer.wait_for_hang_up()

    with Server(script) as server:
        running = begin(
            server.url,
            FORKING
            + """
import pykka, threading
inbox = Inbox()
chat = client.chat(**ask("parent's"), stream=inbox)
inbox.get(timeout=20)
inside = threading.Event()

class Odd:
    def __eq__(self, other):  # as a registry of thousands, which is searched for long
        inside.set()
        threading.Event().wait(0.5)
        return False
    def __hash__(self):
        return 0

def search():
    pykka.ActorRegistry.get_by_urn(Odd())

thread = threading.Thread(target=search)
thread.start()
inside.wait(20)

def work():
    print(text(client.chat(**ask("child"))), flush=True)

pid = child(work)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
thread.join()
chat.cancel()
""",
        )
        out, err = running.communicate(timeout=2 * DEADLINE)
    assert (out, err, running.returncode) == ("Hi\n7\n", "", 0)
