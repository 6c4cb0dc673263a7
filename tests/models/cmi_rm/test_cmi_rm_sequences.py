"""Padding and grouping."""

import torch

from cmi_bench.models.batching import batches_of, equal_batches_of, pad


def test_pad_marks_what_is_valid():
    padded = pad([torch.ones(2, 3), torch.ones(0, 3), torch.ones(1, 3)])
    assert padded.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert padded.values.sum(dim=(1, 2)).tolist() == [6.0, 0.0, 3.0]


def test_pad_of_equals_needs_no_mask():
    assert pad([torch.ones(2, 3), torch.ones(2, 3)]).valid is None


def test_every_index_once():
    lengths = [3, 1, 3, 2, 3, 2]
    assert list(batches_of(lengths, 4)) == [[0, 2, 4, 3], [5, 1]]
    assert list(equal_batches_of(lengths, 2)) == [[0, 2], [4], [3, 5], [1]]
    assert list(equal_batches_of(lengths, 2, most=5)) == [[0], [2], [4], [3, 5], [1]]
    assert list(batches_of([], 4)) == list(equal_batches_of([], 4)) == []
