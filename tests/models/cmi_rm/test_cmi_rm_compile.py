import logging

import pytest
import torch

from cmi_bench.models.cmi_rm import CmiRM


@pytest.mark.slow
def test_compiled_tower_gives_the_same_frames_for_every_length(load, bundle):
    plain, compiled = load("sa_mean"), CmiRM(str(bundle / "sa_mean"), compile=True)
    torch.manual_seed(0)
    for samples in (24000 * 2, 24000 * 3 + 77):
        chunk = 0.1 * torch.randn(samples)
        torch.testing.assert_close(compiled.encode_audio([chunk]), plain.encode_audio([chunk]), atol=1e-5, rtol=1e-4)


def test_compiled_scores_are_kept_apart(load, bundle, caplog):
    with caplog.at_level(logging.WARNING):
        compiled = CmiRM(str(bundle / "sa_mean"), compile=True)

    assert "nothing faster on the CPU" in caplog.text
    assert compiled.digest == load("sa_mean").digest
    assert compiled.identity != load("sa_mean").identity
    assert compiled.audio_identity != load("sa_mean").audio_identity


def test_says_how_it_computed(load):
    model = load("sa_mean")
    model.encode_audio([torch.zeros(24000)])

    assert model.facts["compiled"] is False
    assert model.facts["kernels"] == "on"
    assert load("sa_mean", kernels="off").facts["kernels"] == "off"
