"""When a job is the same job."""

from omegaconf import OmegaConf

from cmi_bench.sweeps.record import fingerprint


def test_it_follows_the_files_and_all_that_changes_a_number(tmp_path):
    (tmp_path / "ckpt").mkdir()
    weights, rows = tmp_path / "ckpt/model.safetensors", tmp_path / "rows.jsonl"
    weights.write_bytes(b"a")
    rows.write_text("{}\n")

    def key(**changed):
        cfg = {
            "model": {"checkpoint": str(weights.parent), "other": None},
            "data": {"root": str(tmp_path), "jsonl": "${data.root}/rows.jsonl"},
            "max_dur": 30,
            "trainer": {"devices": [0]},
        }
        return fingerprint(OmegaConf.create(cfg | changed))

    first = key()
    assert key() == first
    assert key(trainer={"devices": [1]}) == first
    assert key(max_dur=60) != first
    weights.write_bytes(b"ab")
    second = key()
    assert second != first
    rows.write_text("{}\n{}\n")
    assert key() not in (first, second)
