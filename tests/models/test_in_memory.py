"""What a model in memory is known by: everything that settles its scores, and nothing else."""

import functools
import threading

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from cmi_bench.errors import UserError
from cmi_bench.models.in_memory import in_memory, model_state, networks_of
from cmi_bench.models.signal.model import SignalBaseline

NET = nn.Linear(2, 1)


class Judge:
    sr = 8000

    def score_batch(self, inputs, batch_size, max_dur):
        return np.zeros((len(inputs), 2))


class Network(nn.Module, Judge):
    def __init__(self, scale=1.0):
        super().__init__()
        self.head = nn.Linear(2, 1)
        self.register_buffer("mean", torch.zeros(2), persistent=False)
        self.dropout = nn.Dropout(0.1)
        self.scale = scale
        nn.init.ones_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class Global(Judge):
    """Its weights are a variable of the module, as in notebooks."""

    def score_batch(self, inputs, batch_size, max_dur):
        return self.ask(inputs)

    @staticmethod
    def ask(inputs):
        return helper(inputs)


def helper(inputs):
    return [NET(one) for one in inputs] if inputs else helper(inputs)


def changed_by(model, change):
    before = model_state(model).digest
    change()
    after = model_state(model).digest
    assert before
    assert after
    return before != after


def test_equal_models_are_the_same():
    assert model_state(Network()) == model_state(Network())
    assert model_state(Network(scale=2.0)) != model_state(Network())


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.head.weight.data.mul_(1.001),
        lambda model: model.mean.add_(1),
        lambda model: setattr(model.dropout, "p", 0.2),
        lambda model: setattr(model, "scale", 2.0),
        lambda model: setattr(model, "extra", {"weights": [np.ones(3)]}),
        lambda model: setattr(model, "head", nn.Linear(2, 1, dtype=torch.bfloat16)),
    ],
)
def test_what_settles_scores_counts(change):
    model = Network()
    assert changed_by(model, lambda: change(model))


def test_how_a_model_is_trained_does_not_count():
    model = Network()

    def train_on():
        model.train(not model.training)
        model.head.weight.requires_grad_(False)
        model.head.bias.grad = torch.ones(1)

    assert not changed_by(model, train_on)

    class Lit(pl.LightningModule, Judge):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 1)

    module = Lit()
    assert not changed_by(module, lambda: setattr(module, "_trainer", threading.Lock()))
    assert changed_by(module, lambda: module.net.weight.data.add_(1))


def test_what_methods_take_from_around_them_counts():
    assert changed_by(Global(), lambda: NET.weight.data.add_(1))
    scale = torch.ones(1)

    class Local(Judge):
        def score_batch(self, inputs, batch_size, max_dur):
            return inputs * scale

    assert changed_by(Local(), lambda: scale.add_(1))
    held = Judge()
    held.ask = functools.partial(lambda x, net: net(x), net=NET)
    assert changed_by(held, lambda: NET.weight.data.add_(1))


def test_what_cannot_be_read_is_not_known():
    model = Network()
    model.client = threading.Lock()
    assert model_state(model) == (None, True)
    assert in_memory(model).identity is None
    assert in_memory(model, "step 500").identity != in_memory(model, "step 501").identity


def test_a_network_that_an_object_keeps_out_of_its_pickle_is_not_overlooked():
    class Hiding(Judge):
        def __init__(self):
            self.mean, self.net = torch.zeros(1), nn.Linear(1, 1)

        def __getstate__(self):
            return {"mean": self.mean}

    assert model_state(Hiding()) == (None, True)


def test_without_weights_only_a_model_that_says_so_is_known():
    assert in_memory(Judge()).identity is None
    assert in_memory(Judge(), "mine").identity
    known = Judge()
    known.identity = "the loudness, second edition"
    assert in_memory(known).identity
    assert in_memory(SignalBaseline()).identity == in_memory(SignalBaseline()).identity is not None
    with pytest.raises(UserError, match="is no reward model"):
        in_memory(object())


class Embedder(Judge):
    """The least that an embedding model has."""

    identity, audio_identity, text_identity = "e", "e audio", "e text"
    audio_view = embed_audio = embed_texts = score_embedded = Judge.score_batch

    def __init__(self):
        self.encoder, self.head = Network(), Network()


def test_embeddings_follow_the_encoders_that_a_model_names():
    model = Embedder()

    def keys():
        found = in_memory(model)
        return found.identity, found.audio_identity, found.text_identity

    first = keys()
    assert keys() == first
    model.head.scale = 3.0
    second = keys()
    assert all(one != other for one, other in zip(first, second, strict=True))
    model.encoders = [model.encoder]
    third = keys()
    model.head.scale = 4.0
    assert (keys()[0] != third[0], keys()[1:]) == (True, third[1:])
    model.encoder.scale = 4.0
    assert all(one != other for one, other in zip(keys(), third, strict=True))


def test_networks_are_found_where_they_are():
    inner, listed = nn.Linear(1, 1), nn.Linear(1, 1)
    holder = Judge()
    holder.parts = {"a": [listed], "self": holder}
    holder.wrapped = Judge()
    holder.wrapped.net = nn.Sequential(inner)
    assert {id(inner), id(listed)} <= {id(one) for one in networks_of(holder)}
