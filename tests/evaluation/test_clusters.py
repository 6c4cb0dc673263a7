"""Which rows depend on each other, and the variance that follows: against sums over all pairs of rows."""

import numpy as np
import pytest

from cmi_bench.config import Clustering
from cmi_bench.data.datasets import MUSIC_ARENA, MUSIC_EVAL, PAM
from cmi_bench.evaluation import clusters as module
from cmi_bench.evaluation.clusters import NOBODY, POPULATION, clusters_of, in_order, prompt_ids, system_ids


def prompted(*prompts):
    return [{} if prompt is None else {"prompt": prompt} for prompt in prompts]


def test_rows_of_a_prompt_are_a_cluster_whatever_the_blanks_around_it():
    assert prompt_ids(prompted("slow piano", "jazz", " slow piano\n", "Jazz"), PAM).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_a_row_without_a_prompt_is_a_cluster_of_its_own(nothing):
    assert prompt_ids(prompted(nothing, "jazz", nothing, "jazz", "1"), PAM).tolist() == [0, 1, 2, 1, 3]


def test_pams_systems_are_folders_and_music_evals_are_in_the_names():
    pam = [{"audio-path": f"human_eval/music/{system}/0.wav"} for system in ("b", "a", "b")]
    assert system_ids(pam, PAM).tolist() == [[0], [1], [0]]
    assert system_ids([{"audio-path": "elsewhere/0.wav"}], PAM).tolist() == [[NOBODY]]
    names = ["x/S007_P012.wav", "x/S007_P013.wav", "x/S008_P012.wav", "x/12.wav"]
    rows = [{"audio-path": name} for name in names]
    assert system_ids(rows, MUSIC_EVAL).tolist() == [[0], [0], [1], [NOBODY]]
    assert prompt_ids(rows, MUSIC_EVAL).tolist() == [0, 1, 0, 2]


def test_a_row_may_name_its_systems():
    rows = [{"model_a": "x", "model_b": "y"}, {"model_a": "y", "model_b": "x"}, {"model_a": "x"}]
    assert system_ids(rows, MUSIC_ARENA).tolist() == [[0, 1], [1, 0], [0, NOBODY]]
    assert system_ids(rows, PAM).tolist() == [[0], [1], [0]]


def unit_of(prompts, systems, clustering):
    clusters = clusters_of(np.array(prompts), np.array(systems), clustering)
    return clusters.unit, clusters.count


def test_the_unit_says_what_there_is():
    known, unknown = [[0], [1], [0]], [[NOBODY]] * 3
    assert unit_of([7, 2, 7], known, Clustering.prompt) == ("prompts", 2)
    assert unit_of([7, 2, 9], known, Clustering.prompt) == ("rows", 3)
    assert unit_of([7, 2, 7], known, Clustering.none) == ("rows", 3)
    assert unit_of([7, 2, 7], known, Clustering.system) == ("systems", 2)
    assert unit_of([7, 2, 9], known, Clustering.both) == ("prompts and systems", 2)
    assert unit_of([7, 2, 7], unknown, Clustering.both) == ("prompts", 2)
    clusters = clusters_of(np.array([7, 2, 7]), np.array(unknown), Clustering.system)
    assert (clusters.kinds, clusters.reason) == ((), "the rows do not name their systems")


@pytest.mark.parametrize(
    ("systems", "clustering", "population"),
    [
        ([[0], [1], [0]], Clustering.prompt, "other prompts, the same systems"),
        ([[0], [1], [0]], Clustering.none, "other rows like these"),
        ([[0], [1], [0]], Clustering.system, "other systems, the same prompts"),
        ([[0], [1], [0]], Clustering.both, "other prompts and other systems"),
        ([[NOBODY]] * 3, Clustering.system, "other systems, the same prompts"),
    ],
)
def test_the_population_is_what_clusters_were_drawn_from(systems, clustering, population):
    assert POPULATION[clusters_of(np.array([7, 2, 7]), np.array(systems), clustering).unit] == population


def variance(clusters, values):
    return clusters.variance(lambda membership: float(np.square(membership.sums(values)).sum()))


@pytest.mark.parametrize("width", [1, 2])
def test_the_variance_is_the_sum_over_all_rows_that_share_something(width):
    generator = np.random.default_rng(width)
    n = 60
    prompts, systems = generator.integers(0, 15, n), generator.integers(0, 6, (n, width))
    values = generator.normal(size=n) + systems[:, 0]
    same_prompt = prompts[:, None] == prompts
    same_system = (systems[:, None, :, None] == systems[None, :, None, :]).any(axis=(2, 3))
    products = np.outer(values, values)
    by_prompt, by_system = (products * same_prompt).sum(), (products * same_system).sum()
    expected = {
        Clustering.none: np.square(values).sum(),
        Clustering.prompt: by_prompt,
        Clustering.system: by_system,
        Clustering.both: max((products * (same_prompt | same_system)).sum(), by_prompt, by_system),
    }
    for clustering, value in expected.items():
        assert variance(clusters_of(prompts, systems, clustering), values) == pytest.approx(value), clustering


def test_some_of_the_rows_have_the_same_clusters_among_themselves():
    generator = np.random.default_rng(0)
    prompts, systems = generator.integers(0, 15, 60), generator.integers(0, 6, (60, 2))
    chosen = generator.permutation(60)[:25]
    values = generator.normal(size=25)
    for clustering in Clustering:
        whole = clusters_of(prompts, systems, clustering).take(chosen)
        direct = clusters_of(prompts[chosen], systems[chosen], clustering)
        assert variance(whole, values) == pytest.approx(variance(direct, values))
        assert whole.count == direct.count


@pytest.mark.parametrize("few", [2, 40])
def test_names_are_numbered_as_they_come_be_they_few_or_many(monkeypatch, few):
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "FEW_NAMES", few)
    values = np.random.default_rng(0).integers(-9, 9, 100)
    number_of = {}
    assert in_order(values).tolist() == [number_of.setdefault(value, len(number_of)) for value in values.tolist()]
    assert in_order(values[:0]).tolist() == []
