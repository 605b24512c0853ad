"""MCP servers for tests: a real one, of the package `mcp`; and a raw one, which does what no library would."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from anthropix_actors import Mcp

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

REAL = '''
import os, socket, sys
import anyio, uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("weather", log_level="ERROR")

class Weather(BaseModel):
    degrees: int

@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def weather(city: str) -> Weather:
    """Tell the weather."""
    return Weather(degrees=len(city))

@server.tool(annotations=ToolAnnotations(destructiveHint=True))
async def wait(file: str, ctx: Context) -> str:
    """Wait until it is cancelled."""
    await ctx.report_progress(1, 2, "waiting")
    try:
        await anyio.sleep(600)
    finally:
        open(file, "w").close()

@server.tool()
def environment() -> list[str]:
    return sorted(os.environ)

@server.tool()
async def grow(ctx: Context) -> str:
    server.add_tool(lambda: "grown", name="grown")
    await ctx.notify_tools_changed()
    return "done"

@server.tool()
async def ask(ctx: Context) -> str:
    await ctx.session.list_roots()
    return "never"

if sys.argv[1:] == ["http"]:
    sock = socket.create_server(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    app = server.streamable_http_app()
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[sock])
else:
    server.run()
'''

RAW = r"""
import json, os, subprocess, sys, threading, time

how = sys.argv[1:]
tools = [{"name": "echo", "inputSchema": {"type": "object"}}, {"name": "do", "inputSchema": {"type": "object"}}]

if "lies" in how:  # no text needs as long as it takes to find that this does not fit
    tools[1]["outputSchema"] = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
lists = 0

def tell(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

def answer(message, **result):
    modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"} if "modern" in how else {}
    tell(id=message["id"], result={**modern, **result})

def do(message, what):
    if what == "die":
        os._exit(3)
    elif what == "garbage":
        os.write(1, b"\xff\xfe not json\n{}\n[1]\n")
    elif what == "noise":
        os.write(2, b"x" * 10_000_000)
    elif what == "leave":  # a child that holds stdout, in a session of its own
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        os._exit(0)
    elif what == "hang":
        time.sleep(600)
    elif what == "deaf":
        return
    elif what == "error":
        tell(id=message["id"], error={"code": -32602, "message": "no such thing"})
        return
    elif what == "lie":
        answer(message, content=[], structuredContent={"a": "a" * 60 + "!"})
        return
    elif what == "lists":
        what = str(lists)
    elif what == "child":
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        answer(message, content=[{"type": "text", "text": str(child.pid)}])
        return
    elif what == "grow":
        tools.append({"name": "do" if "twice" in how else "grown", "inputSchema": {"type": "object"}})
        for _ in range(0 if "drops" in how else 20):
            tell(method="notifications/tools/list_changed")
    answer(message, content=[{"type": "text", "text": what}])

if "slow" in how:
    time.sleep(600)
while "late" in how and not os.path.exists(how[0]):
    time.sleep(0.01)
if "stubborn" in how:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "dies" in how:
    os._exit(1)
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "server/discover" and "modern" in how:
        answer(
            message, supportedVersions=["2026-07-28"], capabilities={"tools": {"listChanged": True}},
            resultType="complete", ttlMs=0, cacheScope="public",
        )
    elif method == "subscriptions/listen" and "drops" in how:
        meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
        tell(
            method="notifications/subscriptions/acknowledged",
            params={"_meta": meta, "notifications": {"toolsListChanged": True}},
        )
        tell(method="notifications/cancelled", params={"requestId": message["id"]})
    elif method == "initialize":
        info = {"name": "raw", "version": "1"}
        answer(message, protocolVersion="2025-06-18", capabilities={"tools": {}}, serverInfo=info)
    elif method == "tools/list":
        lists += 1
        if "busy" in how and lists == 2:
            tell(id=message["id"], error={"code": -32603, "message": "busy"})
            continue
        if "mute" in how and lists == 2:
            continue
        answer(message, tools=tools, **({"nextCursor": "more"} if "endless" in how else {}))
    elif method == "tools/call":
        given = message["params"]["arguments"]
        do(message, given.get("what", "echo"))
    elif method == "notifications/cancelled":
        if how and "/" in how[0]:
            open(how[0], "w").close()
    elif "id" in message:
        tell(id=message["id"], error={"code": -32601, "message": "Method not found"})
if "stubborn" in how:
    time.sleep(600)
"""


def raw(*how: str, **options: Any) -> Mcp:
    """Return the raw server."""
    given: Any = {"timeout": 30.0, **options}
    return Mcp.stdio(sys.executable, "-I", "-S", "-c", RAW, *how, **given)


def real(folder: Path, **options: Any) -> Mcp:
    """Return the real server."""
    file = folder / "server.py"
    file.write_text(REAL)
    return Mcp.stdio(sys.executable, str(file), **options)


@contextlib.contextmanager
def over_http(folder: Path) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """Run the real server over HTTP; yield its URL and its process."""
    file = folder / "server.py"
    file.write_text(REAL)
    with subprocess.Popen([sys.executable, str(file), "http"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(running.stdout.readline())}/mcp", running
        finally:
            running.kill()


def use(name: str, call_id: str = "toolu_1", **given: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def of(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with calls."""
    return {"role": "assistant", "content": [*calls], "stop_reason": "tool_use"}
