"""From a configuration to what is learnt from: rows, those of test sets left out, those for validation set aside."""

import json
import logging

import pytest

from cmi_bench.config import DataConfig
from cmi_bench.errors import UserError
from cmi_bench.training.data import load_training_data
from cmi_bench.training_config import LossConfig, OnContamination, SamplingConfig, SplitsConfig, TrainConfig, TrainTask


def row(number, split="train", **more):
    return {"source": "MusicEval", "split": split, "audio-path": f"{split}/{number}.wav", "musicality": 3,
            "prompt": f"a piece of music for scene {number} of a film"} | more  # fmt: skip


def task(root, rows):
    (root / "all_train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (root / "all_test.jsonl").write_text("".join(json.dumps(row(number, "test")) + "\n" for number in range(3)))
    data = DataConfig(
        name="benchmark", jsonl=str(root / "all_test.jsonl"), root=str(root),
        train_jsonl=str(root / "all_train.jsonl"), train_root=str(root), manifest=str(root / "manifest.parquet"),
    )  # fmt: skip
    config = TrainTask(data=data, data_root=str(root))
    config.loss, config.sampling, config.train = LossConfig(), SamplingConfig(), TrainConfig()
    config.splits = SplitsConfig(validation=0.2)
    return config


def test_what_is_learnt_from_is_in_no_test_set_and_not_what_is_validated_on(tmp_path, caplog):
    config = task(tmp_path, [row(number) for number in range(23)])
    with pytest.raises(UserError, match="3 of 23 training rows are in a test set"):
        load_training_data(config, tmp_path)
    config.train.on_contamination = OnContamination.drop
    with caplog.at_level(logging.INFO):
        data = load_training_data(config, tmp_path)
    assert (len(data.found.examples), data.checked.condemned) == (23, 3)
    assert (len(data.split.training), len(data.split.validation)) == (16, 4)
    facts = data.facts
    assert facts["validation"] == {"musiceval": {"rows": 20, "validation": 4}}
    assert (facts["like_test_rows"]["prompt"], facts["left_out"], facts["test_rows"]) == (3, 3, {"MusicEval": 3})
    assert facts["test_rows_without_digest"] == 3  # there is no audio at all
    assert "Rows with labels: musiceval 23." in caplog.text
    assert "Compared with the test rows of MusicEval 3. Rows that are like one: by audio 0, by clip 0" in caplog.text
    assert "validation on musiceval 4 of 20 rows (20.0%)" in caplog.text


def test_the_configuration_chooses_sources_and_limits(tmp_path):
    config = task(tmp_path, [row(50 + number) for number in range(20)] + [row(100, source="other")])
    config.limit = 10
    config.sampling = SamplingConfig(sources=["musiceval"])
    data = load_training_data(config, tmp_path)
    assert len(data.split.training) + len(data.split.validation) == 10


@pytest.mark.parametrize(
    ("section", "setting", "says"),
    [("splits", {"by": ["promt"]}, "splits.by"), ("train", {"contamination": ["audi"]}, "train.contamination")],
)
def test_a_name_that_is_wrong_is_told_before_audio_is_read(tmp_path, section, setting, says):
    config = task(tmp_path, [row(50 + number) for number in range(20)])
    (tmp_path / "train").mkdir()
    (tmp_path / "train/50.wav").write_bytes(b"audio")
    for name, value in setting.items():
        setattr(getattr(config, section), name, value)
    with pytest.raises(UserError, match=f"{says}: there is no"):
        load_training_data(config, tmp_path)
    assert not (tmp_path / "manifest.parquet").exists()
