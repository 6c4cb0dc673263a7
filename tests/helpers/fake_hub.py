"""A server on loopback that answers as the hub, Zenodo and a raw-file host do, and fails as it is told to."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import on_loopback

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = 200
"""Files below this size are no LFS files on this hub."""


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Fault:
    """What happens to requests whose path contains `path`, so many times."""

    path: str
    status: int = 0
    """Answer so instead; 0 answers as ever."""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    change: Callable[[bytes], bytes] | None = None
    """Answer with another content."""
    seconds_per_chunk: float = 0.0
    times: int = 1_000_000
    method: str = ""


@dataclass
class FakeHub:
    """The server and what it holds."""

    repos: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """Files by ("dataset" or "model", repository)."""
    refs: list[str] = field(default_factory=list)
    """Each repository's first branch, and its tags."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Raw files by path."""
    record: dict[str, bytes] = field(default_factory=dict)
    """Files of Zenodo's record."""
    token: str | None = None
    """What the hub wants as login; None lets everybody in."""
    log: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    address: str = ""

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.path in path and fault.times > 0 and fault.method in ("", method):
                fault.times -= 1
                return fault
        return None

    def prepare_words(self, root: Path) -> list[str]:
        """The command line of a `task=prepare` for which everything comes from here."""
        return [
            "task=prepare",
            "tracking=none",
            f"data.root={root}",
            f"data.jsonl={root}/all_test.jsonl",
            f"sources.hub={self.address}",
            f"sources.zenodo={self.address}/zenodo",
            f"sources.rows={self.address}/raw/data",
        ]

    def requests_for(self, part: str) -> list[Request]:
        return [request for request in self.log if part in request.path]


def etag(content: bytes) -> str:
    if len(content) >= SMALL:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listed(path: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": etag(content)[:40]}
    if len(content) >= SMALL:
        entry["lfs"] = {"oid": etag(content), "size": len(content), "pointerSize": 130}
    return entry


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        url = urlsplit(self.path)
        path = unquote(url.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.log.append(Request(self.command, path, self.headers["Range"], self.headers["Authorization"]))
        fault = self.hub.fault(self.command, path)
        if fault is not None and fault.status:
            return self.send(fault.status, b"no", fault.headers)
        for pattern, handle in ROUTES:
            if found := pattern.fullmatch(path):
                return handle(self, *found.groups(), body=body, fault=fault)
        return self.send(404, b"not found")

    def refuses(self):
        """Answer as the hub does to somebody who is not logged in; return whether it was so."""
        if self.hub.token is None or self.headers["Authorization"] == f"Bearer {self.hub.token}":
            return False
        self.send(401, b'{"error":"Invalid username or password."}')
        return True

    def repo(self, kind, repo):
        files = None if self.refuses() else self.hub.repos.get((kind, repo))
        if files is None and self.hub.token is None:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        return files

    def info(self, kind, repo, revision, *, body, fault):
        if (files := self.repo(kind, repo)) is not None:
            siblings = [{"rfilename": path} for path in files]
            self.json({"id": repo, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})

    def refs(self, kind, repo, *, body, fault):
        if self.repo(kind, repo) is not None:
            refs = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": COMMIT} for name in self.hub.refs]
            self.json({"branches": refs[:1], "tags": refs[1:], "converts": []})

    def tree(self, kind, repo, revision, folder, *, body, fault):
        if (files := self.repo(kind, repo)) is not None:
            below = f"{folder.strip('/')}/" if folder and folder.strip("/") else ""
            self.json([listed(path, content) for path, content in files.items() if path.startswith(below)])

    def paths_info(self, kind, repo, revision, *, body, fault):
        if (files := self.repo(kind, repo)) is not None:
            asked = parse_qs(body.decode())["paths"]
            self.json([listed(path, files[path]) for path in asked if path in files])

    def resolve(self, prefix, repo, revision, path, *, body, fault):
        files = self.repo("dataset" if prefix else "model", repo)
        if files is None:
            return None
        if path not in files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        content = files[path]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(content)}"'}
        if len(content) < SMALL:
            return self.content(content, fault, headers)
        linked = {"X-Linked-Etag": f'"{etag(content)}"', "X-Linked-Size": str(len(content))}
        # Under another name, as the hub's storage is: there nobody may be told who is logged in.
        elsewhere = self.hub.address.replace("127.0.0.1", "localhost")
        location = f"{elsewhere}/cdn/{'datasets/' if prefix else ''}{repo}/{path}"
        return self.send(302, b"", headers | linked | {"Location": location})

    def cdn(self, prefix, repo, path, *, body, fault):
        files = self.hub.repos["dataset" if prefix else "model", repo]
        self.content(files[path], fault)

    def zenodo(self, record, *, body, fault):
        files = [
            {"key": key, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
            for key, content in self.hub.record.items()
        ]
        self.json({"id": int(record), "files": files})

    def zenodo_file(self, record, key, *, body, fault):
        self.content(self.hub.record[key], fault)

    def raw(self, path, *, body, fault):
        if path in self.hub.files:
            self.content(self.hub.files[path], fault)
        else:
            self.send(404, b"404: Not Found")

    def json(self, value):
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def content(self, content, fault, headers=None):
        """Send a file, or the range of it that was asked for."""
        if fault is not None and fault.change is not None:
            content = fault.change(content)
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "bytes=0-").group(1))
        if start and start >= len(content):
            return self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        status = 206 if self.headers["Range"] else 200
        ranged = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if status == 206 else {}
        return self.send(status, content[start:], {"Accept-Ranges": "bytes"} | ranged | (headers or {}), fault)

    def send(self, status, content, headers=None, fault=None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is None or (fault.cut_after is None and not fault.seconds_per_chunk):
            self.wfile.write(content)
            return
        for start in range(0, len(content) if fault.cut_after is None else fault.cut_after, 4096):
            time.sleep(fault.seconds_per_chunk)
            self.wfile.write(content[start : start + 4096][: (fault.cut_after or len(content)) - start])
        if fault.cut_after is not None:
            self.close_connection = True


ROUTES = [
    (re.compile(pattern), handle)
    for pattern, handle in (
        (r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/revision/([^/]+))?", Handler.info),
        (r"/api/(dataset|model)s/([^/]+/[^/]+)/refs", Handler.refs),
        (r"/api/(dataset|model)s/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", Handler.tree),
        (r"/api/(dataset|model)s/([^/]+/[^/]+)/paths-info/([^/]+)", Handler.paths_info),
        (r"/cdn/(datasets/)?([^/]+/[^/]+)/(.+)", Handler.cdn),
        (r"/zenodo/api/records/(\d+)", Handler.zenodo),
        (r"/zenodo/api/records/(\d+)/files/([^/]+)/content", Handler.zenodo_file),
        (r"/raw/(.+)", Handler.raw),
        (r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", Handler.resolve),
    )
]


@contextmanager
def serve(hub: FakeHub):
    """Run the server as long as the context lasts."""
    with on_loopback(Handler, hub=hub) as address:
        hub.address = address
        yield hub
