"""A browser that tests drive as a person would: Chromium without a window, by the W3C's protocol, over plain HTTP.

Its two programs are Debian's packages chromium and chromium-driver. Where one is missing, the tests that need it are
skipped; with REQUIRE_BROWSER set, they fail.

Source: https://www.w3.org/TR/webdriver2/, read 2026-11-27.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
import requests

from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

REQUIRED = "REQUIRE_BROWSER"
"""The environment variable that makes a missing program a failure."""

ENTER = "\ue007"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_PATIENCE = 6 * DEADLINE
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,800")


def needs(*programs: str) -> str:
    """Return the path of the first program; skip the test if any is missing."""
    paths = [shutil.which(program) for program in programs]
    if None in paths:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"not installed: one of {', '.join(programs)}")
    return str(paths[0])


class Browser:
    """One browser, with its tabs. What is looked for is waited for, with a deadline."""

    def __init__(self, driver: str) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        options = {"args": _ARGUMENTS, "binary": needs("chromium")}
        asked = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self._root = f"{driver}/session"
        self._root += "/" + self._call("POST", "", asked)["sessionId"]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = {} if method == "POST" and body is None else body
        response = self._http.request(method, self._root + path, json=data, timeout=_PATIENCE)
        value = response.json()["value"]
        assert response.ok, value
        return value

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._call("GET", "/url"))

    def reload(self) -> None:
        self._call("POST", "/refresh")

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the value of a piece of JavaScript."""
        return self._call("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """Return what can be seen of all elements that match, one a line."""
        return str(
            self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')", selector)
        )

    def _element(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector: str) -> None:
        self._call("POST", f"{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"{self._element(selector)}/value", {"text": text})

    def sees(self, selector: str) -> bool:
        return bool(self._call("GET", f"{self._element(selector)}/displayed"))

    def wait_for(self, text: str, selector: str = "body") -> None:
        """Wait until some element shows a text."""
        until(lambda: text in self.text(selector))

    @property
    def tab(self) -> str:
        return str(self._call("GET", "/window"))

    @property
    def tabs(self) -> list[str]:
        return list(self._call("GET", "/window/handles"))

    def new_tab(self, url: str) -> str:
        """Open another tab, and look at it."""
        tab = self._call("POST", "/window/new", {"type": "tab"})["handle"]
        self.look_at(tab)
        self.open(url)
        return str(tab)

    def look_at(self, tab: str) -> None:
        self._call("POST", "/window", {"handle": tab})

    def close_tab(self) -> None:
        self._call("DELETE", "/window")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def end(self) -> None:
        with self._http:
            self._call("DELETE", "")


@contextlib.contextmanager
def browser() -> Generator[Browser]:
    """Run a browser that ends with the block, with all that it has started, and leaves no files."""
    command = [needs("chromedriver", "chromium"), "--port=0"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "TMPDIR": folder}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as driver:
            try:
                one = Browser(f"http://127.0.0.1:{_port_of(driver)}")
                try:
                    yield one
                finally:
                    one.end()
            finally:
                driver.terminate()


def _port_of(driver: subprocess.Popen[str]) -> int:
    assert driver.stdout is not None
    said = []
    for line in driver.stdout:
        said.append(line)
        if found := re.search(r"started successfully on port (\d+)", line):
            return int(found[1])
    raise AssertionError(said)
