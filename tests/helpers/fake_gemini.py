"""A server on loopback that answers as the Gemini API does, and fails as it is told to."""

import base64
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loopback import on_loopback, pieces
from werkzeug import Request, Response


@dataclass
class Fault:
    """What happens to questions that hold `text`, so many times."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | str | None = None
    """Answered instead."""
    finish: str = "STOP"
    answer: str | None = None
    """The judge's words instead of the scores."""
    seconds: float = 0.0
    """Spent before the answer."""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    times: int = 1_000_000


@dataclass
class Asked:
    """One call of generateContent."""

    judge: str
    path: str
    key: str | None
    body: dict[str, Any]
    audio: list[bytes]
    """As it was heard, whichever way it came."""
    time: float

    @property
    def words(self) -> str:
        return "\n".join(part.get("text", "") for part in self.body["contents"][0]["parts"])


@dataclass
class Gemini:
    """The service and what it was asked."""

    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    uploads: int = 0
    audio_tokens: int = 100
    output_tokens: int = 50
    address: str = ""
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def working(self):
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def fault(self, words: str) -> Fault:
        with self._lock:
            for fault in self.faults:
                if fault.text in words and fault.times > 0:
                    fault.times -= 1
                    return fault
        return Fault()


def scores(audio: list[bytes], words: str) -> dict[str, Any]:
    """What this judge thinks: settled by all that it was sent."""
    digest = hashlib.sha256(b"".join(audio) + words.encode()).digest()
    return {"remarks": "A song.", "alignment": digest[0] * 100 / 255, "musicality": digest[1] * 100 / 255}


def camel(value: dict[str, Any]) -> dict[str, Any]:
    """Spell the keys in the one way: the service takes both, and the client sends both."""
    return {re.sub(r"_(.)", lambda found: found[1].upper(), key): entry for key, entry in value.items()}


class Answers:
    """One request to the service, and what it answers."""

    def __init__(self, gemini: Gemini, request: Request) -> None:
        self.gemini = gemini
        self.request = request

    def answer(self):
        path, name = self.request.path, self.request.path.rpartition("/")[2]
        if self.request.method == "GET":
            return self.send(self.file(name, "ACTIVE"))
        if self.request.method == "DELETE":
            del self.gemini.files[name]
            return self.send({})
        if path == "/upload/v1/files":
            self.gemini.uploads += 1
            address = f"{self.gemini.address}/up/f{self.gemini.uploads}"
            return self.send({}, {"x-goog-upload-url": address, "x-goog-upload-status": "active"})
        if path.startswith("/up/"):
            self.gemini.files[name] = self.request.get_data()
            return self.send({"file": self.file(name, "PROCESSING")}, {"x-goog-upload-status": "final"})
        if found := re.fullmatch(r"/v1/models/(.+):generateContent", path):
            with self.gemini.working():
                return self.generate(found[1], json.loads(self.request.get_data(), object_hook=camel))
        return self.send({"error": {"code": 404, "status": "NOT_FOUND", "message": path}}, status=404)

    def file(self, name, state):
        return {"name": f"files/{name}", "uri": f"{self.gemini.address}/v1/files/{name}", "state": state}

    def generate(self, judge, body):
        audio = [self.heard(part) for part in body["contents"][0]["parts"] if "text" not in part]
        key = self.request.headers.get("x-goog-api-key")
        asked = Asked(judge, self.request.full_path.rstrip("?"), key, body, audio, time.monotonic())
        self.gemini.asked.append(asked)
        fault = self.gemini.fault(asked.words)
        time.sleep(fault.seconds)
        answer = scores(audio, asked.words)
        if "alignment" not in body["generationConfig"]["responseSchema"]["properties"]:
            del answer["alignment"]
        text = json.dumps(answer) if fault.answer is None else fault.answer
        whole = {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": fault.finish}],
            "usageMetadata": self.usage(),
            "modelVersion": judge,
        }
        return self.send(whole if fault.body is None else fault.body, fault.headers, fault.status, fault.cut_after)

    def heard(self, part):
        if "inlineData" in part:
            return base64.urlsafe_b64decode(part["inlineData"]["data"])
        return self.gemini.files[part["fileData"]["fileUri"].rpartition("/")[2]]

    def usage(self):
        text, audio, output = 1000, self.gemini.audio_tokens, self.gemini.output_tokens
        return {
            "promptTokenCount": text + audio,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": text},
                {"modality": "AUDIO", "tokenCount": audio},
            ],
            "candidatesTokenCount": output,
            "thoughtsTokenCount": 2 * output,
        }

    def send(self, body, headers=None, status=200, cut_after=None):
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        response = Response(pieces(content, cut_after=cut_after), status, content_type="application/json")
        response.headers.update((headers or {}) | {"Content-Length": str(len(content))})
        return response


@contextmanager
def serve(gemini: Gemini):
    """Run the server as long as the context lasts."""
    with on_loopback(lambda request: Answers(gemini, request).answer()) as address:
        gemini.address = address
        yield gemini
