"""Ask a real browser about a page, without a driver: a script in the page notes what it sees, Chromium dumps it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DARK, LIGHT = 0, 1
"""Blink's `preferredColorScheme`."""


class Seen(NamedTuple):
    found: Any
    """What the script returned."""
    console: list[str]
    """What the page wrote to the console, errors of every kind among it."""


def ask(page: Path, script: str, *, scheme: int = LIGHT) -> Seen:
    """Open a copy of a page, beside it, that ends with a script; return what its promise holds."""
    asked = page.with_name("asked.html")
    note = f"""<script>(async () => {{
      const found = await (async () => {{ {script} }})();
      const note = document.createElement("pre");
      note.id = "found";
      note.textContent = JSON.stringify(found);
      document.body.append(note);
    }})();</script>"""
    asked.write_text(page.read_text().replace("</body>", f"{note}</body>"))
    words = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", "--allow-file-access-from-files"),
        *("--enable-logging=stderr", "--virtual-time-budget=20000", f"--user-data-dir={page.parent / 'profile'}"),
        *(f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom", asked.as_uri()),
    ]
    done = subprocess.run([str(BROWSER), *words], capture_output=True, text=True, check=True, timeout=120)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, f"the script did not finish: {done.stderr[-2000:]}"
    return Seen(json.loads(html.unescape(match[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line])
