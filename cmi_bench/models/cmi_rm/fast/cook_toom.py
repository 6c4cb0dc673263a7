"""Short convolutions with few multiplications: the algorithm of Cook and Toom.

A filter over m outputs is a product of polynomials, and that is known from its values at enough points: transform
filter and input to values, multiply them, transform back. See Lavin and Gray 2015 (https://arxiv.org/abs/1509.09308),
who use it for networks; there as "Winograd convolution".
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


class Algorithm(NamedTuple):
    """outputs @ ((weights @ filter) * (inputs @ samples)) are the filter's outputs over the samples."""

    outputs: Matrix
    """[outputs, products]."""
    weights: Matrix
    """[products, filter taps]."""
    inputs: Matrix
    """[products, samples]."""
    step: int
    """Samples from the start of one tile of outputs to the next."""


def cook_toom(points: Sequence[float], taps: int) -> Algorithm:
    """Return the algorithm for a filter of `taps` taps with its values at `points` and at infinity.

    It computes len(points) + 2 - taps outputs with len(points) + 1 products. Small points of both signs and
    simple fractions keep rounding small.
    """
    outputs = len(points) + 2 - taps
    other_points = [[b for b in points if b != a] for a in points]
    values = np.vander(points, max(outputs, taps), increasing=True)
    scales = [np.prod([a - b for b in others]) for a, others in zip(points, other_points, strict=True)]
    return Algorithm(
        outputs=np.column_stack([values[:, :outputs].T, np.eye(outputs)[-1]]),
        weights=np.vstack([values[:, :taps] / np.array(scales)[:, None], np.eye(taps)[-1]]),
        # The polynomials that vanish at all points, or at all but one; lowest power first.
        inputs=np.array([*([*np.poly(others)[::-1], 0.0] for others in other_points), np.poly(points)[::-1]]),
        step=outputs,
    )


def three_taps() -> Algorithm:
    """Return four outputs of a filter of three taps with 6 products instead of 12."""
    return cook_toom((0.0, 1.0, -1.0, 0.5, -2.0), taps=3)


def three_taps_every_other() -> Algorithm:
    """Return two outputs, two samples apart, of a filter of three taps with 5 products instead of 6.

    The outer taps see every other sample, to which they are a filter of two taps; the middle one sees the rest.
    """
    outer = cook_toom((0.0, 1.0), taps=2)
    outputs, products = outer.outputs.shape
    inputs = np.zeros((products + outputs, 2 * outputs + 1))
    inputs[:products, ::2] = outer.inputs
    inputs[products:, 1::2] = np.eye(outputs)
    weights = np.zeros((products + outputs, 3))
    weights[:products, ::2] = outer.weights
    weights[products:, 1] = 1.0
    return Algorithm(np.hstack([outer.outputs, np.eye(outputs)]), weights, inputs, step=2 * outputs)


BY_STRIDE = {1: three_taps(), 2: three_taps_every_other()}
"""What a filter of three taps is computed with, by its stride."""
