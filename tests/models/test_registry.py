"""Building the model that a configuration names; models that other installed packages offer."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException

from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.hydra_errors import explain
from cmi_bench.hydra_setup import register
from cmi_bench.models import registry
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.registry import InstalledModel, build_model, installed_models
from cmi_bench.task_config import checked

PROJECT = Path(__file__).parents[2]

MODULE = '''
import numpy as np


class Looks:
    """Has sr and score_batch, and inherits from nothing."""

    def __init__(self, checkpoint=None, device="nowhere", size="small"):
        self.checkpoint, self.device, self.size = checkpoint, device, size
        self.sr = 16000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.zeros((len(inputs), 2))

    @classmethod
    def from_file(cls, checkpoint, device):
        return cls(checkpoint=f"file {checkpoint}")


class Plain(Looks):
    def __init__(self):
        super().__init__()


class Needs(Looks):
    def __init__(self, checkpoint):
        super().__init__(checkpoint)


class Anything(Looks):
    def __init__(self, **kwargs):
        super().__init__()
        self.kwargs = kwargs


class Fails(Looks):
    def __init__(self, checkpoint=None):
        from cmi_bench.errors import NotFetchedError, UserError
        raise {"user": UserError("The weights are cut off.", "Get them again."), "bug": KeyError("a bug"),
               "absent": NotFetchedError("The weights are not here.", "Fetch.")}[checkpoint]


class Mute:
    sr = 16000


class Precise(Looks):
    def __init__(self, precision):
        super().__init__()
        self.precision = precision
'''


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch):
    (tmp_path / "own_models.py").write_text(MODULE)
    (tmp_path / "broken_models.py").write_text("import a_package_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_models", None)


def build(name, precision="32", **spec):
    return build_model(
        {"name": "custom", "class_path": name, "checkpoint": None, **spec}, device="cpu", precision=precision
    )


def test_a_class_that_looks_right_gets_checkpoint_device_and_its_own_arguments():
    model = build("own_models:Looks", checkpoint="runs/7", init_kwargs={"size": "large"})
    own = model.implementation
    assert (own.checkpoint, own.device, own.size) == ("runs/7", "cpu", "large")
    assert model.score_batch([], 1, 1.0).shape == (0, 2)


@pytest.mark.parametrize("key", ["_target_", "class_path"])
def test_target_and_class_path_are_two_names_of_one_key(key):
    path = "own_models.Looks" if key == "_target_" else "own_models:Looks"
    own = build_model({key: path, "size": "large"}, device="cpu", precision="32").implementation
    assert (type(own).__name__, own.size) == ("Looks", "large")


def test_a_method_of_a_class_makes_a_model():
    spec = {"_target_": "own_models.Looks.from_file", "checkpoint": "runs/7"}
    assert build_model(spec, device="cpu", precision="32").implementation.checkpoint == "file runs/7"
    with pytest.raises(UserError, match=r"own_models\.Looks has no method 'from_fiel'"):
        build_model(spec | {"_target_": "own_models.Looks.from_fiel"}, device="cpu", precision="32")


def test_nested_targets_are_made_where_it_is_asked_for():
    spec = {"_target_": "own_models.Anything", "part": {"_target_": "collections.Counter", "ab": 2}, "sizes": [1, 2]}
    plain = build_model(spec, device="cpu", precision="32").implementation.kwargs
    assert plain["part"] == spec["part"]
    made = build_model(spec | {"_recursive_": True}, device="cpu", precision="32").implementation.kwargs
    assert (type(made["part"]).__name__, made["part"]["ab"], made["sizes"]) == ("Counter", 2, [1, 2])
    assert type(plain["sizes"]) is list


def test_texts_reach_the_constructor_as_they_are():
    text = "cost ${price} \\${x}"
    assert build("own_models:Looks", checkpoint=text).implementation.checkpoint == text


@pytest.mark.parametrize(("checkpoint", "kind"), [("user", UserError), ("bug", KeyError)])
def test_what_a_constructor_raises_comes_out_as_it_is(checkpoint, kind):
    with pytest.raises(kind) as error:
        build("own_models:Fails", checkpoint=checkpoint)
    assert type(error.value) is kind


def test_files_that_are_not_here_are_task_prepare_s():
    with pytest.raises(UserError) as error:
        build("own_models:Fails", checkpoint="absent")
    assert not isinstance(error.value, NotFetchedError)
    assert error.value.what == "The weights are not here."
    assert error.value.hint.startswith("python run.py task=prepare model=custom")


def test_what_a_constructor_does_not_take_is_not_forced_on_it():
    assert build("own_models:Plain").implementation.device == "nowhere"
    assert build("own_models:Anything").implementation.kwargs == {"device": "cpu"}


def test_precision_is_passed_on_or_refused():
    assert build("own_models:Precise", precision="bf16").implementation.precision == "bf16"
    with pytest.raises(UserError, match="precision of its own"):
        build("own_models:Plain", precision="bf16")


def test_a_model_that_cannot_be_compiled_says_so():
    with pytest.raises(UserError, match="cannot be compiled"):
        build_model({"class_path": "own_models:Plain"}, device="cpu", precision="32", compile=True)


@pytest.mark.parametrize(
    ("name", "spec", "says", "hint"),
    [
        ("own_models:Lokks", {}, "no class 'Lokks'", "Did you mean Looks"),
        ("no_such_module:X", {}, "no module 'no_such_module'", "PYTHONPATH"),
        ("broken_models:X", {}, "importing broken_models failed: No module named 'a_package_nobody_has'", "Install"),
        ("own_models:Mute", {}, "no reward model: it has no score_batch", "score_batch"),
        ("own_models:Needs", {}, "needs checkpoint", "model.checkpoint="),
        ("own_models:Looks", {"init_kwargs": {"siez": 1}}, "takes no option 'siez'", "Did you mean size"),
        ("own_models:Plain", {"checkpoint": "runs/7"}, "takes no option 'checkpoint'", ""),
        ("Looks", {}, "is not a class path", "module:Class"),
        ("", {}, "model.class_path is empty", "module:Class"),
        ("..:X", {}, "is not a class path", "module:Class"),
    ],
)
def test_mistakes_say_what_and_what_to_do(name, spec, says, hint):
    with pytest.raises(UserError) as error:
        build(name, **spec)
    assert says in error.value.what
    assert hint in error.value.hint


@pytest.mark.parametrize("name", ["songeval_rm", "muq_mulan", "clap", "clap_music", "audiobox"])
def test_without_weights_or_network_one_command_helps(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = checked(compose("config", [f"model={name}"]))
    with pytest.raises(UserError) as error:
        build_model(config.model, device="cpu", precision="32")
    assert error.value.hint.startswith(f"python run.py task=prepare model={name}")


def test_an_adapter_of_the_public_repository_runs_unchanged(tmp_path):
    """The public contract: constructor(checkpoint, device, ...), items with `to_dict`, path inputs."""
    (tmp_path / "public_adapter.py").write_text(
        "import numpy as np\n"
        "class Adapter:\n"
        "    def __init__(self, checkpoint: str, config=None, device: str = 'cuda:0', mode='final', sr=24000):\n"
        "        self._sr = sr\n"
        "    @property\n"
        "    def sr(self):\n"
        "        return self._sr\n"
        "    def score_batch(self, inputs, batch_size, max_dur, **kwargs):\n"
        "        payload = [x.to_dict() for x in inputs]\n"
        "        assert set(payload[0]) == {'audio', 'text', 'lyrics', 'ref_audio'}\n"
        "        return np.array([[len(x['text']), len(x['lyrics'])] for x in payload], dtype=np.float32)\n"
    )
    model = build("public_adapter:Adapter", checkpoint="x")
    scores = model.score_batch([BenchmarkBatchInput("a.wav", text="abc", lyrics="de")], batch_size=1, max_dur=120.0)
    np.testing.assert_array_equal(scores, [[3, 2]])


PACKAGE_MODULE = """
class MyRM:
    sr = 24000

    def __init__(self, checkpoint=None, size="small"):
        self.checkpoint, self.size = checkpoint, size

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return [[0.0, 0.0] for _ in inputs]
"""


@pytest.fixture
def package(tmp_path):
    """Install a package with two models, of which one has the name of a shipped one; return where."""
    metadata = tmp_path / "my_pkg-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-pkg\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cmi_bench.models]\nmy_rm = my_pkg:MyRM\nsignal = my_pkg:MyRM\n")
    (tmp_path / "my_pkg.py").write_text(PACKAGE_MODULE)
    return tmp_path


@pytest.fixture
def installed(package, monkeypatch):
    monkeypatch.syspath_prepend(package)
    registry._warn_left_out.cache_clear()
    yield
    ConfigStore.instance().repo.get("model", {}).pop("my_rm.yaml", None)
    sys.modules.pop("my_pkg", None)


def composed(*words):
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return checked(compose("config", list(words)))


def test_it_is_chosen_by_its_name_and_gets_its_options(installed):
    model = composed("model=my_rm", "model.checkpoint=runs/7", "+model.init_kwargs.size=large").model
    assert "my_pkg" not in sys.modules  # nothing of it is imported until it is built
    built = build_model(model, device="cpu", precision="32").implementation
    assert (type(built).__name__, built.checkpoint, built.size) == ("MyRM", "runs/7", "large")
    assert model["name"] == "my_rm"


def test_a_shipped_name_stays_the_shipped_model_and_it_is_said(installed, caplog):
    with caplog.at_level(logging.WARNING):
        assert composed("model=signal").model["_target_"] == "cmi_bench.models.signal.model.SignalBaseline"
    assert "The model signal of the package my-pkg is left out" in caplog.text
    assert installed_models(taken=["signal"]) == [InstalledModel("my_rm", "my_pkg:MyRM", "my-pkg")]


def test_a_misspelt_name_is_answered_with_it(installed):
    with pytest.raises(HydraException) as error:
        composed("model=my_mr")
    assert "Did you mean my_rm" in explain(error.value)


def test_the_list_shows_it(installed, package, caplog):
    with caplog.at_level(logging.WARNING):
        done = run_command("task=list", "run_folders=[]", f"hydra.run.dir={package}/out", cwd=package)
    assert done.returncode == 0, done.stderr
    assert ["model=my_rm", "Of", "the", "installed", "package", "my-pkg."] in map(str.split, done.stdout.splitlines())
    assert (done.stderr + caplog.text).count("left out") == 1
