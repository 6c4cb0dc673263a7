import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import workload
from benchmarks.inference import Run, largest_difference, rank_correlation
from cmi_bench.audio.probe import probe
from cmi_bench.data.rows import load_rows


def of(scores):
    return Run("", 1.0, [{"seconds": {}, "counts": {"failed": 1}, "memory": {"process_gb": 2.0}}], scores.tolist())


def test_the_lower_rank_correlation_of_the_two_tasks_counts():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((20, 4))
    disturbed = scores.copy()
    disturbed[:, 2:] += rng.standard_normal((20, 2))

    expected = spearmanr(scores[:, 2:].ravel(), disturbed[:, 2:].ravel()).statistic
    assert rank_correlation(of(scores), of(disturbed)) == pytest.approx(expected)
    assert rank_correlation(of(scores), of(scores)) == pytest.approx(1)
    assert largest_difference(of(scores), of(scores + 0.5)) == pytest.approx(0.5 / scores.std())


def test_workload_is_two_clips_and_a_reference_that_comes_again(tmp_path, monkeypatch):
    monkeypatch.setattr(workload, "SECONDS", 1.0)
    rows = load_rows(workload.write_workload(tmp_path, 2)).rows

    assert [row.condition for row in rows] == ["text+lyrics+ref"] * 2
    assert rows[0].ref_audio == rows[1].ref_audio
    files = {file for row in rows for file in row.audio_files}
    assert len({(tmp_path / file).read_bytes() for file in files}) == len(files) == 5
    assert all(probe(tmp_path / file).seconds == pytest.approx(1.0, abs=0.1) for file in files)
