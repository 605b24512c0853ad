"""Where the API moved: the endpoints and parameters that are known here, against those of the official SDK.

`make drift` downloads the SDK's newest release and compares; run by hand, as it asks the package index. With
`--folder path/to/anthropic` it compares with what is there. The SDK is read, not imported: its resources say of each
call where it goes, what comes back, and which betas it needs by default. Exit status 1: something differs.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors._calls.options import CHAT_OPTIONS, COUNT_OPTIONS
from anthropix_actors.chat.parameters import COUNT_PARAMETERS, PARAMETERS
from anthropix_actors.endpoints import Endpoint, endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

VERBS = {"_get": "GET", "_get_api_list": "GET", "_post": "POST", "_delete": "DELETE", "_put": "PUT", "_patch": "PATCH"}
PAGES: dict[str, Any] = {
    "SyncPage": "id",
    "SyncPageCursor": "cursor",
    "SyncBidirectionalPageCursor": "bidi",
    "SyncReportPageCursor": "report",
}
ANSWERS: dict[str, Any] = {"BinaryAPIResponse": "binary", "JSONLDecoder": "jsonl"}
CREATE = "POST /v1/messages"
HELPERS = frozenset({"parse", "stream"})
"""Other ways to say what `create` of messages says."""

ACCEPTED = {
    CREATE: frozenset({*PARAMETERS, *CHAT_OPTIONS, "stream"}),
    "POST /v1/messages/count_tokens": frozenset({*COUNT_PARAMETERS, *COUNT_OPTIONS}),
}
"""Calls whose parameters are compared, and what is accepted here."""

ELSEWHERE = {
    "self": "",
    "betas": "beta=",
    "extra_query": "client.request(..., params=...)",
}
"""Parameters of the SDK's that are said in another way here."""

BETA = re.compile(r"[a-z0-9-]+-\d{4}-\d{2}-\d{2}")


def endpoints_of(folder: Path) -> tuple[dict[str, Endpoint], dict[str, set[str]]]:
    """Read an SDK: its endpoints by method and path, and the parameters of the calls in `ACCEPTED`.

    What is in both its namespaces is generally available; then the betas of the other namespace are not needed.
    """
    found: dict[str, Endpoint] = {}
    parameters: dict[str, set[str]] = {}
    files = sorted((folder / "resources").rglob("*.py"), key=lambda path: "beta" in path.parts)
    for path in files:
        beta = "beta" in path.relative_to(folder).parts
        for method, call in calls_of(ast.parse(path.read_text())):
            endpoint = endpoint_of(method, call, beta=beta)
            key = f"{endpoint.method} {endpoint.path}"
            if key == CREATE and method.name in HELPERS:
                continue
            found.setdefault(key, endpoint)
            if key in ACCEPTED:
                arguments = method.args
                parameters.setdefault(key, set()).update(arg.arg for arg in (*arguments.args, *arguments.kwonlyargs))
    return found, parameters


def calls_of(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Get the methods of resources that ask the API, each with its call; those of asyncio say the same once more."""
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef) and any(name_of(base) == "SyncAPIResource" for base in cls.bases):
            for method in cls.body:
                calls = (node for node in ast.walk(method) if isinstance(node, ast.Call))
                for call in calls if isinstance(method, ast.FunctionDef) else ():
                    if isinstance(call.func, ast.Attribute) and call.func.attr in VERBS:
                        yield cast("ast.FunctionDef", method), call


def endpoint_of(method: ast.FunctionDef, call: ast.Call, *, beta: bool) -> Endpoint:
    """Get what a call says of its endpoint."""
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    assert isinstance(call.func, ast.Attribute)
    streamed = isinstance(given.get("stream"), ast.Constant)
    kind = ANSWERS.get(name_of(given.get("cast_to")), "sse" if streamed else "json")
    return Endpoint(
        method=VERBS[call.func.attr],
        path=path_of(call),
        name=method.name.rstrip("_"),
        page=PAGES.get(name_of(given.get("page"))),
        answer=kind,
        betas=betas_of(method) if beta else (),
        beta_only=beta,
    )


def path_of(call: ast.Call) -> str:
    """Get the path's template: that of the trace, as a batch's results come from a URL that is known at run time."""
    for node in ast.walk(call):
        if isinstance(node, ast.keyword) and node.arg == "span_route" and isinstance(node.value, ast.Constant):
            return str(node.value.value)
    words = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    return str(words[0]).partition("?")[0]


def betas_of(method: ast.FunctionDef) -> tuple[str, ...]:
    """Get the betas that a method adds by itself: in a mapping of headers whose value is a plain text."""
    for node in ast.walk(method):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "anthropic-beta" and isinstance(value, ast.Constant):
                    return tuple(BETA.findall(str(value.value)))
    return ()


def name_of(node: ast.AST | None) -> str:
    """Get the name of a class, of a generic one, or of one within `cast(Any, ...)`."""
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    if isinstance(node, ast.Call):
        return name_of(node.args[-1])
    return node.id if isinstance(node, ast.Name) else ""


def differences(folder: Path, known: Iterable[Endpoint] = ()) -> list[str]:
    """Get what differs between an SDK and what is known here, a line each."""
    here = {f"{endpoint.method} {endpoint.path}": endpoint for endpoint in known or endpoints()}
    there, parameters = endpoints_of(folder)
    lines = [f"- {key}: not in the SDK" for key in sorted(here.keys() - there.keys())]
    for key, endpoint in sorted(there.items()):
        if key not in here:
            lines.append(f"+ {key}: {said(endpoint)}")
        elif here[key] != endpoint:
            lines.append(f"~ {key}: {said(endpoint)}; here {said(here[key])}")
    for key, names in sorted(parameters.items()):
        lines += [f"+ {key}: parameter {name}" for name in sorted(names - ACCEPTED[key] - ELSEWHERE.keys())]
    return lines


def said(endpoint: Endpoint) -> str:
    """Get an endpoint in the words of the table."""
    kind = endpoint.page or (endpoint.answer if endpoint.answer != "json" else "")
    stage = " ".join([("beta" if endpoint.beta_only else "GA"), *endpoint.betas])
    return f"{endpoint.method} {endpoint.name}{f':{kind}' if kind else ''} ({stage})"


def newest(into: Path) -> Path:
    """Download the newest SDK, and get its folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "anthropic"]
    subprocess.run([*command, "--dest", str(into)], check=True)
    with zipfile.ZipFile(next(into.glob("*.whl"))) as wheel:
        wheel.extractall(into)
    return into / "anthropic"


def version_of(folder: Path) -> str:
    """Get an SDK's version."""
    found = re.search(r'__version__ = "([^"]+)"', (folder / "_version.py").read_text())
    return found[1] if found else "of no version"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and print what differs."""
    parser = argparse.ArgumentParser(prog="drift", description="Compare the endpoints here with the SDK's.")
    parser.add_argument("--folder", type=Path, help="an SDK that is there, instead of the newest")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or newest(Path(scratch))
        lines = differences(folder)
        print(f"anthropic {version_of(folder)}: {len(endpoints_of(folder)[0])} endpoints, {len(lines)} differences")
    for line in lines:
        print(line)
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
