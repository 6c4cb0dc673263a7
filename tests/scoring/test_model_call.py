import numpy as np
import pytest

from cmi_bench.scoring.model_call import ContractError, checked_scores


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (np.zeros((2, 2)), r"shape \[2, 2\] for 3 clips; expected \[3, 2\]"),
        (np.zeros(3), r"shape \[3\] for 3 clips"),
        (np.zeros((3, 3)), r"shape \[3, 3\]"),
        (np.array([["a", "b"]] * 3), "returned dtype <U1"),
        (np.zeros((3, 2), dtype=bool), "returned dtype bool"),
    ],
)
def test_answers_of_a_wrong_form_show_both_forms(answer, shown):
    with pytest.raises(ContractError, match=shown):
        checked_scores(answer, 3, "Model")


@pytest.mark.parametrize("answer", [[[0, 1]] * 3, np.zeros((3, 2), dtype=np.float16)])
def test_anything_that_is_numbers_will_do(answer):
    scores = checked_scores(answer, 3, "Model")
    assert scores.dtype == np.float64
    assert scores.shape == (3, 2)
