"""A headless Chromium, spoken to through its debugging pipe: pages, what they ask for, what they complain of."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_SECONDS = 120.0


def find_browser() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One browser with one tab.

    Attributes:
        complaints: errors and warnings of the pages' consoles, uncaught exceptions, failed requests.
        requests: every address asked for.
    """

    def __init__(self, profile: Path, *, width: int = 1280, height: int = 900) -> None:
        name = find_browser()
        assert name is not None
        to_browser, ours_out = os.pipe()
        ours_in, from_browser = os.pipe()
        command = [
            name,
            "--headless",
            "--disable-gpu",
            "--enable-unsafe-swiftshader",
            "--remote-debugging-pipe",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ]
        if os.geteuid() == 0:
            command.append("--no-sandbox")

        # Chromium reads commands from descriptor 3 and writes to 4: a shell puts them there.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "browser", *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._out, self._in = ours_out, ours_in
        self._buffer = b""
        self._next_id = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._addresses: dict[str, str] = {}
        target = self._call("Target.createTarget", {"url": "about:blank"}, tab=False)["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, tab=False)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._out)
        os.close(self._in)
        self._process.kill()
        self._process.wait()

    def open(self, address: str) -> None:
        self._call("Page.navigate", {"url": address})

    def evaluate(self, expression: str) -> Any:
        answer = self._call(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True}
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description"))
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Until an expression is true; its value. What throws is not true yet: a page may still be empty."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            value = self.evaluate(f"(() => {{ try {{ return {expression} }} catch {{ return false }} }})()")
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"{expression} did not come true; the page shows {self.text()[:500]!r}")

    def text(self) -> str:
        return str(self.evaluate("document.body?.innerText ?? ''"))

    def press(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({selector!r}).click()")

    def resize(self, width: int, height: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def become_phone(self, width: int, height: int) -> None:
        """A small screen with a finger instead of a mouse, until `become_desk`."""
        self._call("Emulation.setTouchEmulationEnabled", {"enabled": True})
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True},
        )

    def become_desk(self) -> None:
        self._call("Emulation.setTouchEmulationEnabled", {"enabled": False})

    def swipe(self, selector: str, right: int, down: int) -> None:
        """A finger put on the middle of an element and moved; the page follows it if it is let."""
        self.evaluate(
            f"document.querySelector({selector!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})"
        )
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.evaluate(
            f"(b => [(b.left + Math.min(b.right, innerWidth)) / 2, b.top + b.height / 2])({box})"
        )
        self._touch("touchStart", x, y)
        for step in range(1, 11):
            self._touch("touchMove", x + right * step / 10, y + down * step / 10)
        self._call("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def _touch(self, kind: str, x: float, y: float) -> None:
        self._call("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        picture = self._call("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(picture["data"]))

    def print_to(self, path: Path) -> None:
        answer = self._call("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(
        self, method: str, parameters: dict[str, Any] | None = None, *, tab: bool = True
    ) -> dict[str, Any]:
        self._next_id += 1
        message: dict[str, Any] = {"id": self._next_id, "method": method, "params": parameters or {}}
        if tab:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._next_id:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                raise AssertionError("the browser has gone")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._listen(message.get("method", ""), message.get("params", {}))
        return message

    def _listen(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.complaints.append(
                " ".join(str(part.get("value", part.get("description"))) for part in told["args"])
            )
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
            self._addresses[told["requestId"]] = told["request"]["url"]
        elif method == "Network.responseReceived" and told["response"]["status"] >= 400:
            self.complaints.append(f"{told['response']['status']} {told['response']['url']}")
