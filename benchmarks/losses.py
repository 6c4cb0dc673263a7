"""Which loss learns most from which labels: simulated people label clips, and each loss learns from the same labels.

`python -m benchmarks.losses [--replicates 12]`: a clip's strength is a linear function of 32 features, and people's
answers are drawn from it. A linear head learns by each loss, with the penalty on its weights that suits the loss best.
The tables have the share of pairs of new clips that it puts into the true order; they go to `outputs/bench/` as well.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.func import functional_call

from cmi_bench.training.examples import Outcome
from cmi_bench.training.losses import (
    BradleyTerry,
    Davidson,
    FourWay,
    ListMLE,
    Ordinal,
    PairLoss,
    RaoKupper,
    RatingLoss,
    TanhMSE,
)
from cmi_bench.utils.console import print_view
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench/losses.md")
FEATURES = 32
LABELS = (500, 3500)
PENALTIES = (0.05, 0.5, 5.0)
"""On the squared weights."""
PAIR_LOSSES: Mapping[str, Callable[[], PairLoss]] = {
    "bradley_terry": BradleyTerry,
    "ties=half": lambda: BradleyTerry(half_ties=True),
    "smoothing .2": lambda: BradleyTerry(label_smoothing=0.2),
    "rao_kupper": RaoKupper,
    "davidson": Davidson,
    "four_way": FourWay,
}
PEOPLE: Mapping[str, PairLoss] = {
    "no ties": BradleyTerry(),
    "ties of near clips (Rao and Kupper)": RaoKupper(threshold=0.55),
    "ties of equal clips (Davidson)": Davidson(nu=0.62),
    "ties and both bad": FourWay(threshold=0.6, ground=0.3),
}
RATING_LOSSES: Mapping[str, Callable[[], RatingLoss]] = {
    "tanh_mse": TanhMSE,
    "ordinal": Ordinal,
    "ordinal, 9 steps": lambda: Ordinal(steps=9),
    "list_mle": ListMLE,
}


@dataclass(frozen=True)
class Raters:
    """How clips are rated: the mean of whole points from 1 to 5."""

    name: str
    raters: int = 5
    of_prompt: int = 4
    """Clips of a prompt."""
    prompts_differ: float = 0.0
    """Standard deviation of what a prompt adds to the ratings of all its clips, which no feature tells; strengths' is
    1."""
    lenient: float = 0.0
    """Points that all ratings are higher by."""

    def rate(self, strength: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ratings [n] and prompts [n] of clips."""
        n = len(strength)
        prompt = torch.arange(n) // self.of_prompt
        of_prompt = self.prompts_differ * normal(n, generator=generator)[prompt]
        liked = strength + of_prompt + 0.5 * normal(n, generator=generator)
        said = 3.0 + self.lenient + 0.9 * liked[:, None] + 0.8 * normal(n, self.raters, generator=generator)
        return said.round().clamp(1, 5).mean(dim=1), prompt


RATERS = (
    Raters("1 rater", raters=1),
    Raters("5 raters"),
    Raters("5 raters, most ratings 4 and 5", lenient=1.3),
    Raters("5 raters, prompts differ", prompts_differ=1.0),
    Raters("5 raters, prompts differ, 2 clips each", prompts_differ=1.0, of_prompt=2),
)


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers, float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def learn(loss: nn.Module, total: Callable[[Tensor, Mapping[str, Tensor]], Tensor], penalty: float) -> Tensor:
    """Return the weights [FEATURES] of the least loss; what the loss learns of its own is learnt with them.

    Args:
        loss: Where its parameters begin.
        total: The loss of all labels, of weights and of such parameters.
        penalty: On the squared weights.
    """
    # Weights that are free fix the scale of ratings.
    free = {name: one.detach() for name, one in loss.named_parameters() if name != "log_scale"}
    sizes = [FEATURES, *(one.numel() for one in free.values())]

    def value_and_slope(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        at = torch.from_numpy(point).requires_grad_()
        weights, *rest = torch.split(at, sizes)
        given = {name: part.reshape(free[name].shape) for name, part in zip(free, rest, strict=True)}
        value = total(weights, given) + penalty * weights.square().sum()
        (slope,) = torch.autograd.grad(value, at)
        return value.item(), slope.numpy()

    start = torch.cat((torch.zeros(FEATURES, dtype=torch.float64), *(one.reshape(-1) for one in free.values())))
    return torch.from_numpy(minimize(value_and_slope, start.numpy(), jac=True, method="L-BFGS-B").x[:FEATURES])


def ordered(found: Tensor, true: Tensor) -> float:
    """Return the share of pairs of new clips with normal features that weights put into the true order."""
    cosine = float(found @ true / (found.norm() * true.norm()))
    return 1.0 - math.acos(min(cosine, 1.0)) / math.pi


def best(loss: nn.Module, total: Callable[[Tensor, Mapping[str, Tensor]], Tensor], true: Tensor) -> float:
    """Return what the loss comes to with the penalty that suits it best."""
    return max(ordered(learn(loss, total, penalty), true) for penalty in PENALTIES)


def from_pairs(people: PairLoss, make: Callable[[], PairLoss], n: int, seed: int) -> tuple[float, list[float]]:
    """Return the share in order, and the shares of answers."""
    generator = torch.Generator().manual_seed(seed)
    true = normal(FEATURES, generator=generator)
    true *= 1.2 / true.norm()
    a, b = normal(2, n, FEATURES, generator=generator)
    answer = torch.multinomial(people.log_probabilities(a @ true, b @ true).detach().exp(), 1, generator=generator)[
        :, 0
    ]
    shares = [float((answer == one).double().mean()) for one in Outcome]
    loss = make()
    loss.start_from(dict(zip(Outcome, shares, strict=True)))
    loss = loss.double()
    used = torch.tensor([loss.uses(one) for one in Outcome])[answer]
    a, b, answer = a[used], b[used], answer[used]
    return best(loss, lambda w, given: functional_call(loss, dict(given), (a @ w, b @ w, answer)).sum(), true), shares


def from_ratings(raters: Raters, make: Callable[[], RatingLoss], n: int, seed: int) -> float:
    """Return the share in order."""
    generator = torch.Generator().manual_seed(seed)
    true = normal(FEATURES, generator=generator)
    true /= true.norm()
    clips = normal(n, FEATURES, generator=generator)
    rating, prompt = raters.rate(clips @ true, generator)
    loss = make()
    loss.start_from(rating)
    loss = loss.double()
    return best(loss, lambda w, given: functional_call(loss, dict(given), (clips @ w, rating, prompt)).sum(), true)


def pair_table(replicates: int) -> Iterator[str]:
    """Yield the lines of the table of losses on pairs."""
    yield f"| people | A, B, tie, both bad (%) | pairs | {' | '.join(PAIR_LOSSES)} |"
    yield "|" + "---|" * (len(PAIR_LOSSES) + 3)
    for name, people in PEOPLE.items():
        for n in LABELS:
            cells = []
            shares = [0.0]
            for make in PAIR_LOSSES.values():
                found = [from_pairs(people, make, n, seed) for seed in range(replicates)]
                cells.append(f"{100 * fmean(share for share, _ in found):.1f}")
                shares = [100 * fmean(column) for column in zip(*(one for _, one in found), strict=True)]
            said = ", ".join(f"{share:.0f}" for share in shares)
            yield f"| {name} | {said} | {n:,} | {' | '.join(cells)} |"


def rating_table(replicates: int) -> Iterator[str]:
    """Yield the lines of the table of losses on ratings."""
    yield f"| ratings | clips | {' | '.join(RATING_LOSSES)} |"
    yield "|" + "---|" * (len(RATING_LOSSES) + 2)
    for raters in RATERS:
        for n in LABELS:
            found = [
                fmean(from_ratings(raters, make, n, seed) for seed in range(replicates))
                for make in RATING_LOSSES.values()
            ]
            yield f"| {raters.name} | {n:,} | {' | '.join(f'{100 * one:.1f}' for one in found)} |"


def main() -> None:
    """Make the tables, print them and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=12, help="simulations that each figure is the mean of")
    replicates = parser.parse_args().replicates
    torch.set_num_threads(1)
    started = time.monotonic()
    lines = [
        f"Share of pairs of new clips in the true order (%), mean of {replicates} simulations.",
        "",
        *pair_table(replicates),
        "",
        *rating_table(replicates),
        "",
        f"{time.monotonic() - started:.0f} s.",
    ]
    text = "\n".join(lines) + "\n"
    write_text_atomic(OUTPUT, text)
    print_view(text)


if __name__ == "__main__":
    main()
