"""A headless Chromium that is told what to do: open a page, wait, click, look, take a picture.

It is spoken to over Chromium's own DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), so that
nothing but the browser and a websocket library is needed.
"""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_SECONDS = 60.0
LOOK_SECONDS = 0.2
"""How often it is looked whether what is waited for is there."""
TEXT = "document.body?.innerText ?? ''"
"""Expression for what the page shows; of one that is just opened nothing."""

KEY_CODES = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
"""Windows' numbers of keys that are no letters, which browsers go by."""


class Page:
    """A page of the browser."""

    def __init__(self, connection: ClientConnection, port: int) -> None:
        """Take over a page.

        Args:
            connection: The page's websocket.
            port: Where the browser listens.
        """
        self._connection = connection
        self._port = port
        self._calls = 0
        self.console: list[str] = []
        """Errors that the page wrote to the console, and exceptions that nothing caught."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result.

        Raises:
            RuntimeError: The browser answers with an error.
        """
        self._calls += 1
        self._connection.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            answer = json.loads(self._connection.recv(timeout=START_SECONDS))
            self._note(answer)
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())

    def open(self, address: str) -> None:
        """Go to an address; `wait_for` what the page is to show."""
        self.call("Page.navigate", url=address)

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """Set the size of the window in CSS pixels, and how many pixels of a picture each of them is."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; of a promise, what it holds.

        Raises:
            RuntimeError: The expression throws.
        """
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return answer["result"].get("value")

    def wait_for(self, script: str, *, seconds: float = 60.0) -> Any:
        """Return the value of an expression as soon as it is true; an expression that throws is not.

        Raises:
            TimeoutError: It does not become true; shows what the page says.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):
                if value := self.run(script):
                    return value
            time.sleep(LOOK_SECONDS)
        shown = self.run(TEXT)
        raise TimeoutError(f"After {seconds:g} s the page has no {script}; it shows:\n{str(shown)[:2000]}")

    def wait_for_text(self, *texts: str, seconds: float = 60.0) -> None:
        """Wait until the page shows all of some texts."""
        self.wait_for(f"{json.dumps(texts)}.every(text => ({TEXT}).includes(text))", seconds=seconds)

    def click(self, selector: str, text: str = "") -> None:
        """Click the first element of a CSS selector whose text begins with `text`, as soon as there is one."""
        find = f"[...document.querySelectorAll({json.dumps(selector)})]"
        find += f".find(one => one.textContent.trim().startsWith({json.dumps(text)}))"
        self.wait_for(f"(one => one && (one.click(), true))({find})")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, by their names in `KeyboardEvent.key`."""
        for key in keys:
            code = KEY_CODES.get(key, ord(key.upper()[0]))
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            known = {"key": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
            self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def prefer(self, **features: str) -> None:
        """Set what the reader prefers, such as `prefers_color_scheme="dark"`."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def settle(self, seconds: float = 1.0) -> None:
        """Wait until the text of the page has been the same for some seconds: charts are drawn a while after it."""
        text, since = None, time.monotonic()
        while time.monotonic() - since < seconds:
            now = self.run(TEXT)
            if now != text:
                text, since = now, time.monotonic()
            time.sleep(LOOK_SECONDS)

    @contextlib.contextmanager
    def frame(self) -> Iterator["Page"]:
        """Yield the document of the page's sandboxed frame, as a page of its own: it is in another process."""
        with connect(_targets(self._port, "iframe")[0], max_size=None) as connection:
            yield Page(connection, self._port)

    def picture(self, file: Path) -> None:
        """Write what the window shows as PNG."""
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(*, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Start Chromium with one page; it ends with the block, and leaves nothing.

    Raises:
        FileNotFoundError: There is no Chromium on this machine.
    """
    if PROGRAM is None:
        raise FileNotFoundError("There is no chromium on the PATH.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
        process = subprocess.Popen(
            [PROGRAM, *words, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = _port(Path(profile))
            with connect(_targets(port, "page")[0], max_size=None) as connection:
                page = Page(connection, port)
                page.resize(width, height)
                yield page
        finally:
            process.terminate()
            process.wait(timeout=20)


def _port(profile: Path) -> int:
    """Return the port at which the browser listens, once it has said so."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError, IndexError, ValueError):
            port = int(file.read_text().splitlines()[0])
            if _targets(port, "page"):
                return port
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"Chromium did not start within {START_SECONDS:g} s.")


def _targets(port: int, kind: str) -> list[str]:
    """Return the websockets of the browser's documents of a kind."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START_SECONDS) as answer:
        return [str(one["webSocketDebuggerUrl"]) for one in json.load(answer) if one["type"] == kind]
