"""Chromium without a screen, steered over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
"""Seconds after which something that is waited for counts as not coming."""

DESKTOP = (1280, 900)
PHONE = (390, 844)
NARROW = (320, 640)


@dataclass
class Tab:
    """A page that was loaded: what the browser asked for, and what it complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    screenshot: bytes = b""
    width: float = 0.0
    """How wide the contents are."""
    height: float = 0.0
    nodes: list[dict[str, Any]] = field(default_factory=list)
    """The accessibility tree."""
    value: Any = None
    """What the program of the test returned."""

    def texts(self, role: str) -> list[str]:
        """The accessible names of all that have a role."""
        return [
            one["name"]["value"]
            for one in self.nodes
            if not one["ignored"] and one["role"]["value"] == role
        ]


class Browser:
    """A browser that runs."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def load(
        self,
        url: str,
        size: tuple[int, int] = DESKTOP,
        *,
        scheme: str = "light",
        longest: float = 3_000,
        program: str | None = None,
    ) -> Tab:
        """
        Load a page in a tab of its own, for a person who has chosen light or dark.

        The picture ends after *longest* pixels. Scripts run only where there is a *program* of
        the test: an expression whose value, once it is there, is that of the tab.
        """
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        del self._events[:]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable", session)
        width, height = size
        is_phone = width < 600
        self._call(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_phone,
        )
        self._call(
            "Emulation.setEmulatedMedia",
            session,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self._call("Emulation.setScriptExecutionDisabled", session, value=program is None)
        self._call("Page.navigate", session, url=url)
        self._wait_for("Page.loadEventFired")
        metrics = self._call("Page.getLayoutMetrics", session)["cssContentSize"]
        tab = Tab(width=metrics["width"], height=metrics["height"])
        if program is not None:
            made = self._call(
                "Runtime.evaluate",
                session,
                expression=program,
                awaitPromise=True,
                returnByValue=True,
            )
            assert "exceptionDetails" not in made, made["exceptionDetails"]
            tab.value = made["result"].get("value")
        shot = self._call(
            "Page.captureScreenshot",
            session,
            captureBeyondViewport=True,
            clip={
                "x": 0,
                "y": 0,
                "width": metrics["width"],
                "height": min(metrics["height"], longest),
                "scale": 1,
            },
        )
        tab.screenshot = base64.b64decode(shot["data"])
        tab.nodes = self._call("Accessibility.getFullAXTree", session)["nodes"]
        for event in self._events:
            self._note(tab, event)
        self._call("Target.closeTarget", targetId=target)
        return tab

    @staticmethod
    def _note(tab: Tab, event: dict[str, Any]) -> None:
        said = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                tab.requests.append(said["request"]["url"])
            case "Log.entryAdded":
                tab.complaints.append(said["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Network.loadingFailed":
                tab.complaints.append(json.dumps(said))

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._connection.send(json.dumps(message))
        while (answer := self._receive()).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, method: str) -> None:
        while all(one["method"] != method for one in self._events):
            self._events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(PATIENCE))
        return message


def find_browser() -> str:
    """Return the program; `make e2e` installs one."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed")


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Run a browser, whose profile and log are in *directory*."""
    profile = directory / "profile"
    arguments = [
        find_browser(),
        "--headless",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    with (directory / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        port, path = _endpoint(profile / "DevToolsActivePort", process)
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def _endpoint(path: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Wait until the browser says where it can be steered."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "the browser has ended"
        assert time.monotonic() < deadline, "the browser does not start"
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(0.02)
