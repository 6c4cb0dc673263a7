"""What is told before torch is imported: model, checkpoint, device, cache."""

import json
import sys

import huggingface_hub.constants
import pytest
from command_line import configured, run_task_here
from fake_hub import FakeHub, serve

from cmi_bench.errors import UserError
from cmi_bench.tasks.preflight import first_line, preflight

WORDS = ("data=mini", "tracking=none", "device=cpu")


def checked(*words):
    config = configured(*WORDS, *words)
    preflight(config)
    return config


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(
        "import json\n\nraise RuntimeError('imported')\n\n\nclass Mine:\n    sr = 8000\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("path", "says", "hint"),
    [
        ("", "model.class_path is empty", "module:Class"),
        ("..:X", "'..:X' is not a class path", "module:Class"),
        ("5", "'5' is not a class path", "module:Class"),
        ("own_models:", "'own_models:' is not a class path", "module:Class"),
        ("own_modells:Mine", "There is no module 'own_modells'", "PYTHONPATH"),
        ("own_models.part:Mine", "There is no module 'own_models.part'", "PYTHONPATH"),
        ("own_models:Mien", "Module own_models has no class 'Mien'", "Did you mean Mine"),
        ("cmi_bench.models.signal.model:Signal", "has no class 'Signal'", "Did you mean SignalBaseline"),
    ],
)
def test_a_class_that_is_not_there_is_told_without_importing_its_module(own_module, tmp_path, path, says, hint):
    with pytest.raises(UserError) as error:
        checked("model=custom", f"model.class_path='{path}'", f"cache.dir={tmp_path}/cache")
    assert says in error.value.what
    assert hint in error.value.hint
    assert "own_models" not in sys.modules


@pytest.mark.parametrize(
    "words",
    [
        ["model=custom", "model.class_path=own_models:Mine"],
        ["model=custom", "model.class_path=own_models:json"],
        ["model=signal", "model._target_=cmi_bench.models.signal.model.SignalBaseline.score"],
        ["model=oracle"],
        ["task=list", "model=cmi_rm", "model.checkpoint=nowhere/at_all/x"],
    ],
)
def test_what_may_be_right_passes(own_module, tmp_path, words):
    assert checked(*words, f"cache.dir={tmp_path}/cache").cache.dir == f"{tmp_path}/cache"


def test_a_checkpoint_that_is_nowhere_is_told_in_both_readings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("cmi_bench.models.hub.getproxies", dict)
    words = ["model=cmi_rm", "cache=off"]
    with pytest.raises(
        UserError, match=r"runs/step_500 is no file or folder here, .*127.0.0.1:9, .*repository"
    ) as error:
        checked(*words, "model.checkpoint=runs/step_500")
    assert "task=prepare model=cmi_rm" in error.value.hint
    (tmp_path / "runs/step_5000").mkdir(parents=True)
    with pytest.raises(UserError, match="no file or folder runs/step_500, and no repository of this name") as error:
        checked(*words, "model.checkpoint=runs/step_500")
    assert "Did you mean step_5000" in error.value.hint
    for name in ("./runs/x", "runs/x/y", "runs/step_5.safetensors"):
        with pytest.raises(UserError, match=f"There is no checkpoint {name}"):
            checked(*words, f"model.checkpoint={name}")
    checked(*words, "model.checkpoint=runs/step_5000")


def test_a_checkpoint_in_the_cache_or_perhaps_on_the_hub_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("cmi_bench.models.hub.getproxies", dict)
    (tmp_path / "hub/models--some--model/snapshots").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    checked("model=cmi_rm", "cache=off", "model.checkpoint=some/model@v1")
    hub = FakeHub(repos={})
    with serve(hub):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        checked("model=cmi_rm", "cache=off", "model.checkpoint=other/model")


@pytest.mark.parametrize(("device", "named"), [("cuda", "all CUDA devices"), ("cuda:3", "cuda:3")])
def test_a_gpu_without_a_driver_is_told(tmp_path, monkeypatch, device, named):
    monkeypatch.setattr("cmi_bench.utils.distributed._has_gpu_driver", lambda: False)
    with pytest.raises(UserError, match=f"Asked for {named}; this machine has no CUDA device: no driver"):
        checked("model=signal", "cache=off", f"device={device}")
    checked("model=signal", "cache=off", "device=cpu_ddp")


def test_the_cpu_has_no_tf32():
    with pytest.raises(UserError, match="precision=tf32 needs a GPU"):
        checked("model=signal", "cache=off", "device=cpu", "precision=tf32")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model=signal"], "Loading signal"),
        (["task=conformance", "model=random"], "Loading random"),
        (["task=evaluate", "results=outputs/a"], "Evaluating outputs/a"),
        (["task=compare", "runs=[a,b]"], "Comparing runs"),
        (["task=leaderboard"], "Making the leaderboard"),
        (["task=prepare"], "Looking for what is missing"),
        (["task=doctor"], "Looking at data, model and environment"),
    ],
)
def test_what_begins_is_said_before_the_libraries_of_the_task_are_imported(words, line, tmp_path, monkeypatch, caplog):
    said = []
    caplog.set_level("INFO", "cmi_bench")
    monkeypatch.setattr("cmi_bench.main.get_method", lambda _: lambda *_: said.extend(caplog.messages))
    run_task_here(*WORDS, "cache=off", *words, folder=tmp_path)
    assert said == [line]


@pytest.mark.parametrize("task", ["list", "evaluate"])
def test_of_what_is_over_at_once_nothing_is_said(task):
    assert first_line(configured(f"task={task}")) == ""


@pytest.mark.parametrize("place", ["file", "/proc/cache"])
def test_a_run_goes_on_without_a_cache_that_cannot_be_written(tmp_path, run_here, tiny, caplog, place):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / place)  # an absolute path stays as it is
    words = ["model=signal", f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "workers=0", "subset=pam"]
    words += ["metrics.resamples=0", "metrics.report=false", "tracking=none", "device=cpu", f"cache.dir={folder}"]
    run_here(*words, folder=tmp_path / "run")
    reason = {"file": "a file is where a folder is needed", "/proc/cache": "No such file or directory"}[place]
    assert f"The cache {folder} cannot be written ({reason})" in caplog.text
    assert "this run goes on without it" in caplog.text
    counts = json.loads((tmp_path / "run/metadata.json").read_text())["counts"]
    assert counts["scored"] == counts["clips"] == 3
