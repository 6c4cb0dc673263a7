"""What `make bench-scale` runs over: rows, requests and results that the commands take, and a model for nothing."""

from types import SimpleNamespace

from benchmarks import scale
from cmi_bench.catalogue.requests import open_requests
from cmi_bench.config import MetricSettings
from cmi_bench.data.rows import load_rows, read_results
from cmi_bench.evaluation.evaluate import evaluate

ROWS = 40


def test_rows_are_read_and_no_two_ask_for_the_same(tmp_path):
    scale.write_audio(tmp_path / "audio")
    scale.write_lines(tmp_path / "rows.jsonl", ROWS, scale.rated_row)
    scale.write_lines(tmp_path / "requests.jsonl", ROWS, scale.request)
    rows = load_rows(tmp_path / "rows.jsonl").rows
    assert len({row.prompt for row in rows}) == ROWS
    assert all((tmp_path / row.audio_a).exists() for row in rows)
    asked = [one for table in open_requests(tmp_path / "requests.jsonl").tables() for one in table.to_pylist()]
    assert [one["audio"] for one in asked] == [row.audio_a for row in rows]


def test_results_of_pairs_are_evaluated_and_better_than_chance(tmp_path):
    scale.write_lines(tmp_path / "pairs.jsonl", 10 * ROWS, scale.pair_result)
    lines = evaluate(read_results(tmp_path / "pairs.jsonl"), MetricSettings(resamples=0), origin="pairs").summary
    assert len(lines) == 2 and all(line.metrics["ACC"] > 0.55 for line in lines)


def test_the_model_tells_prompts_apart_and_folders_not():
    def score(audio, text):
        return scale.Trivial().score_batch([SimpleNamespace(audio=audio, text=text)], 1, 30.0).tolist()

    assert score("/here/0.wav", "a song") == score("/there/0.wav", "a song")
    assert len({str(score("0.wav", f"song {number}")) for number in range(ROWS)}) == ROWS
