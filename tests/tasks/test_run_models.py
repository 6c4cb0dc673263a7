"""The models that a run names beside its own, and mistakes about them."""

import pytest
from omegaconf import OmegaConf

from cmi_bench.config import Precision
from cmi_bench.errors import UserError
from cmi_bench.tasks.run_models import configs_of_models
from cmi_bench.training_config import EmbedConfig, EmbedTask


def asked(*also):
    return EmbedTask(model={"name": "cmi_rm"}, precision=Precision.bf16, embed=EmbedConfig(also=list(also)))


def test_each_model_has_its_own_keys_and_all_share_the_rest(monkeypatch):
    monkeypatch.setattr("cmi_bench.tasks.run_models._typed", lambda: ["precision=bf16", "max_dur=7"])
    found = configs_of_models(asked("clap", "audiobox model.axis=CE precision=32"))
    assert list(found) == ["cmi_rm", "clap", "audiobox model.axis=CE precision=32"]
    own, clap, audiobox = found.values()
    assert (own.model["name"], clap.model["name"], audiobox.model["name"]) == ("cmi_rm", "clap", "audiobox")
    assert OmegaConf.create(audiobox.model).axis == "CE"
    assert [one.precision for one in found.values()] == [Precision.bf16, Precision.bf16, Precision("32")]


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ("cmi_rm", "embed.also names cmi_rm again."),
        ("clap batch_size=2", "embed.also: 'batch_size=2' is no key of a model."),
        ("model=clap", "embed.also: 'model=clap' begins with no model's name."),
        ("clap '", 'embed.also: "clap \'" cannot be read (No closing quotation).'),
        ("audio_statistic", "audio_statistics"),
        ("clap model.checkpoin=x", "checkpoint"),
    ],
)
def test_mistakes_are_answered(also, says):
    with pytest.raises(UserError) as error:
        configs_of_models(asked(also))
    assert says in str(error.value)
