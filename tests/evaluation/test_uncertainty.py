"""Whether an ensemble's spread foretells its errors: SciPy as the oracle, and ensembles whose errors are known."""

import numpy as np
import pytest
import scipy.stats
from member_rows import N_MEMBERS, member_rows

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.uncertainty import Sign, kept_outcome, signed_rows, somers_d, spread_bins

PAIR = {"source": "cmi-arena-annotation", "split": "test", "audio-path": "a", "audio2": "b"}
FIELD = "predicted_musicality"


def pair(members_a, members_b, preferred="model_a", **more):
    """Return a row whose clips have these members' scores; each pair has a prompt of its own."""
    scores = {FIELD: float(np.mean(members_a)), f"{FIELD}_b": float(np.mean(members_b))}
    members = {f"{FIELD}_members": list(members_a), f"{FIELD}_members_b": list(members_b)}
    valid = {"inference_valid_a": True, "inference_valid_b": True, "preference-musicality": preferred}
    return PAIR | valid | scores | members | more


def records_of(rows, **settings):
    return {
        (one.dataset, one.task): one for one in evaluate(rows, MetricSettings(**settings)).uncertainty
    }  # fmt: skip


def signed(rows, task="musicality"):
    evaluation = evaluate(rows, MetricSettings(resamples=0))
    (samples,) = (one for one in evaluation.samples if one.task.name == task)
    return signed_rows(samples)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_auroc_is_that_of_mann_and_whitney(decimals):
    rng = np.random.default_rng(decimals)
    error = (rng.random(50) < 0.3).astype(float)
    doubt = np.round(rng.normal(0, 2, 50) + error, decimals)
    expected = scipy.stats.mannwhitneyu(doubt[error == 1], doubt[error == 0]).statistic
    expected /= (error == 1).sum() * (error == 0).sum()
    assert (1 + somers_d(error, doubt).value) / 2 == pytest.approx(expected, abs=1e-12)


def test_a_statistic_that_cannot_be_is_undefined_with_its_reason():
    doubt = np.arange(3.0)
    assert somers_d(np.zeros(3), doubt).reason == "no answer is wrong"
    assert somers_d(np.ones(3), doubt).reason == "every answer is wrong"
    assert "the same" in somers_d(np.array([0.0, 1.0, 0.0]), np.ones(3)).reason


def test_what_members_share_and_what_they_add_to_every_score_is_no_spread():
    """Members' offsets cancel in a margin, and a shared scale of their own moves no answer."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30))
    offsets, scales = np.array([-5.0, 0.0, 70.0]), np.array([0.5, 1.0, 4.0])
    rows = [pair(scales * one + offsets, scales * other + offsets) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(signed(rows).spread, 0, atol=1e-12)


def test_the_spread_of_a_pair_is_that_of_its_margin():
    """Noise that a member has on both clips of a pair cancels, noise on one of them does not."""
    members = np.array(
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [3.0, 2.0, 1.0], [2.0, 1.0, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    )
    found = signed([pair(*members[at : at + 2]) for at in (0, 2, 4)])
    scaled = members / members.std(axis=0)
    margins = scaled[::2] - scaled[1::2]
    np.testing.assert_allclose(found.spread, margins.std(axis=1, ddof=1), atol=1e-12)
    assert found.spread[1] < found.spread[2]
    np.testing.assert_allclose(found.doubt[Sign.BOTH], [-1, -1, -2] / found.spread, atol=1e-12)


def test_of_a_clip_the_members_offsets_are_left_out():
    rows = member_rows(20)[::2]
    moved = [row | {f"{FIELD}_members": [x + 100 * at for at, x in enumerate(row[f"{FIELD}_members"])]} for row in rows]
    np.testing.assert_allclose(signed(moved).spread, signed(rows).spread, rtol=1e-9)


@pytest.mark.parametrize("cluster", ["system", "both"])
def test_a_pair_of_two_systems_leaves_no_cluster_to_leave_out(cluster):
    rng = np.random.default_rng(0)
    rows = [pair(*rng.normal(size=(2, 3)), model_a=f"s{at % 5}", model_b=f"s{at % 7}") for at in range(60)]
    (record,) = (one for one in evaluate(rows, MetricSettings(cluster=cluster)).uncertainty if one.task == "musicality")
    spread = record.signs[Sign.SPREAD]
    assert spread.value is not None
    assert spread.interval.reason.startswith("AUROC has none by ")
    assert record.gain.interval.reason == spread.interval.reason


def test_rows_without_all_members_a_label_or_an_answer_are_left_out():
    whole = [pair((1.0, at), (0.0, 0.5)) for at in (0.2, 0.4, 0.9)]
    others = [
        pair((1.0, 2.0), (0.0, 0.5), ""),
        pair((1.0, 2.0), (0.0, 0.5), "both"),
        pair((1.0, 2.0), (2.0, 1.0)),  # equal scores: neither right nor wrong
        pair((1.0, 2.0), (0.0, 0.5), inference_valid_b=False) | {f"{FIELD}_members_b": None, f"{FIELD}_b": None},
        pair((1.0, 2.0), (0.0, 0.5)) | {f"{FIELD}_members": [1.0]},
        pair((1.0, 2.0), (0.0, 0.5)) | {f"{FIELD}_members": "1, 2"},
    ]
    assert signed([*others, *whole]).samples.rows.tolist() == [7, 8, 9]
    assert signed(others[:2]) is None


def test_a_model_that_is_no_ensemble_has_no_record():
    rows = [{name: value for name, value in row.items() if "_members" not in name} for row in member_rows(10)]
    assert evaluate(rows).uncertainty == []


def test_errors_that_follow_the_spread_are_foretold_and_others_are_not():
    told, silent = (records_of(member_rows(210, telling=telling)) for telling in (True, False))
    pairs, clips = ("CMI-Pref", "musicality"), ("PAM", "musicality")
    assert set(told) == {pairs, clips}
    assert (told[pairs].n_members, told[pairs].statistic, told[clips].statistic) == (N_MEMBERS, "AUROC", "SRCC")
    assert told[pairs].signs[Sign.SPREAD].value > 0.55
    assert told[pairs].gain.interval.low > 0
    assert told[clips].signs[Sign.SPREAD].interval.low > 0
    for at, nothing in ((pairs, 0.5), (clips, 0.0)):
        interval = silent[at].signs[Sign.SPREAD].interval
        assert interval.low < nothing < interval.high
        assert (interval.unit, interval.n_clusters) == ("prompts", 70)
    both, margin = (told[pairs].signs[sign].value for sign in (Sign.BOTH, Sign.MARGIN))
    assert told[pairs].gain.value == pytest.approx(both - margin)


def test_rows_of_a_prompt_are_worth_less_than_as_many_prompts():
    """The same row, again and again in its prompt, tells nothing new."""
    rows = [row for row in member_rows(40, per_prompt=1) if "audio2" in row]
    repeated = [row for row in rows for _ in range(6)]
    once, again = (records_of(these)["CMI-Pref", "musicality"].signs[Sign.SPREAD] for these in (rows, repeated))
    assert again.value == pytest.approx(once.value)
    assert (again.interval.low, again.interval.high) == pytest.approx((once.interval.low, once.interval.high), abs=0.02)


def test_without_intervals_there_are_values():
    record = records_of(member_rows(20), resamples=0)["CMI-Pref", "musicality"]
    assert record.signs[Sign.SPREAD].value is not None
    assert record.signs[Sign.SPREAD].interval is record.gain.interval is None


def test_too_few_prompts_say_so():
    record = records_of(member_rows(8, per_prompt=2))["CMI-Pref", "musicality"]
    assert "too few prompts to tell" in record.signs[Sign.MARGIN].interval.reason


def test_bins_and_curves_end_where_all_rows_are():
    rows = member_rows(90)
    found = signed([row for row in rows if "audio2" in row])
    bins = spread_bins(found, MetricSettings())
    assert sum(one.n for one in bins) == 90
    assert [one.spread for one in bins] == sorted(one.spread for one in bins)
    overall = 1 - found.error.mean()
    assert np.average([one.outcome for one in bins], weights=[one.n for one in bins]) == pytest.approx(overall)
    for sign in Sign:
        kept = kept_outcome(found, sign)
        assert (kept.size, kept[-1]) == (90, pytest.approx(overall))
    surest = np.argsort(found.spread)[:30]
    assert kept_outcome(found, Sign.SPREAD)[29] == pytest.approx(1 - found.error[surest].mean())


def test_equally_doubtful_rows_count_as_their_mean_in_whatever_order():
    rows = [pair((1.0, at), (0.0, 0.0), preferred) for at in (1.0, 2.0) for preferred in ("model_a", "model_b")]
    forth, back = (kept_outcome(signed(these), Sign.SPREAD) for these in (rows, rows[::-1]))
    assert forth.tolist() == back.tolist() == [0.5, 0.5, 0.5, 0.5]


def test_scores_that_are_no_numbers_are_left_out_without_a_warning(recwarn):
    rows = [pair((1.0, at), (0.0, 0.5)) for at in (0.2, 0.4, 0.9)]
    rows.append(pair((1.0, 2.0), (0.0, 0.5)) | {f"{FIELD}_members": ["Infinity", "much"]})
    assert signed(rows).samples.rows.tolist() == [1, 2, 3]
    assert not recwarn.list
