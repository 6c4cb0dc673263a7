"""Known answers, and what ties, failures and missing labels do under each protocol."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scored_rows import VALID, VALID_PAIR, arena, clip, clips, cmi

from cmi_bench.config import MetricSettings
from cmi_bench.errors import UserError
from cmi_bench.evaluation.evaluate import Status, evaluate

PROTOCOLS = ["strict", "paper"]
MOS = np.random.default_rng(0).permutation(np.linspace(1, 5, 40)).tolist()


def summary_of(rows, protocol="strict"):
    return evaluate(rows, MetricSettings(protocol=protocol, resamples=0)).summary


def only(rows, protocol="strict"):
    (record,) = summary_of(rows, protocol)
    return record


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_oracle_gets_one_and_its_reverse_minus_one(protocol, sign):
    record = only(clips(MOS, [sign * label for label in MOS]), protocol)
    assert record.n == 40
    assert record.metrics == {name: pytest.approx(sign) for name in ("SRCC", "LCC", "K-Tau")}
    assert (record.status, record.note) == (Status.OK, "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_oracle_of_pairs_gets_one_and_its_reverse_nothing(protocol):
    rows = [arena("A", 1, 0), arena("B", 0, 1), arena("model_a", 2, 1)]
    assert only(rows, protocol).metrics == {"ACC": 1.0}
    reverse = [arena("B", 1, 0), arena("A", 0, 1), arena("model_b", 2, 1)]
    assert only(reverse, protocol).metrics == {"ACC": 0.0}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_scores_are_near_chance(protocol):
    generator = np.random.default_rng(1)
    pairs = [arena(str(generator.choice(["A", "B"])), *generator.normal(size=2)) for _ in range(2000)]
    singles = clips(generator.uniform(1, 5, 2000), generator.normal(size=2000))
    by_dataset = {record.dataset: record.metrics for record in summary_of(pairs + singles, protocol)}
    assert by_dataset["MusicArena"]["ACC"] == pytest.approx(0.5, abs=0.05)
    assert all(abs(value) < 0.1 for value in by_dataset["MusicEval"].values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_constant_prediction_has_no_correlation_and_says_so(protocol):
    record = only(clips(MOS, [0.5] * 40), protocol)
    assert record.metrics == {"SRCC": None, "LCC": None, "K-Tau": None}
    assert record.status is Status.UNDEFINED
    assert record.note == "SRCC, LCC, K-Tau undefined: constant prediction"


def test_all_ties_are_half_under_strict_and_b_under_paper():
    rows = [arena("A", 1, 1)] * 3 + [arena("B", 1, 1)] + [arena("both", 1, 1)]
    strict, paper = only(rows), only(rows, "paper")
    assert strict.metrics["ACC"] == pytest.approx((4 * 0.5 + 1) / 5)
    assert (strict.n_tied_prediction, strict.n_tied_label) == (5, 1)
    assert paper.metrics["ACC"] == pytest.approx((0 * 3 + 1 + 0.5) / 5)
    assert (paper.n_tied_prediction, paper.n_tied_label) == (0, 1)


@pytest.mark.parametrize("failure", [{"inference_valid_a": True, "inference_valid_b": False}, {}])
@pytest.mark.parametrize("score", [None, math.nan])
def test_all_failed_pairs_score_nothing_and_are_counted(failure, score):
    rows = [arena("A", None, None, predicted_musicality=score, **failure)] * 4
    record = only(rows)
    assert (record.n, record.n_failed, record.metrics["ACC"], record.status) == (4, 4, 0.0, Status.OK)
    assert record.note == "4 failed, scored 0"


def test_all_failed_clips_leave_no_correlation():
    record = only(clips(MOS, [None] * 40, inference_valid_a=False))
    assert (record.n, record.n_failed, record.status) == (0, 40, Status.UNDEFINED)
    assert record.note == "SRCC, LCC, K-Tau undefined: no row; 40 failed, left out"


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf, "", "oops"])
def test_a_failed_pair_costs_its_credit_under_strict(bad):
    rows = [arena("A", 1, 0), arena("A", 1, 0, predicted_musicality_b=bad, predicted_preference=None)]
    strict, paper = only(rows), only(rows, "paper")
    assert (strict.n, strict.n_failed, strict.metrics["ACC"]) == (2, 1, 0.5)
    assert (paper.n, paper.n_failed, paper.metrics["ACC"]) == (1, 1, 1.0)
    assert paper.note == "1 failed, left out"


def test_a_failed_clip_has_the_worst_rank_under_strict_and_is_left_out_under_paper():
    rows = [*clips([1, 2, 3], [1, 2, 3]), clip(4, None)]
    strict, paper = only(rows), only(rows, "paper")
    assert (paper.n, paper.n_failed, paper.metrics["SRCC"], paper.note) == (
        3,
        1,
        pytest.approx(1.0),
        "1 failed, left out",
    )
    # The label is among the highest, so its score is made the lowest of the others.
    assert strict.metrics == only(clips([1, 2, 3, 4], [1, 2, 3, 1])).metrics
    assert (strict.n, strict.n_failed, strict.note) == (4, 1, "1 failed, ranked worst")
    low = only([*clips([2, 3, 4], [2, 3, 4]), clip(1, None)])
    assert low.metrics == only(clips([2, 3, 4, 1], [2, 3, 4, 4])).metrics


@pytest.mark.parametrize("chosen", ["best judged", "worst judged", "any"])
def test_failures_flatter_no_correlation(chosen):
    generator = np.random.default_rng(0)
    label = generator.uniform(1, 5, 200)
    score = label + generator.normal(0, 1.5, 200)
    order = {"best judged": np.abs(score - label), "worst judged": -np.abs(score - label), "any": generator.random(200)}
    failed = np.argsort(order[chosen])[:20]
    answered = [None if i in failed else float(value) for i, value in enumerate(score)]
    full, strict = only(clips(label, score)).metrics, only(clips(label, answered)).metrics
    assert all(strict[name] < full[name] - 0.02 for name in ("SRCC", "LCC", "K-Tau"))


def test_a_number_from_a_failed_inference_is_not_believed():
    rows = [arena("A", 1, 0, **VALID_PAIR), arena("A", 1, 0, inference_valid_a=True, inference_valid_b=False)]
    assert (only(rows).n_failed, only(rows).metrics["ACC"]) == (1, 0.5)
    # As it stands in the file, it counts.
    assert only(rows, "paper").metrics["ACC"] == 1.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("nothing", [None, "", math.nan])
def test_rows_without_a_label_are_not_evaluated_and_counted(protocol, nothing):
    pair = only([arena("A", 1, 0), arena(nothing, 1, 0), arena(nothing, None, None)], protocol)
    assert (pair.n, pair.n_unlabelled, pair.n_failed, pair.metrics["ACC"]) == (1, 2, 0, 1.0)
    single = only([*clips([1, 2, 3], [1, 2, 3]), clip(nothing, 9)], protocol)
    assert (single.n, single.n_unlabelled, single.metrics["SRCC"]) == (3, 1, pytest.approx(1.0))


@pytest.mark.parametrize("row", [arena("banana", 1, 0), clip("good", 1), clip(7, 1)])
def test_a_label_that_is_not_understood_is_an_error_that_names_the_row(row):
    rows = [clip(1, 1), arena("A", 1, 0), row]
    with pytest.raises(UserError, match=r"run/results\.jsonl, row 3: the field '(preference|musicality)': "):
        evaluate(rows, origin="run/results.jsonl")


def test_a_label_that_is_not_understood_is_dropped_under_paper():
    assert only([arena("banana", 1, 0), arena("A", 1, 0)], "paper").n == 1
    assert only([*clips([1, 2, 3], [1, 2, 3]), clip("good", 1)], "paper").n == 3


@pytest.mark.parametrize("label", ["both", "neither", "TIE", "BOTH_BAD"])
def test_every_spelling_of_a_tie_is_a_label_both(label):
    record = only([arena(label, 1, 0)])
    assert (record.n_tied_label, record.metrics["ACC"]) == (1, 0.5)


@pytest.mark.parametrize(("label", "n"), [("both", 2), ("neither", 2), ("TIE", 1), ("BOTH_BAD", 1), ("tie", 1)])
def test_paper_drops_the_ties_that_the_public_evaluator_does_not_know(label, n):
    assert only([arena(label, 1, 0), arena("A", 1, 0)], "paper").n == n
    assert only([arena("A", 1, 0), arena("A", 1, 0, predicted_preference=label)], "paper").n == n


@pytest.mark.parametrize("written", ["both", "TIE", "BOTH_BAD", "neither"])
def test_a_written_tie_is_no_answer_a(written):
    row = {key: value for key, value in arena("A", 1, 0).items() if not key.startswith("predicted_musicality")}
    record = only([row | {"predicted_preference": written}] * 2)
    assert (record.metrics["ACC"], record.n_tied_prediction, record.n_failed) == (0.5, 2, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_few_rows(protocol):
    assert summary_of([], protocol) == []
    unlabelled, one, two = (only(rows, protocol) for rows in ([clip(None, 1)], [clip(2, 1)], clips([2, 3], [0, 1])))
    assert (unlabelled.n, unlabelled.note) == (0, "SRCC, LCC, K-Tau undefined: no row")
    assert (one.n, one.note) == (1, "SRCC, LCC, K-Tau undefined: one row only")
    assert (two.n, two.status, two.metrics["K-Tau"]) == (2, Status.OK, pytest.approx(1.0))
    assert only([arena("A", 1, 0)], protocol).metrics == {"ACC": 1.0}
    assert only([arena(None, 1, 0)], protocol).metrics == {"ACC": None}


def test_without_scores_the_preference_as_stated_is_taken():
    row = arena("A", 1, 0)
    stated = {key: value for key, value in row.items() if not key.startswith("predicted_musicality")}
    rows = [stated, stated | {"predicted_preference": "both"}, stated | {"predicted_preference": None}]
    record = only(rows)
    assert (record.n, record.n_failed, record.metrics["ACC"]) == (3, 1, 0.5)


def test_a_stated_preference_does_not_overrule_scores():
    row = arena("A", 1, 0, predicted_preference="model_b")
    assert only([row]).metrics["ACC"] == 1.0
    assert only([row], "paper").metrics["ACC"] == 0.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("silence", [None, math.nan])
def test_what_a_model_does_not_judge_is_not_applicable(protocol, silence):
    row = cmi("model_a", "model_a", (1, 0, None, None), **VALID_PAIR) | {
        "predicted_text-music alignment": silence,
        "predicted_text-music alignment_b": silence,
    }
    failed = row | {"predicted_musicality": None, "predicted_preference-musicality": None, "inference_valid_a": False}
    alignment, musicality = summary_of([row, row, failed], protocol)
    assert (alignment.status, alignment.n, alignment.n_failed) == (Status.NOT_APPLICABLE, 0, 0)
    assert alignment.metrics == {"ACC": None}
    assert alignment.note == "not applicable: the model gives no alignment score"
    assert (musicality.status, musicality.n_failed) == (Status.OK, 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_score_is_enough_to_make_the_missing_ones_failures(protocol):
    record = only([clip(1, None, **VALID), clip(2, None, **VALID), clip(3, 1.0, **VALID)], protocol)
    assert (record.status, record.n, record.n_failed) == (Status.UNDEFINED, 3 if protocol == "strict" else 1, 2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_foreign_file_without_the_column_is_not_applicable_and_with_it_failed(protocol):
    without = [
        {key: value for key, value in row.items() if key != "predicted_musicality"} for row in clips([1, 2], [0, 0])
    ]
    assert only(without, protocol).status is Status.NOT_APPLICABLE
    assert only([*without, clip(3, None)], protocol).n_failed == 3


def test_not_applicable_reaches_the_groups():
    rows = [arena("A", None, None, **VALID_PAIR)] * 2
    evaluation = evaluate(rows)
    assert [record.status for record in evaluation.detail] == [Status.NOT_APPLICABLE]


@pytest.mark.parametrize(
    ("switches", "names"),
    [
        ({"include_lcc": False}, {"SRCC", "K-Tau"}),
        ({"include_k_tau": False}, {"SRCC", "LCC"}),
        ({"include_lcc": False, "include_k_tau": False}, {"SRCC"}),
    ],
)
def test_correlations_can_be_switched_off(switches, names):
    (record,) = evaluate(clips([1, 2, 3], [1, 2, 3]), MetricSettings(**switches)).summary
    assert set(record.metrics) == names


@pytest.mark.parametrize("seed", range(5))
def test_both_protocols_agree_on_real_scores_without_ties_or_failures(seed):
    generator = np.random.default_rng(seed)
    sides = ["model_a", "model_b", "both", "neither"]
    rows = clips(generator.uniform(1, 5, 50).round(1), generator.normal(size=50))
    for _ in range(80):
        preferences = generator.choice(sides, size=2).tolist()
        more = {
            "lyrics": str(generator.choice(["", "la"])),
            "ref-audio-path": str(generator.choice(["", "r.mp3"])),
            "confidence_preference-musicality": str(generator.choice(["1", "3", "4.5"])),
            "confidence_preference-alignment": str(generator.choice(["2.5", "3", "5"])),
        }
        rows.append(cmi(*preferences, tuple(generator.normal(size=4).tolist()), **more))
        rows.append(arena(preferences[0], *generator.normal(size=2).tolist()))
    numbers = [
        [(record.n, record.metrics) for record in (*evaluation.summary, *evaluation.detail)]
        for evaluation in (evaluate(rows, MetricSettings(protocol=protocol, resamples=0)) for protocol in PROTOCOLS)
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) > 20


def test_the_arrays_behind_the_summary_are_at_hand():
    rows = [clip(9, 9, split="train"), arena("A", 1, 0), clip(2, 0.5), arena("both", 0, 1), arena("B", None, 1)]
    evaluation = evaluate(rows)
    assert [(s.dataset.name, s.task.name) for s in evaluation.samples] == [
        (record.dataset, record.task) for record in evaluation.summary
    ]
    pairs = evaluation.samples[1]
    assert pairs.rows.tolist() == [2, 4, 5]
    assert pairs.label.tolist() == [1, 0, -1]
    assert pairs.prediction[:2].tolist() == [1, -1]
    assert pairs.is_failed.tolist() == [False, False, True]
    resampled = pairs.take(np.array([1, 1, 0]))
    assert resampled.rows.tolist() == [4, 4, 2]


def test_rows_are_left_as_they_were():
    row = arena("A", 1, 0)
    before = dict(row)
    evaluate([row])
    assert row == before


def brute_credit(label, prediction):
    if prediction is None:
        return 0.0
    return 1.0 if label == prediction else 0.5 if "both" in (label, prediction) else 0.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(10))
def test_pairs_with_ties_failures_and_both_are_as_counted_one_by_one(protocol, seed):
    generator = np.random.default_rng(seed)
    rows, earned = [], []
    for _ in range(60):
        label = str(generator.choice(["model_a", "model_b", "both", "neither", ""], p=[0.35, 0.35, 0.1, 0.1, 0.1]))
        scores = [None if generator.random() < 0.1 else int(generator.integers(0, 4)) for _ in range(2)]
        rows.append(arena(label, *scores))
        if None in scores:
            answer = None
        elif scores[0] == scores[1]:
            answer = "both" if protocol == "strict" else "model_b"
        else:
            answer = "model_a" if scores[0] > scores[1] else "model_b"
        if label and not (answer is None and protocol == "paper"):
            earned.append(brute_credit(label.replace("neither", "both"), answer))
    record = only(rows, protocol)
    assert record.n == len(earned)
    assert record.metrics["ACC"] == pytest.approx(np.mean(earned))


@pytest.mark.parametrize("seed", range(10))
def test_correlations_with_ties_and_failures_are_as_counted_one_by_one(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(1, 6, 30).tolist()
    scores = [None if generator.random() < 0.2 else int(generator.integers(0, 6)) for _ in labels]
    known = [score for score in scores if score is not None]
    middle = sorted(labels)[15] / 2 + sorted(labels)[14] / 2
    filled = [
        (min(known) if label > middle else max(known)) if score is None else score
        for label, score in zip(labels, scores, strict=True)
    ]
    concordant = tied_x = tied_y = 0
    for i in range(30):
        for j in range(i):
            x, y = np.sign(labels[i] - labels[j]), np.sign(filled[i] - filled[j])
            concordant += x * y
            tied_x += x == 0
            tied_y += y == 0
    pairs = 30 * 29 / 2
    expected = concordant / math.sqrt((pairs - tied_x) * (pairs - tied_y))
    assert only(clips(labels, scores)).metrics["K-Tau"] == pytest.approx(expected)
    answered = [row for row in clips(labels, scores) if row["predicted_musicality"] is not None]
    assert only(clips(labels, scores), "paper").metrics == only(answered).metrics


def named(n_systems=20, size=5):
    generator = np.random.default_rng(0)
    worth = generator.normal(0, 0.5, n_systems)
    return [
        clip(float(np.clip(3 + worth[s] + generator.normal(0, 1), 1, 5)), float(worth[s] + generator.normal(0, 1)),
             model_a=f"s{s}")
        for s in range(n_systems) for _ in range(size)
    ]  # fmt: skip


def test_systems_are_correlated_by_their_means():
    rows = named()
    record = evaluate(rows).summary[0]
    means = {
        field: [np.mean([row[field] for row in rows if row["model_a"] == f"s{s}"]) for s in range(20)]
        for field in ("musicality", "predicted_musicality")
    }
    direct = only(clips(*means.values()))
    assert [record.metrics[f"System {name}"] for name in ("SRCC", "LCC", "K-Tau")] == pytest.approx(
        [direct.metrics[name] for name in ("SRCC", "LCC", "K-Tau")]
    )
    interval = record.intervals["System SRCC"]
    assert (interval.unit, interval.n_clusters, record.intervals["SRCC"].n_clusters) == ("systems", 20, 100)
    few = evaluate(named(5)).summary[0]
    assert few.metrics["System SRCC"] is not None
    assert few.intervals["System SRCC"].reason == "too few systems to tell (5; 15 are needed)"


def test_without_known_systems_there_are_no_figures_of_systems():
    rows = named()
    assert "System SRCC" not in evaluate(rows, MetricSettings(include_systems=False)).summary[0].metrics
    del rows[3]["model_a"]
    assert set(only(rows).metrics) == {"SRCC", "LCC", "K-Tau"}


def test_heavy_tails_of_scores_are_noted():
    scores = np.random.default_rng(0).normal(size=40)
    assert only(clips(MOS, scores)).note == ""
    scores[3] = 100.0
    assert only(clips(MOS, scores)).note == "scores have heavy tails (kurtosis 37.8): prefer SRCC to LCC"


HEAVY = ("torch", "lightning", "mlflow", "hydra", "pandas", "scipy.stats", "matplotlib", "transformers")


@pytest.mark.slow
def test_evaluation_and_reporting_import_nothing_heavy():
    code = (
        "import sys, cmi_bench.evaluation.evaluate, cmi_bench.reporting.metrics, cmi_bench.reporting.terminal,"
        "cmi_bench.reporting.html.page;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
