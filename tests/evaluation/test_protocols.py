"""How a results row is read: which flags say that inference worked."""

import pytest
from scored_rows import clips

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate

SAYS_YES = [True, "true", " True ", 1, "1", 1.0, "1.0"]
SAYS_NO = [False, "false", "False", 0, "0", 0.0, "0.0", "no"]


@pytest.mark.parametrize(("flag", "works"), [(flag, flag in SAYS_YES) for flag in [*SAYS_YES, *SAYS_NO]], ids=repr)
def test_flags_as_json_and_tables_write_them(flag, works):
    """Tables that went through other tools say 1.0 of what JSON calls true."""
    rows = clips([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4], inference_valid_a=flag)
    (samples,) = evaluate(rows, MetricSettings(resamples=0)).samples
    assert samples.is_failed.tolist() == [not works] * 4
