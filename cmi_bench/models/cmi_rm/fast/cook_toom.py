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
    )


class Axis(NamedTuple):
    """A filter of three taps that moves in steps, as a sum over phases: phase p has the samples p, p + step, ...

    Every phase is a filter that moves by one sample of its own, and all of them share outputs and inputs of one
    algorithm: products of a value are added up over the phases before the outputs are made.
    """

    outputs: Matrix
    """[outputs, values]."""
    weights: npt.NDArray[np.float64]
    """[phases, values, 3 taps]; a value of a phase that is zero whatever the taps needs no product."""
    inputs: Matrix
    """[values, samples of a phase]."""

    @property
    def step(self) -> int:
        """Samples that the filter moves by, which is the number of phases."""
        return len(self.weights)


def every_sample() -> Axis:
    """Return four outputs of a filter of three taps with 6 products instead of 12."""
    algorithm = cook_toom((0.0, 1.0, -1.0, 0.5, -2.0), taps=3)
    return Axis(algorithm.outputs, algorithm.weights[None], algorithm.inputs)


def every_other_sample() -> Axis:
    """Return four outputs, two samples apart, of a filter of three taps with 9 products instead of 12.

    The outer taps see every other sample, to which they are a filter of two taps; the middle one, a filter of one tap,
    sees the rest.
    """
    algorithm = cook_toom((0.0, 1.0, -1.0, 0.5), taps=2)
    weights = np.zeros((2, len(algorithm.weights), 3))
    weights[0][:, [0, 2]] = algorithm.weights
    weights[1][:, 1] = algorithm.weights[:, 0]  # zero at infinity, where a polynomial has its highest power
    return Axis(algorithm.outputs, weights, algorithm.inputs)


BY_STRIDE = {1: every_sample(), 2: every_other_sample()}
"""What a filter of three taps is computed with, by its stride."""
