import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from cmi_bench.config import checked
from cmi_bench.errors import UserError
from cmi_bench.hydra_setup import register
from cmi_bench.models.registry import build_model

MODULE = '''
import numpy as np


class Looks:
    """Has sr and score_batch, and inherits from nothing."""

    def __init__(self, checkpoint=None, device="nowhere", size="small"):
        self.checkpoint, self.device, self.size = checkpoint, device, size
        self.sr = 16000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.zeros((len(inputs), 2))


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
    register(project=tmp_path)
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
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
    from cmi_bench.models.base import BenchmarkBatchInput

    model = build("public_adapter:Adapter", checkpoint="x")
    scores = model.score_batch([BenchmarkBatchInput("a.wav", text="abc", lyrics="de")], batch_size=1, max_dur=120.0)
    np.testing.assert_array_equal(scores, [[3, 2]])
