"""Gemini in a run of the benchmark, and its conformance."""

import json

import pytest
from fake_gemini import Fault

from cmi_bench.conformance.run import check_model
from cmi_bench.conformance.subject import failures
from cmi_bench.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def words(gemini, tiny, tmp_path):
    return [
        "model=gemini", f"model.base_url={gemini.address}", "model.calls.backoff=0.01", "on_error=record",
        "model.calls.requests_per_minute=100000", f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl",
        "workers=0", "+device=cpu", "metrics.resamples=0", "metrics.report=false", f"cache.dir={tmp_path}/cache",
        f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", f"tracking.artifacts={tmp_path}/artifacts",
    ]  # fmt: skip


def results(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_a_run_pays_once_counts_failures_and_never_shows_the_key(gemini, words, run_here, tmp_path, key, capfd):
    gemini.faults = [
        Fault(text="p1", answer="", finish="SAFETY"),
        Fault(text="p2", status=400, times=1, body={"error": {"code": 400, "message": f"{key} likes no tones"}}),
    ]
    run_here(*words, folder=tmp_path / "first")
    metadata = json.loads((tmp_path / "first/metadata.json").read_text())
    assert metadata["model"]["name"] == "gemini-2.5-pro"
    assert metadata["counts"]["clips"] == 14
    assert metadata["counts"]["failed"] == 2
    assert metadata["model"]["spent_dollars"] == pytest.approx(13 * 0.002875, abs=1e-3)
    failures = [row["inference_error"] for row in results(tmp_path / "first") if row["inference_error"]]
    assert "blocked" in failures[0]
    assert "(key) likes no tones" in failures[1]
    assert len(gemini.asked) == 14

    # Only what failed is asked again, and only as often.
    run_here(*words, "tracking=none", folder=tmp_path / "second")
    assert len(gemini.asked) == 16
    assert json.loads((tmp_path / "second/metadata.json").read_text())["counts"]["failed"] == 1

    # The scores can be lost; the answers behind them are not paid for again.
    for scores in (tmp_path / "cache/scores").glob("*/*.index"):
        scores.unlink()
    run_here(*words, "tracking=none", folder=tmp_path / "third")
    assert len(gemini.asked) == 17
    without_blocked = [
        [row for row in results(tmp_path / name) if row.get("prompt") != "p1"] for name in ("second", "third")
    ]
    assert without_blocked[0] == without_blocked[1]

    said = capfd.readouterr()
    assert key not in said.out + said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    assert [path for path in files if key.encode() in path.read_bytes()] == []


def test_without_network_a_run_ends_with_one_message(words, run_here, tmp_path):
    with pytest.raises(UserError, match="Cannot reach"):
        run_here(*words, "model.base_url=http://127.0.0.1:9", folder=tmp_path / "run")


def test_another_judge_needs_a_price_and_can_be_given_one(gemini, words, run_here, tmp_path):
    few = [*words, "subset=pam", "limit=1", "tracking=none", "model.judge=gemini-9.1-pro"]
    with pytest.raises(UserError, match=r"\+model.prices=\{gemini-9.1-pro:"):
        run_here(*few, folder=tmp_path / "run")
    run_here(*few, "+model.prices={gemini-9.1-pro:{text:1,audio:1,output:5}}", folder=tmp_path / "run")
    assert gemini.asked[0].judge == "gemini-9.1-pro"


DIFFERENT_CLIPS = 8
"""Answers are kept: each is paid for once."""


def test_it_conforms_for_few_questions(judge, gemini, tmp_path):
    assert not failures(check_model(judge(), tmp_path))
    assert len(gemini.asked) == DIFFERENT_CLIPS
