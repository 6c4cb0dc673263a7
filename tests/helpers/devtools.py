"""Drive a real browser by its DevTools protocol over a pipe: keys, evaluation, the console; no driver, no network."""

import contextlib
import itertools
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chromium import BROWSER

PATIENCE = 60.0
"""Seconds for one answer."""
CODES = {
    "Enter": 13, "Escape": 27, " ": 32, "PageDown": 34, "End": 35, "Home": 36, "ArrowUp": 38, "ArrowDown": 40, "Tab": 9,
}  # fmt: skip


class Page:
    """A tab."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.console: list[str] = []
        """Errors and messages of the page, of every kind."""
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._waiting = b""
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, expression: str) -> Any:
        """Return what an expression comes to; promises are waited for."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.ask(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            code = CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
            for kind in ("keyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "",
                    windowsVirtualKeyCode=code,
                )  # fmt: skip

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, **features: str) -> None:
        """Say what the reader prefers, such as prefers_color_scheme="dark"."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._from], [], [], PATIENCE)
            assert ready, "the browser does not answer"
            self._waiting += os.read(self._from, 1 << 20)
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(params["exceptionDetails"]["exception"].get("description", "exception"))
        elif event.get("method") == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(one.get("value")) for one in params["args"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start a browser with one tab, and end it."""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()

    def as_three_and_four() -> None:
        # The pipes may have these very numbers: out of the way first.
        read, write = os.dup(in_read), os.dup(out_write)
        high_read, high_write = os.dup2(read, 20), os.dup2(write, 21)
        os.dup2(high_read, 3)
        os.dup2(high_write, 4)

    words = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1440,900", "--remote-debugging-pipe",
             "--autoplay-policy=no-user-gesture-required", "--mute-audio", f"--user-data-dir={profile}"]  # fmt: skip
    process = subprocess.Popen(
        [str(BROWSER), *words], preexec_fn=as_three_and_four, close_fds=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(in_read)
    os.close(out_write)
    try:
        yield Page(in_write, out_read)
    finally:
        os.close(in_write)
        os.close(out_read)
        process.terminate()
        process.wait(timeout=30)
