"""The network on a device."""

import torch

from cmi_bench.models.cmi_rm.network import PreparedNetwork
from cmi_bench.models.kernels.prepare import prepare

CPU = torch.device("cpu")


def test_tensors_that_do_not_change_are_shared(load):
    network = load("sa_mean").loaded.network
    scorer = prepare(network.scorer, CPU, "32")
    loaded, prepared = (part.prompt_transformer.layers[0][0].q_scale for part in (network.scorer, scorer))
    assert prepared.data_ptr() == loaded.data_ptr()


def test_parts_are_made_when_called_for(load):
    prepared = PreparedNetwork(load("sa_mean").loaded.network, CPU, "32")
    assert prepared.scorer is prepared.scorer
    assert "audio_tower" not in vars(prepared)
