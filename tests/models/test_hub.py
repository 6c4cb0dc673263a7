"""Where models' files are found: folders, the hub (a stand-in on this machine), its cache."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pytest

from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.models.checkpoint_names import parse_hub_name
from cmi_bench.models.hub import find_checkpoint, find_folder, find_model, is_hub_id

SHA = "0123456789abcdef0123456789abcdef01234567"
FILES = {"model.safetensors": b"weights", "config.yaml": b"model: {}\n", "config.json": b"{}", "README.md": b"much"}


@dataclass
class Hub:
    """What the stand-in answers with, and what it was asked for."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"Some/Model": FILES})
    refuse_files: tuple[int, str] | None = None
    """Status and error code of every file, as for a gated repository."""
    refuse_all: tuple[int, str] | None = None
    downloads: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, method, path):
        """Return status, headers and body."""
        self.asked.append(path)
        parts = path.partition("?")[0].strip("/").split("/")
        repo = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if self.refuse_all:
            return self.refused(*self.refuse_all)
        if repo not in self.repos:
            return self.refused(401, "RepoNotFound")
        files = self.repos[repo]
        if parts[0] == "api":
            tree = [{"type": "file", "path": n, "size": len(b), "oid": oid(b)} for n, b in files.items()]
            info = {"id": repo, "sha": SHA, "siblings": [{"rfilename": name} for name in files]}
            return 200, {"Content-Type": "application/json"}, json.dumps(tree if "tree" in parts else info).encode()
        if self.refuse_files:
            return self.refused(*self.refuse_files)
        body = files[parts[-1]]
        if method == "GET":
            self.downloads.append(parts[-1])
        return 200, {"ETag": f'"{oid(body)}"', "X-Repo-Commit": SHA}, body

    @staticmethod
    def refused(status, code):
        return status, {"X-Error-Code": code, "X-Error-Message": code}, b""


def oid(content):
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on a loopback port, with an empty cache."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            status, headers, body = hub.answer(self.command, self.path)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = respond  # noqa: N815 (the base class's names)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    """A checkpoint's folder on disk."""
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "config.yaml"):
        (folder / name).write_bytes(FILES[name])
    return folder


def test_folder_and_file(folder):
    files = find_checkpoint(str(folder))
    assert files == (folder / "model.safetensors", folder / "config.yaml")
    assert find_checkpoint(str(folder / "model.safetensors")) == files


def test_configuration_in_the_folder_above_or_named(folder, tmp_path):
    (folder / "ckpt").mkdir()
    weights = (folder / "model.safetensors").rename(folder / "ckpt" / "step.safetensors")
    assert find_checkpoint(str(weights)).config == folder / "config.yaml"
    other = (folder / "config.yaml").rename(tmp_path / "other.yaml")
    assert find_checkpoint(str(weights), str(other)) == (weights, other)


@pytest.mark.parametrize(
    ("absent", "given", "config", "what"),
    [
        ("model.safetensors", "", None, "mine holds no model.safetensors"),
        ("config.yaml", "", None, "no config.yaml beside .*mine/model.safetensors"),
        ("", "/nowhere.safetensors", None, "There is no checkpoint .*nowhere.safetensors"),
        ("", "/config.yaml", None, "config.yaml is no .safetensors file"),
        ("", "", "nowhere.yaml", "There is no configuration nowhere.yaml"),
    ],
)
def test_what_is_not_on_disk(folder, absent, given, config, what):
    if absent:
        (folder / absent).unlink()
    with pytest.raises(UserError, match=what):
        find_checkpoint(f"{folder}{given}", config)


def test_downloaded_once_and_only_what_is_needed(hub):
    files = find_checkpoint("Some/Model")
    assert [path.read_bytes() for path in files] == [FILES["model.safetensors"], FILES["config.yaml"]]
    assert sorted(hub.downloads) == ["config.yaml", "model.safetensors"]
    assert find_checkpoint("Some/Model") == files
    assert len(hub.downloads) == 2


def test_a_revision_is_a_copy_of_its_own(hub, tmp_path):
    files = find_checkpoint("Some/Model@step_5")
    assert files.weights.read_bytes() == FILES["model.safetensors"]
    assert (tmp_path / "cache/models--Some--Model/refs/step_5").read_text() == SHA
    assert any("/revision/step_5" in path for path in hub.asked)
    hub.refuse_all = (503, "")
    assert find_checkpoint("Some/Model@step_5") == files
    with pytest.raises(UserError, match=r"(?s)Some/Model@main.*hf download Some/Model --revision main model.safe"):
        find_checkpoint("Some/Model@main")


def test_no_such_revision(hub):
    hub.refuse_all = (404, "RevisionNotFound")
    with pytest.raises(UserError, match=r"(?s)Some/Model has no revision step_6.*after the @"):
        find_checkpoint("Some/Model@step_6")


def test_cached_is_enough_offline(hub, monkeypatch):
    files = find_checkpoint("Some/Model")
    hub.refuse_all = (503, "")
    assert find_checkpoint("Some/Model") == files
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert find_checkpoint("Some/Model") == files
    with pytest.raises(UserError, match=r"(?s)Some/Model.*hf download Some/Model config.json"):
        find_folder("Some/Model", ["config.json"], named_in=files.config)


def test_offline_without_a_copy(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"(?s)not in the hub's cache.*hf download Some/Model model.safetensors config"):
        find_checkpoint("Some/Model")


def test_unreachable(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"(?s)not in the hub's cache.*ConnectError.*hf download Some/Model"):
        find_checkpoint("Some/Model")


def test_server_error(hub):
    hub.refuse_all = (503, "")
    with pytest.raises(UserError, match=r"(?s)not in the hub's cache.*503.*hf download Some/Model"):
        find_checkpoint("Some/Model")


@pytest.mark.parametrize("status", [401, 403])
def test_gated(hub, status):
    hub.refuse_files = (status, "GatedRepo")
    with pytest.raises(UserError, match=r"(?s)granted access.*hf auth login, then: hf download Some/Model") as caught:
        find_checkpoint("Some/Model")
    assert "https://huggingface.co/Some/Model" in caught.value.hint


def test_login_without_the_right(hub):
    hub.refuse_all = (403, "")
    with pytest.raises(UserError, match=r"(?s)granted access.*hf auth login"):
        find_checkpoint("Some/Model")


@pytest.mark.parametrize("name", ["No/Model", "nomodel"])
def test_no_such_repository(hub, name):
    with pytest.raises(UserError, match=rf"(?s)There is no {name} here, and none on the hub.*hf auth login"):
        find_checkpoint(name)


def test_file_not_in_the_repository(hub):
    hub.repos["Some/Model"] = {"config.yaml": b""}
    with pytest.raises(UserError, match=r"(?s)Some/Model.* has no model.safetensors"):
        find_checkpoint("Some/Model")


def test_name_the_hub_refuses(hub):
    with pytest.raises(UserError, match=r"There is no some--model here, and the hub knows no such name"):
        find_checkpoint("some--model")


def test_base_beside_the_checkpoint_comes_before_the_hub(hub, folder):
    named_in = folder / "config.yaml"
    base = folder.parent / "Some" / "Model"
    assert find_folder("Some/Model", ["config.json"], named_in=named_in).is_relative_to(folder.parents[1] / "cache")
    base.mkdir(parents=True)
    with pytest.raises(UserError, match=r"Some/Model holds no config.json"):
        find_folder("Some/Model", ["config.json"], named_in=named_in)
    (base / "config.json").write_text("{}")
    assert find_folder("Some/Model", ["config.json"], named_in=named_in) == base
    assert find_folder(str(base), ["config.json"], named_in=named_in) == base
    with pytest.raises(UserError, match=r"config.yaml names ../nowhere, but there is no such folder"):
        find_folder("../nowhere", ["config.json"], named_in=named_in)


EITHER = ("model.safetensors", "weights.bin")


def test_a_model_s_folder_or_the_weights_in_it(folder):
    wanted = (folder, folder / "model.safetensors")
    assert find_model(str(folder), ["config.yaml"]) == wanted
    assert find_model(str(folder / "model.safetensors"), ["config.yaml"]) == wanted
    (folder / "weights.bin").write_bytes(b"")
    assert find_model(str(folder), [], weights=EITHER) == wanted
    assert find_model(str(folder / "weights.bin"), [], weights=EITHER).weights == folder / "weights.bin"
    with pytest.raises(UserError, match=r"mine holds no config\.json"):
        find_model(str(folder), ["config.json"])
    with pytest.raises(UserError, match=r"There is no model .*config\.yaml"):
        find_model(str(folder / "config.yaml"), [])
    with pytest.raises(UserError, match=r"There is no model .*nowhere"):
        find_model(str(folder / "nowhere"), [])


@pytest.mark.parametrize("weights", EITHER)
def test_a_model_on_the_hub_under_either_name(hub, weights):
    hub.repos["Some/Model"] = {"config.json": b"{}", weights: b"tensors"}
    found = find_model("Some/Model", ["config.json"], weights=EITHER)
    assert found.weights.read_bytes() == b"tensors"
    assert sorted(hub.downloads) == sorted(["config.json", weights])
    hub.refuse_all = (503, "")
    assert find_model("Some/Model", ["config.json"], weights=EITHER) == found


def test_a_model_under_neither_name(hub):
    hub.repos["Some/Model"] = {"config.json": b"{}"}
    with pytest.raises(NotFetchedError, match=r"Some/Model.* has no weights\.bin"):
        find_model("Some/Model", ["config.json"], weights=EITHER)
    with pytest.raises(NotFetchedError, match=r"(?s)has no model\.safetensors.*hf download Some/Model"):
        find_model("Some/Model", ["config.json"])


@pytest.mark.parametrize(
    ("name", "is_one"), [("a/b", True), ("xlm-roberta-base", True), ("/a/b", False), ("a/b/c", False)]
)
def test_names_that_may_be_of_the_hub(name, is_one):
    assert is_hub_id(name) is is_one


@pytest.mark.parametrize("name", ["/runs/a", "./a/b", "a/b/c", "a/b@", "a b/c", "a/b@x y"])
def test_what_is_no_name_on_the_hub(name):
    assert parse_hub_name(name) is None
