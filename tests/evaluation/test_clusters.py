import numpy as np
import pytest

from cmi_bench.evaluation.samples import ResultRow, dense, prompt_clusters


def rows(*prompts):
    return [ResultRow(number, {} if prompt is None else {"prompt": prompt}) for number, prompt in enumerate(prompts, 1)]


def test_rows_of_a_prompt_are_a_cluster_whatever_the_blanks_around_it():
    assert prompt_clusters(rows("slow piano", "jazz", " slow piano\n", "Jazz")).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_a_row_without_a_prompt_is_a_cluster_of_its_own(nothing):
    assert prompt_clusters(rows(nothing, "jazz", nothing, "jazz", "1")).tolist() == [0, 1, 2, 1, 3]


def test_a_choice_of_rows_is_numbered_without_gaps():
    chosen = np.array([7, 2, 7, 9])
    assert dense(chosen, "prompt").tolist() == [1, 0, 1, 2]
    assert dense(chosen, "none").tolist() == [0, 1, 2, 3]
