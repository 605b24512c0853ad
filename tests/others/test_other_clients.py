"""Clients that others wrote, against the emulator, where they are installed: docs/compat.md says how.

Each does what its users do every day, and no request of it may be refused: what the API takes, the emulator takes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest

from anthropix_actors.emulator import Emulator, PauseTurn, Reply, Thinking, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 20.0
PATIENCE = 120.0
"""Seconds for Claude Code: it starts slowly, and waits for nobody knows what."""

MODEL: Literal["claude-sonnet-5"] = "claude-sonnet-5"
THINKING = {"type": "adaptive"}
NOWHERE = "http://127.0.0.1:1"
RAIN = "It rains in Bergen."


pytestmark = [
    pytest.mark.untraced,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # which connections they leave open is theirs
]


@pytest.fixture(autouse=True)
def left_open() -> Iterator[None]:
    """Find what is left open here, where the warning is ignored, and not in another test."""
    yield
    gc.collect()


@pytest.fixture
def emulator(caplog: pytest.LogCaptureFixture) -> Iterator[Emulator]:
    """Get an emulator that refuses nothing in this test."""
    with caplog.at_level(logging.INFO, logger="anthropix_actors"), Emulator() as running:
        yield running
        told = [record.getMessage() for record in caplog.get_records("call")]
        assert [words for words in told if "the emulator answers" in words] == []


def chats(emulator: Emulator) -> list[Any]:
    return [request.body for request in emulator.requests if request.path == "/v1/messages"]


# The official SDK


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[Any]:
    anthropic: Any = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=emulator.url, api_key="any", max_retries=0, timeout=DEADLINE) as client:
        yield client


@pytest.fixture
def weather(sdk: Any) -> Any:  # noqa: ARG001 - skips without the SDK
    """Get a tool of the SDK's runner."""
    from anthropic import beta_tool  # noqa: PLC0415 - it may not be there

    @beta_tool
    def get_weather(city: str) -> str:
        """Get the weather of a city."""
        return f"It rains in {city}."

    return get_weather


def asking(text: str = "Use get_weather, please.", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 4000, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("thread", [True, False])
@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}, None])
def test_the_sdks_runner_calls_tools(
    emulator: Emulator, sdk: Any, weather: Any, thinking: Any, *, thread: bool
) -> None:
    more: dict[str, Any] = {} if thread else {"thread": False}
    more |= {"thinking": thinking} if thinking else {}
    last = sdk.beta.messages.tool_runner(**asking(tools=[weather], **more)).until_done()
    assert last.stop_reason == "end_turn"
    assert "It rains in city." in last.content[-1].text
    assert [len(body["messages"]) for body in chats(emulator)] == [1, 1 if thread else 3]


def test_the_sdks_runner_streams(emulator: Emulator, sdk: Any, weather: Any) -> None:
    texts: list[str] = []
    for stream in sdk.beta.messages.tool_runner(**asking(tools=[weather], stream=True, thinking={"type": "adaptive"})):
        texts += [event.text for event in stream if event.type == "text"]
    assert "It rains in city." in "".join(texts)
    assert len(chats(emulator)) == 2


def test_the_sdks_runner_goes_on_after_a_pause_and_a_compaction(emulator: Emulator, sdk: Any, weather: Any) -> None:
    emulator.queue(PauseTurn(), ToolCall("get_weather", {"city": "Bergen"}))
    search = {"type": "web_search_20260318", "name": "web_search"}
    last = sdk.beta.messages.tool_runner(**asking("Go.", tools=[search, weather])).until_done()
    assert RAIN in last.content[-1].text
    context = {
        "edits": [
            {
                "type": "compact_20260112",
                "trigger": {"type": "input_tokens", "value": 50_000},
                "pause_after_compaction": True,
            }
        ]
    }
    long = asking("word " * 60_000, tools=[weather], context_management=context, betas=["compact-2026-01-12"])
    last = sdk.beta.messages.tool_runner(**long).until_done()
    assert last.stop_reason == "end_turn"
    first, then = (body["messages"] for body in chats(emulator)[-2:])
    assert (len(first), then) == (1, [])  # what was compacted is in a message thread


def test_the_sdks_runner_runs_several_tools_over_several_turns(emulator: Emulator, sdk: Any, weather: Any) -> None:
    calls = [ToolCall("get_weather", {"city": city}) for city in ("Bergen", "Oslo")]
    emulator.queue(Reply([Thinking("Two."), "Both.", *calls]), Reply([Thinking("One more."), calls[0]]), "Rain.")
    runner = sdk.beta.messages.tool_runner(**asking("Go.", tools=[weather], thinking={"type": "adaptive"}))
    assert runner.until_done().content[0].text == "Rain."
    assert [len(body["messages"]) for body in chats(emulator)] == [1, 1, 1]  # the others are in a message thread


def test_the_sdks_runner_tells_the_model_of_an_error(emulator: Emulator, sdk: Any) -> None:
    from anthropic import beta_tool  # noqa: PLC0415 - it may not be there

    @beta_tool
    def get_weather() -> str:
        """Get the weather."""
        raise LookupError("no such city")

    last = sdk.beta.messages.tool_runner(**asking(tools=[get_weather])).until_done()
    assert "no such city" in last.content[-1].text
    (result,) = chats(emulator)[-1]["messages"][-1]["content"]
    assert result["is_error"]


def test_the_sdks_message_threads_send_what_is_new(emulator: Emulator, sdk: Any) -> None:
    thread = sdk.beta.messages.thread(
        model=MODEL, max_tokens=4000, system="Be brief.", cache_control={"type": "ephemeral"}, thinking=THINKING
    )
    for text in ("Hello", "And then?", "Go on."):
        assert text in thread.send({"role": "user", "content": text}).content[-1].text
    emulator.queue(PauseTurn())
    paused = thread.send({"role": "user", "content": "Look it up."})
    assert paused.stop_reason == "pause_turn"
    assert thread.send().stop_reason == "end_turn"
    assert [len(body["messages"]) for body in chats(emulator)] == [1, 1, 1, 1, 0]


@pytest.mark.usefixtures("emulator")
def test_the_sdk_gets_structured_output(sdk: Any) -> None:
    import pydantic  # noqa: PLC0415 - it comes with the SDK

    city = pydantic.create_model("City", name=(str, ...), people=(int, ...))
    parsed = sdk.messages.parse(**asking("Which city?"), output_format=city).parsed_output
    assert (parsed.name, parsed.people) == ("name", 1)
    with sdk.messages.stream(**asking("Which city?"), output_format=city) as stream:
        assert stream.get_final_message().parsed_output == parsed


def test_the_sdk_runs_a_batch(emulator: Emulator, sdk: Any, weather: Any) -> None:
    params = [asking("Hello"), asking(tools=[weather.to_dict()]), asking(thinking={"type": "adaptive"})]
    requests: Any = [{"custom_id": str(place), "params": each} for place, each in enumerate(params)]
    for batches in (sdk.messages.batches, sdk.beta.messages.batches):
        batch = batches.create(requests=requests)
        assert batches.retrieve(batch.id).processing_status == "ended"
        results = {result.custom_id: result.result for result in batches.results(batch.id)}
        assert [results[each["custom_id"]].type for each in requests] == ["succeeded"] * 3
        assert results["1"].message.stop_reason == "tool_use"
        assert batch.id in [listed.id for listed in batches.list()]
        batches.delete(batch.id)
    assert len(emulator.requests) > 8


@pytest.mark.usefixtures("emulator")
def test_the_sdk_counts_tokens(sdk: Any, weather: Any) -> None:
    counted = asking(tools=[weather.to_dict()], system="Be brief.", thinking={"type": "adaptive"})
    del counted["max_tokens"]
    assert sdk.messages.count_tokens(**counted).input_tokens == sdk.beta.messages.count_tokens(**counted).input_tokens


@pytest.mark.usefixtures("emulator")
def test_the_sdk_uses_files(sdk: Any) -> None:
    for files in (sdk.files, sdk.beta.files):
        uploaded = files.upload(file=("notes.txt", b"Rain.", "text/plain"))
        assert files.download(uploaded.id).read() == b"Rain."
        document = {"type": "document", "source": {"type": "file", "file_id": uploaded.id}}
        content = [document, {"type": "text", "text": "What is it?"}]
        asked = asking(messages=[{"role": "user", "content": content}])
        assert sdk.beta.messages.create(**asked, betas=["files-api-2025-04-14"]).stop_reason == "end_turn"
        files.delete(uploaded.id)


@pytest.mark.usefixtures("emulator")
def test_the_sdk_talks_over_several_turns(sdk: Any) -> None:
    messages: list[Any] = []
    for text in ("Hello", "And then?", "Go on."):
        messages.append({"role": "user", "content": text})
        with sdk.messages.stream(
            model=MODEL,
            max_tokens=4000,
            messages=messages,
            thinking={"type": "adaptive"},
            cache_control={"type": "ephemeral"},
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        ) as stream:
            answer = stream.get_final_message()
        messages.append({"role": "assistant", "content": answer.content})
        assert text in answer.content[-1].text


@pytest.mark.usefixtures("emulator")
def test_the_sdks_asyncio_client_works(emulator: Emulator, sdk: Any) -> None:  # noqa: ARG001 - skips without the SDK
    from anthropic import AsyncAnthropic  # noqa: PLC0415 - it may not be there

    async def ask() -> Any:
        async with AsyncAnthropic(base_url=emulator.url, api_key="any", max_retries=0) as client:
            async with client.messages.stream(**asking("Hello")) as stream:
                return await stream.get_final_message()

    assert "Hello" in asyncio.run(ask()).content[0].text


# LangChain


@pytest.fixture
def langchain(emulator: Emulator) -> Callable[..., Any]:
    module: Any = pytest.importorskip("langchain_anthropic")

    def make(**more: Any) -> Any:
        return module.ChatAnthropic(
            model=MODEL, base_url=emulator.url, api_key="any", max_retries=0, timeout=DEADLINE, **more
        )

    return make


@pytest.fixture
def langchain_tool() -> Any:
    tools: Any = pytest.importorskip("langchain_core.tools")

    def get_weather(city: str) -> str:
        """Get the weather of a city."""
        return f"It rains in {city}."

    return tools.tool(get_weather)


@pytest.mark.compat
@pytest.mark.usefixtures("emulator")
def test_langchain_asks_and_streams(langchain: Callable[..., Any]) -> None:
    model = langchain()
    assert "Hello" in model.invoke("Hello").text
    assert "Hello" in "".join(str(chunk.text) for chunk in model.stream("Hello"))
    assert "Hello" in asyncio.run(model.ainvoke("Hello")).text
    assert [answer.text[:9] for answer in model.batch(["One", "Two"])] == ["You said:"] * 2
    usage = model.invoke([("system", "Be brief."), ("user", "Hello")]).usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.compat
@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "adaptive"}}])
@pytest.mark.parametrize("streamed", [True, False])
def test_langchain_calls_tools(
    emulator: Emulator, langchain: Callable[..., Any], langchain_tool: Any, more: dict[str, Any], *, streamed: bool
) -> None:
    model = langchain(**more).bind_tools([langchain_tool])
    messages: list[Any] = [("user", "Use get_weather, please.")]

    def ask() -> Any:
        answer: Any = None
        for chunk in model.stream(messages) if streamed else [model.invoke(messages)]:
            answer = chunk if answer is None else answer + chunk
        messages.append(answer)
        return answer

    calls = ask().tool_calls
    messages += [langchain_tool.invoke(call) for call in calls]
    assert "It rains in city." in ask().text
    messages.append(("user", "Once more: use get_weather."))
    calls = ask().tool_calls
    messages += [langchain_tool.invoke(call) for call in calls]
    assert "It rains in city." in ask().text
    assert len(chats(emulator)) == 4


@pytest.mark.compat
@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_langchain_gets_structured_output(langchain: Callable[..., Any], method: str) -> None:
    import pydantic  # noqa: PLC0415 - it comes with LangChain

    city = pydantic.create_model("City", __doc__="A city.", name=(str, ...), people=(int, ...))
    assert langchain().with_structured_output(city, method=method).invoke("Which?") == city(name="name", people=1)


# Pydantic AI


@pytest.fixture
def pydantic_ai(emulator: Emulator) -> Any:
    """Get what makes an agent: its client belongs to one event loop."""
    models: Any = pytest.importorskip("pydantic_ai.models.anthropic")
    providers: Any = pytest.importorskip("pydantic_ai.providers.anthropic")
    agents: Any = pytest.importorskip("pydantic_ai")

    def make(settings: dict[str, Any] | None = None, **more: Any) -> Any:
        provider = providers.AnthropicProvider(api_key="any", base_url=emulator.url)
        return agents.Agent(models.AnthropicModel(MODEL, provider=provider, settings=settings), retries=0, **more)

    return make


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"It rains in {city}."


THINKS = {"anthropic_thinking": {"type": "adaptive"}, "max_tokens": 4000}


@pytest.mark.compat
@pytest.mark.parametrize("settings", [None, THINKS])
def test_pydantic_ai_calls_tools(emulator: Emulator, pydantic_ai: Any, settings: Any) -> None:
    async def talk() -> list[str]:
        agent = pydantic_ai(settings, tools=[get_weather], instructions="Be brief.")
        first = await agent.run("Use get_weather, please.")
        second = await agent.run("Use get_weather again.", message_history=first.all_messages())
        return [first.output, second.output]

    for said in asyncio.run(talk()):
        assert "It rains in city." in said
    assert len(chats(emulator)) == 4


@pytest.mark.compat
@pytest.mark.parametrize("settings", [None, THINKS])
def test_pydantic_ai_streams(emulator: Emulator, pydantic_ai: Any, settings: Any) -> None:
    async def talk() -> str:
        async with pydantic_ai(settings, tools=[get_weather]).run_stream("Use get_weather, please.") as result:
            return "".join([text async for text in result.stream_text(delta=True, debounce_by=None)])

    # Its stream ends with the first text, which here comes before the call.
    assert "I will use get_weather." in asyncio.run(talk())
    assert chats(emulator)[0]["stream"] is True


@pytest.mark.compat
@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("settings", [None, THINKS])
@pytest.mark.parametrize("how", ["ToolOutput", "NativeOutput", "PromptedOutput"])
def test_pydantic_ai_gets_structured_output(emulator: Emulator, pydantic_ai: Any, how: str, settings: Any) -> None:
    import pydantic  # noqa: PLC0415 - it comes with Pydantic AI

    output: Any = pytest.importorskip("pydantic_ai.output")
    if how == "PromptedOutput":  # the model has to find the schema in its prompt
        emulator.queue('{"name": "name", "people": 1}')
    if how == "ToolOutput":  # and the tool, which is not forced
        emulator.queue(ToolCall("final_result", {"name": "name", "people": 1}))
    if how == "ToolOutput" and settings:
        pytest.skip("Pydantic AI itself refuses it: the API forces no tool on a model that thinks")
    city = pydantic.create_model("City", name=(str, ...), people=(int, ...))

    async def ask() -> Any:
        return (await pydantic_ai(settings, output_type=getattr(output, how)(city)).run("Which?")).output

    assert asyncio.run(ask()) == city(name="name", people=1)


@pytest.mark.compat
def test_pydantic_ai_caches(emulator: Emulator, pydantic_ai: Any) -> None:
    settings = {"anthropic_cache_instructions": True, "anthropic_cache_tool_definitions": True}

    async def talk() -> Any:
        agent = pydantic_ai(settings, tools=[get_weather], instructions="Be brief. " * 800)
        return (await agent.run("Use get_weather, please.")).usage

    usage = asyncio.run(talk())

    assert usage.cache_write_tokens == usage.cache_read_tokens > 1024
    assert len(chats(emulator)) == 2


# Claude Code

CLAUDE = shutil.which("claude", path=os.pathsep.join([f"{sys.prefix}/node_modules/.bin", os.environ.get("PATH", "")]))


@pytest.fixture
def claude(emulator: Emulator, tmp_path: Path) -> Callable[..., str]:
    """Get what runs Claude Code in a folder of its own, and gets what it prints."""
    command = [CLAUDE or pytest.skip("Claude Code is not installed: docs/compat.md says how"), "-p"]
    project = tmp_path / "project"
    project.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": emulator.url,
        "ANTHROPIC_API_KEY": "sk-ant-any",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HTTP_PROXY": NOWHERE,  # it stays on this machine
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1",
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def said_by_tools(emulator: Emulator) -> str:
    """Get what the tools said last."""
    blocks = [block for message in chats(emulator)[-1]["messages"] for block in message["content"]]
    return json.dumps([block for block in blocks if isinstance(block, dict) and block["type"] == "tool_result"][-1:])


@pytest.mark.compat
def test_claude_code_says_hello(emulator: Emulator, claude: Callable[..., str]) -> None:
    assert claude("hello").startswith('You said: "hello".')
    assert len(chats(emulator)) == 1, "it was told to call a tool"


@pytest.mark.compat
def test_claude_code_reads_a_file(emulator: Emulator, claude: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "project" / "answer.txt"
    path.write_text("The answer is 42.\n")
    emulator.queue(
        Reply([Thinking("A file."), "I will read it.", ToolCall("Read", {"file_path": str(path)})]), "Forty-two."
    )
    assert claude("What does answer.txt say?", "--allowedTools", "Read").strip() == "Forty-two."
    assert "The answer is 42." in said_by_tools(emulator)


@pytest.mark.compat
def test_claude_code_talks_over_several_turns(emulator: Emulator, claude: Callable[..., str], tmp_path: Path) -> None:
    paths = [tmp_path / "project" / name for name in ("one.txt", "two.txt")]
    for path in paths:
        path.write_text(f"This is {path.stem}.\n")
    reads = [ToolCall("Read", {"file_path": str(path)}) for path in paths]
    emulator.queue(
        Reply([Thinking("Both at once."), *reads]),
        "Read.",
        Reply([Thinking("Again."), "Once more.", reads[0]]),
        "Done.",
    )
    assert claude("Read both files.", "--allowedTools", "Read").strip() == "Read."
    assert claude("And one of them again.", "--continue", "--allowedTools", "Read").strip() == "Done."
    assert claude("Thanks.", "--continue").startswith('You said: "Thanks.".')
    used = [body["messages"] for body in chats(emulator)]
    assert len(used) == 5
    assert [len(messages) for messages in used] == sorted(len(messages) for messages in used)


@pytest.mark.compat
@pytest.mark.parametrize(
    "model", ["claude-haiku-4-5-20251001", "claude-sonnet-4-6", "claude-sonnet-5", "claude-opus-5"]
)
def test_claude_code_edits_a_file_with_each_model(
    emulator: Emulator, claude: Callable[..., str], tmp_path: Path, model: str
) -> None:
    """The older the model, the more differently its thinking is asked for; not each call comes after a thought."""
    path = tmp_path / "project" / "one.txt"
    path.write_text("old\n")
    listing = ToolCall("Bash", {"command": "echo hello", "description": "Say hello"})
    editing = ToolCall("Edit", {"file_path": str(path), "old_string": "old", "new_string": "new"})
    reading = ToolCall("Read", {"file_path": str(path)})
    emulator.queue(Reply([Thinking("Both."), reading, listing]), Reply([editing]), "Done.")
    allowed = ("--model", model, "--allowedTools", "Read Edit Bash(echo:*)")
    assert claude("Make it new.", *allowed).strip() == "Done."
    assert path.read_text() == "new\n"
    assert claude("Thanks.", "--continue", *allowed).startswith('You said: "Thanks.".')


@pytest.mark.compat
def test_claude_code_sends_an_agent(emulator: Emulator, claude: Callable[..., str]) -> None:
    agent = {"description": "look", "prompt": "Look around.", "subagent_type": "Explore"}
    emulator.queue(Reply([Thinking("An agent."), ToolCall("Agent", agent)]), "There is nothing.", "It found nothing.")
    assert claude("Look around.", "--allowedTools", "Agent").strip() == "It found nothing."
    assert "There is nothing." in said_by_tools(emulator)


@pytest.mark.compat
def test_claude_code_goes_on_after_a_call_that_was_cut(emulator: Emulator, claude: Callable[..., str]) -> None:
    emulator.queue(Reply([Thinking("Hm."), ToolCall("Read", {"file_path": "/nowhere/at/all.txt"}, cut=12)]), "Well.")
    assert claude("Read it.", "--allowedTools", "Read").strip() == "Well."


@pytest.mark.compat
def test_claude_code_survives_a_tool_that_fails(emulator: Emulator, claude: Callable[..., str]) -> None:
    emulator.queue(ToolCall("Read", {"file_path": "/nowhere/at/all.txt"}), "It is not there.")
    assert claude("Read it.", "--allowedTools", "Read").strip() == "It is not there."
    assert "is_error" in said_by_tools(emulator)


@pytest.mark.compat
def test_claude_code_reads_its_cache(emulator: Emulator, claude: Callable[..., str]) -> None:
    emulator.queue(ToolCall("Read", {"file_path": "/nowhere/at/all.txt"}), "It is not there.")
    usage = json.loads(claude("Read it.", "--allowedTools", "Read", "--output-format", "json"))["usage"]
    assert usage["cache_read_input_tokens"] > 4096
    assert usage["cache_creation_input_tokens"] > 4096
