"""A server on loopback that answers as the hub, Zenodo and a raw-file host do, and fails as it is told to."""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loopback import on_loopback, pieces
from werkzeug import Request as Incoming
from werkzeug import Response

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
    silent: bool = False
    """Never answer."""
    times: int = 1_000_000
    method: str = ""


@dataclass
class FakeHub:
    """The server and what it holds."""

    repos: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """Files by ("dataset" or "model", repository)."""
    revisions: dict[tuple[str, str, str], dict[str, bytes]] = field(default_factory=dict)
    """Files of branches and tags besides the main branch, by (kind, repository, revision)."""
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
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the server goes: silent requests end with it."""

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


def commit_of(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


def listed(path: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": etag(content)[:40]}
    if len(content) >= SMALL:
        entry["lfs"] = {"oid": etag(content), "size": len(content), "pointerSize": 130}
    return entry


class Answers:
    """One request to the fake hub server, and what it answers."""

    def __init__(self, hub: FakeHub, request: Incoming) -> None:
        self.hub = hub
        self.request = request
        self.range = request.headers.get("Range")
        self.authorization = request.headers.get("Authorization")
        self.fault: Fault | None = None

    def answer(self):
        path, method = self.request.path, self.request.method
        self.hub.log.append(Request(method, path, self.range, self.authorization))
        self.fault = self.hub.fault(method, path)
        if self.fault is not None and self.fault.silent:
            self.hub.gone.wait()
        if self.fault is not None and self.fault.status:
            return self.send(self.fault.status, b"no", self.fault.headers)
        for pattern, handle in ROUTES:
            if found := pattern.fullmatch(path):
                return handle(self, *found.groups())
        return self.send(404, b"not found")

    def in_repo(self, kind, repo, answer, revision=None, *, free=False):
        """Answer from a repository's files, or as the hub does to somebody who may not see them."""
        if self.hub.token is not None and not free and self.authorization != f"Bearer {self.hub.token}":
            return self.send(401, b'{"error":"Invalid username or password."}')
        if (kind, repo) not in self.hub.repos:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if revision in (None, "main", COMMIT):
            return answer(self.hub.repos[kind, repo])
        # A sweep's refs stand for states that are all the same here.
        names = [name for *place, name in self.hub.revisions if place == [kind, repo]]
        found = [name for name in names if revision in (name, commit_of(name))]
        if not found and names:
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return answer(self.hub.revisions[kind, repo, found[0]] if found else self.hub.repos[kind, repo])

    def info(self, kind, repo, revision):
        return self.in_repo(kind, repo, lambda files: self.json({
            "id": repo, "sha": commit_of(revision) if (kind, repo, revision) in self.hub.revisions else COMMIT,
            "private": False, "tags": [], "siblings": [{"rfilename": path} for path in files],
        }), revision)  # fmt: skip

    def refs(self, kind, repo):
        refs = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": COMMIT} for name in self.hub.refs]
        return self.in_repo(kind, repo, lambda _: self.json({"branches": refs[:1], "tags": refs[1:], "converts": []}))

    def tree(self, kind, repo, revision, folder):
        below = f"{folder.strip('/')}/" if folder and folder.strip("/") else ""
        return self.in_repo(
            kind,
            repo,
            lambda files: self.json([listed(path, data) for path, data in files.items() if path.startswith(below)]),
            revision,
        )

    def paths_info(self, kind, repo, revision):
        wanted = self.request.form.getlist("paths")
        return self.in_repo(
            kind,
            repo,
            lambda files: self.json([listed(path, files[path]) for path in wanted if path in files]),
            revision,
        )

    def resolve(self, prefix, repo, revision, path):
        return self.in_repo(
            "dataset" if prefix else "model",
            repo,
            lambda files: self.resolved(files, path, f"{prefix or ''}{repo}", revision),
            revision,
        )

    def resolved(self, files, path, place, revision):
        if path not in files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        content = files[path]
        commit = COMMIT if revision == "main" else revision
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag(content)}"'}
        if len(content) < SMALL:
            return self.content(content, headers)
        linked = {"X-Linked-Etag": f'"{etag(content)}"', "X-Linked-Size": str(len(content))}
        # Under another name, as the hub's storage is: there nobody may be told who is logged in.
        elsewhere = self.hub.address.replace("127.0.0.1", "localhost")
        return self.send(302, b"", headers | linked | {"Location": f"{elsewhere}/cdn/{place}/{path}?at={revision}"})

    def cdn(self, prefix, repo, path):
        kind = "dataset" if prefix else "model"
        return self.in_repo(kind, repo, lambda files: self.content(files[path]), self.request.args.get("at"), free=True)

    def zenodo(self, record):
        files = [
            {"key": key, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
            for key, content in self.hub.record.items()
        ]
        return self.json({"id": int(record), "files": files})

    def zenodo_file(self, _record, key):
        return self.content(self.hub.record[key])

    def raw(self, path):
        return self.content(self.hub.files[path]) if path in self.hub.files else self.send(404, b"404: Not Found")

    def json(self, value):
        return self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def content(self, content, headers=None):
        """Answer with a file, or the range of it that was asked for."""
        if self.fault is not None and self.fault.change is not None:
            content = self.fault.change(content)
        start = int(re.fullmatch(r"bytes=(\d+)-", self.range or "bytes=0-").group(1))
        if start and start >= len(content):
            return self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        ranged = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if self.range else {}
        return self.send(
            206 if self.range else 200, content[start:], {"Accept-Ranges": "bytes"} | ranged | (headers or {})
        )

    def send(self, status, content, headers=None):
        fault = self.fault or Fault("")
        response = Response(pieces(content, cut_after=fault.cut_after, seconds=fault.seconds_per_chunk), status)
        response.headers.update((headers or {}) | {"Content-Length": str(len(content))})
        response.autocorrect_location_header = False
        return response


ROUTES = [
    (re.compile(pattern), handle)
    for pattern, handle in (
        (r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/revision/([^/]+))?", Answers.info),
        (r"/api/(dataset|model)s/([^/]+/[^/]+)/refs", Answers.refs),
        (r"/api/(dataset|model)s/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", Answers.tree),
        (r"/api/(dataset|model)s/([^/]+/[^/]+)/paths-info/([^/]+)", Answers.paths_info),
        (r"/cdn/(datasets/)?([^/]+/[^/]+)/(.+)", Answers.cdn),
        (r"/zenodo/api/records/(\d+)", Answers.zenodo),
        (r"/zenodo/api/records/(\d+)/files/([^/]+)/content", Answers.zenodo_file),
        (r"/raw/(.+)", Answers.raw),
        (r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", Answers.resolve),
    )
]


@contextmanager
def serve(hub: FakeHub):
    """Run the server as long as the context lasts."""
    with on_loopback(lambda request: Answers(hub, request).answer()) as address:
        hub.address = address
        try:
            yield hub
        finally:
            hub.gone.set()
