import math

import numpy as np
import pytest

from cmi_bench.data import fields
from cmi_bench.data.declarations import PAIR_TASKS, RATING_TASKS, Declaration
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import metric_by_name
from cmi_bench.evaluation.raters import Ratings, human_ceiling, krippendorff_alpha, read_ratings

NAN = math.nan


def table(text):
    """One line for each rater, one word for each unit, as in publications."""
    lines = [[NAN if word == "." else float(word) for word in line.split()] for line in text.splitlines()]
    return np.array(lines).T


# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C to E.
OBSERVERS = table("1 2 3 3 2 1 4 1 2 . . .\n1 2 3 3 2 2 4 1 2 5 . 3\n. 3 3 3 2 3 4 2 2 5 1 .\n1 2 3 3 2 4 4 1 2 5 1 .")
# The example of three coders and fifteen units in Wikipedia's article on the measure.
CODERS = table(". . . . . 3 4 1 2 1 1 3 3 . 3\n1 . 2 1 3 3 4 3 . . . . . . .\n. . 2 1 3 4 4 . 2 1 1 3 3 . 4")


@pytest.mark.parametrize(
    ("values", "is_nominal", "published"),
    [(OBSERVERS, True, 0.743), (OBSERVERS, False, 0.849), (CODERS, True, 0.691), (CODERS, False, 0.811)],
)
def test_alpha_of_published_examples(values, is_nominal, published):
    assert krippendorff_alpha(Ratings.of_table(values), is_nominal=is_nominal).value == pytest.approx(
        published, abs=5e-4
    )


def test_alpha_does_not_hang_on_scale_or_order():
    alpha = krippendorff_alpha(Ratings.of_table(OBSERVERS), is_nominal=False).value
    assert krippendorff_alpha(
        Ratings.of_table(20 * OBSERVERS[::-1, ::-1] - 7), is_nominal=False
    ).value == pytest.approx(alpha)


@pytest.mark.parametrize(
    ("values", "reason"),
    [([[3.0, 3.0], [3.0, 3.0]], "all ratings are the same"), ([[3.0, NAN], [NAN, 2.0]], "no row was judged by two")],
)
def test_alpha_without_a_value_says_why(values, reason):
    assert reason in krippendorff_alpha(Ratings.of_table(np.array(values)), is_nominal=False).reason


def test_the_ceiling_of_ratings_is_what_their_noise_allows():
    """Truth of variance 1 and noise of variance s2: one rater against k others' mean correlates as below."""
    rng, s2, raters, n = np.random.default_rng(0), 0.8, 4, 5_000
    truth = rng.standard_normal(n)
    ratings = truth[:, None] + math.sqrt(s2) * rng.standard_normal((n, raters))
    found = human_ceiling(Ratings.of_table(ratings), truth, metric_by_name("LCC"))
    others = 1 + s2 / (raters - 1)
    assert found.human == pytest.approx(1 / math.sqrt((1 + s2) * others), abs=0.02)
    assert found.model == pytest.approx(1 / math.sqrt(others), abs=0.02)
    assert found.n_raters == raters


def test_the_ceiling_of_votes_is_what_their_mistakes_allow():
    """Three raters, each right with probability q: the two others agree, or are a tie, which is half a credit."""
    rng, q, n = np.random.default_rng(0), 0.8, 5_000
    truth = rng.choice([-1.0, 1.0], n)
    votes = truth[:, None] * np.where(rng.random((n, 3)) < q, 1.0, -1.0)
    found = human_ceiling(Ratings.of_table(votes), truth, metric_by_name("ACC"))
    assert found.human == pytest.approx(q**3 + (1 - q) ** 3 + q * (1 - q), abs=0.02)
    assert found.model == pytest.approx(q**2 + q * (1 - q), abs=0.02)


def test_raters_count_by_their_rows_and_only_with_enough_of_them():
    ratings = np.full((20, 3), NAN)
    ratings[:, 0] = np.arange(20)
    ratings[:12, 1] = np.arange(12)
    ratings[:4, 2] = 0
    found = human_ceiling(Ratings.of_table(ratings), np.arange(20.0), metric_by_name("SRCC"))
    assert found.n_raters == 2
    assert human_ceiling(Ratings.of_table(ratings[:4]), np.arange(4.0), metric_by_name("SRCC")).human is None


def rows(declaration, said, field, **scores):
    return [
        {"source": f"own:{declaration.name}", fields.RATINGS: {field: one}, field: label, "inference_valid_a": True,
         fields.DECLARED: declaration.to_json(), **{name: values[at] for name, values in scores.items()}}
        for at, (label, one) in enumerate(said)
    ]  # fmt: skip


RATED = Declaration("rated", False, ("musicality",))


def test_rows_of_results_bring_their_raters():
    said = [(place + 0.5, {"anna": place, "ben": place + 1}) for place in range(8)]
    (record,) = evaluate(rows(RATED, said, "musicality", predicted_musicality=list(range(8)))).raters
    assert (record.n_raters, record.n_ratings, record.n_rows, record.level) == (2, 16, 8, "interval")
    assert record.ceilings["SRCC"].human == record.ceilings["SRCC"].model == 1
    assert not any(name.startswith("System") for name in record.ceilings)
    assert 0.8 < record.alpha.value < 1


def test_raters_without_names_have_an_agreement_and_no_ceiling():
    said = [(float(place), [place, place]) for place in range(8)]
    (record,) = evaluate(rows(RATED, said, "musicality", predicted_musicality=list(range(8)))).raters
    assert (record.n_raters, record.alpha.value, record.ceilings) == (None, 1.0, {})


def test_one_rater_is_nothing_to_tell_of():
    said = [(float(place), {"anna": place}) for place in range(8)]
    assert evaluate(rows(RATED, said, "musicality", predicted_musicality=list(range(8)))).raters == []


def test_votes_become_sides_and_what_is_no_vote_nothing():
    raws = [{fields.RATINGS: {"preference": {"anna": "model_a", "ben": "both", "chloe": "who knows"}}}, {}]
    ratings = read_ratings(raws, PAIR_TASKS["preference"])
    assert (ratings.row.tolist(), ratings.rater.tolist(), ratings.value.tolist()) == ([0, 0], [0, 1], [1.0, 0.0])
    assert (ratings.counts.tolist(), ratings.n_raters) == ([2, 0], 3)
    nothing = read_ratings([{}], RATING_TASKS["musicality"])
    assert (nothing.value.size, nothing.n_rows, nothing.n_raters) == (0, 1, 0)
