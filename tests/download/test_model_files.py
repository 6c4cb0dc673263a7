"""`task=prepare` and the models that are not CMI-RM: what they are made of, and where it comes from."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from command_line import PROJECT
from safetensors.torch import save_file
from tiny_clap import laion_tensors, save_laion_clap, save_small_clap

from cmi_bench.download.model_files import missing_files, model_files
from cmi_bench.errors import UserError
from cmi_bench.models.clap import Clap
from cmi_bench.models.hub import find_model
from cmi_bench.models.songeval import find_songeval

PARITY = PROJECT / "tests/data/parity/cmi_rm"
SONGEVAL = {file: (PARITY / "songeval" / file).read_bytes() for file in ("config.yaml", "ckpt/model.safetensors")}


@pytest.fixture
def upstream(hub, monkeypatch, tmp_path):
    """The fake hub as this process's hub, with an empty cache."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub.files |= {f"SongEval/{file}": content for file, content in SONGEVAL.items()}
    return hub


def nothing_here(_repo, _file):
    return None


def spec(target, **more):
    return {"_target_": f"cmi_bench.models.{target}", "checkpoint": "Some/Model", **more}


def names(files):
    return [(file.repo, *file.names) for file in files]


EITHER = ("Some/Model", "model.safetensors", "pytorch_model.bin")


def test_files_before_anything_is_here():
    configs = [("Some/Model", file) for file in ("config.json", "preprocessor_config.json", "tokenizer.json")]
    assert names(model_files(spec("clap.Clap"), nothing_here)) == [*configs, EITHER]
    both = [("Some/Model", "config.json"), EITHER]
    assert names(model_files(spec("audiobox.Audiobox"), nothing_here)) == both
    assert names(model_files(spec("muq_mulan.MuQMuLan"), nothing_here)) == both
    muq = spec("songeval.SongEvalRM", checkpoint="data/SongEval", muq="Some/Model")
    assert names(model_files(muq, nothing_here)) == both
    assert names(model_files(spec("cmi_rm.CmiRM"), nothing_here)) == [
        ("Some/Model", "model.safetensors"), ("Some/Model", "config.yaml"),
    ]  # fmt: skip


def test_a_configuration_names_the_next_files(tmp_path):
    named = {"audio_model": {"name": "Open/MuQ"}, "text_model": {"name": "xlm-roberta-base"}}
    (tmp_path / "config.json").write_text(json.dumps(named))
    found = model_files(spec("muq_mulan.MuQMuLan"), lambda _, file: tmp_path / file)
    towers = [("Open/MuQ", "config.json"), ("xlm-roberta-base", "config.json"), ("xlm-roberta-base", "tokenizer.json")]
    assert names(found)[2:] == towers
    assert names(model_files(spec("muq_mulan.MuQMuLan", checkpoint=str(tmp_path)), nothing_here)) == towers


def test_trained_heads_need_what_their_backbone_does(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"backbone": spec("audiobox.Audiobox"), "heads": [{}]}))
    backbone = names(model_files(spec("audiobox.Audiobox"), nothing_here))
    assert names(model_files(spec("trained.TrainedModel", checkpoint=str(tmp_path)), nothing_here)) == backbone
    on_hub = spec("trained.TrainedModel", checkpoint="Me/heads")
    own = [("Me/heads", "model.safetensors"), ("Me/heads", "config.yaml")]
    assert names(model_files(on_hub, nothing_here)) == own
    assert names(model_files(on_hub, lambda repo, _: config if repo == "Me/heads" else None)) == own + backbone
    elsewhere = on_hub | {"backbone": "Other/Model"}
    found = names(model_files(elsewhere, lambda repo, _: config if repo == "Me/heads" else None))
    assert found[2:] == [("Other/Model", "config.json"), ("Other/Model", *EITHER[1:])]


@pytest.mark.parametrize("encoders", ["Some/CMI-RM", None])
def test_a_head_of_cmi_rm_needs_the_encoders_that_it_names(tmp_path, encoders):
    save_file({"score_projector.3.bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    section = {"model_name": "Open/MuLan", "encoders": encoders}
    (tmp_path / "config.yaml").write_text(json.dumps({"model": section}))
    found = names(model_files(spec("cmi_rm.CmiRM", checkpoint=str(tmp_path)), nothing_here))
    base = ("Open/MuLan", "model.safetensors", "pytorch_model.bin")
    own = [("Some/CMI-RM", "model.safetensors"), ("Open/MuLan", "config.json")]
    assert found == (own if encoders else [("Open/MuLan", "config.json"), base])


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_clap_comes_in_either_format(upstream, prepare, tmp_path, weights):
    files = {path.name: path.read_bytes() for path in save_small_clap(tmp_path / "small").iterdir()}
    files[weights] = files.pop("model.safetensors")
    upstream.repos["model", "laion/clap-htsat-unfused"] = files | {"vocab.json": b"not needed"}
    prepare("model=clap", "subset=pam")
    found = find_model(
        "laion/clap-htsat-unfused",
        ["config.json", "tokenizer.json"],
        weights=("model.safetensors", "pytorch_model.bin"),
    )
    assert found.weights.name == weights
    assert found.weights.read_bytes() == files[weights]
    assert not (found.folder / "vocab.json").exists()
    assert missing_files({"_target_": "cmi_bench.models.clap.Clap", "checkpoint": "laion/clap-htsat-unfused"}) == []
    upstream.log.clear()
    prepare("model=clap", "subset=pam")
    assert upstream.log == []


def test_a_revision_is_fetched_and_found_as_such(upstream, prepare, tmp_path):
    files = {path.name: path.read_bytes() for path in save_small_clap(tmp_path / "small").iterdir()}
    upstream.repos["model", "Some/Clap"] = files
    prepare("model=clap", "model.checkpoint=Some/Clap@v2", "subset=pam")
    commits = [request.path for request in upstream.log if request.path.startswith("/api/models/Some/Clap/revision/")]
    assert set(commits) == {"/api/models/Some/Clap/revision/v2"}
    refs = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--Some--Clap" / "refs"
    assert [path.name for path in refs.iterdir()] == ["v2"]
    there, elsewhere = (
        {"_target_": "cmi_bench.models.clap.Clap", "checkpoint": f"Some/Clap@{one}"} for one in ("v2", "v3")
    )
    assert missing_files(there) == []
    assert len(missing_files(elsewhere)) == 4


def test_laion_s_clap_is_fetched_and_converted_once(upstream, prepare, root, tmp_path):
    original = save_laion_clap(tmp_path)
    upstream.repos["model", "lukewys/laion_clap"] = {original.name: original.read_bytes()}
    upstream.repos["model", "FacebookAI/roberta-base"] = {"tokenizer.json": (tmp_path / "tokenizer.json").read_bytes()}
    target = root / "LAION-CLAP" / f"{original.stem}.safetensors"
    words = ("model=clap_music", f"model.checkpoint={target}".replace(" ", "\\ "), "subset=pam")
    prepare(*words)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    model = Clap(str(target), tokenizer="FacebookAI/roberta-base")
    assert model.embed_texts(["music"])[0].shape == (1, 16)
    upstream.log.clear()
    prepare(*words)
    assert upstream.log == []


def test_a_file_that_is_not_laion_s_is_not_converted(upstream, prepare, root, tmp_path):
    tensors = laion_tensors()
    del tensors["audio_projection.0.bias"]
    original = save_laion_clap(tmp_path, tensors)
    upstream.repos["model", "lukewys/laion_clap"] = {original.name: original.read_bytes()}
    target = root / "LAION-CLAP" / f"{original.stem}.safetensors"
    with pytest.raises(UserError, match=r"missing tensor audio_projection\.0\.bias"):
        prepare("model=clap_music", f"model.checkpoint={target}".replace(" ", "\\ "), "subset=pam",
                f"model.tokenizer={tmp_path}")  # fmt: skip
    assert not target.exists()


def test_the_revision_that_is_named_is_fetched_and_found(upstream, prepare, tmp_path):
    files = {path.name: path.read_bytes() for path in save_small_clap(tmp_path / "small").iterdir()}
    other = {path.name: path.read_bytes() for path in save_small_clap(tmp_path / "other", seed=1).iterdir()}
    assert files["model.safetensors"] != other["model.safetensors"]
    upstream.repos["model", "Some/Clap"] = files
    upstream.revisions["model", "Some/Clap", "step_500"] = other
    prepare("model=clap", "model.checkpoint=Some/Clap@step_500", "subset=pam")
    found = find_model("Some/Clap@step_500", ["config.json"])
    assert found.weights.read_bytes() == other["model.safetensors"]
    blobs = [blob.read_bytes() for blob in (tmp_path / "cache").rglob("blobs/*") if blob.is_file()]
    assert files["model.safetensors"] not in blobs  # nothing of the main branch came
    prepare("model=clap", "model.checkpoint=Some/Clap", "subset=pam")
    assert find_model("Some/Clap", ["config.json"]).weights.read_bytes() == files["model.safetensors"]
    with pytest.raises(UserError, match="no revision nowhere"):
        prepare("model=clap", "model.checkpoint=Some/Clap@nowhere", "subset=pam")


def test_songeval_comes_from_its_repository(upstream, prepare, root):
    where = f"sources.songeval={upstream.address}/raw/SongEval"
    copy = str(root / "SongEval").replace(" ", "\\ ")
    words = ("model=songeval_rm", f"model.checkpoint={copy}", f"model.muq={PARITY}/muq", "subset=pam", where)
    prepare(*words)
    for file, content in SONGEVAL.items():
        assert (root / "SongEval" / file).read_bytes() == content
    assert find_songeval(str(root / "SongEval")).weights == root / "SongEval/ckpt/model.safetensors"
    upstream.log.clear()
    prepare(*words)
    assert upstream.log == []
    (root / "SongEval/ckpt/model.safetensors").write_bytes(b"cut off")
    prepare(*words)
    assert [Path(request.path).name for request in upstream.log] == ["model.safetensors"]
    assert (root / "SongEval/ckpt/model.safetensors").read_bytes() == SONGEVAL["ckpt/model.safetensors"]


def test_a_checkpoint_of_one_s_own_is_left_alone(upstream, prepare, tmp_path):
    where = f"sources.songeval={upstream.address}/raw/SongEval"
    prepare("model=songeval_rm", f"model.checkpoint={tmp_path}/mine", f"model.muq={PARITY}/muq", "subset=pam", where)
    assert not upstream.requests_for("SongEval")
    assert not (tmp_path / "mine").exists()


def test_songeval_gone_from_upstream(upstream, prepare, root):
    copy = str(root / "SongEval").replace(" ", "\\ ")
    with pytest.raises(UserError, match=r"(?s)SongEval's repository has no .*sources\.songeval="):
        prepare(
            "model=songeval_rm", f"model.checkpoint={copy}", f"model.muq={PARITY}/muq", "subset=pam",
            f"sources.songeval={upstream.address}/raw/elsewhere",
        )  # fmt: skip
