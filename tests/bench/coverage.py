"""How often intervals hold the true score or difference of bits per byte, by simulation of pages.

    python -m tests.bench.coverage                                  # populations that mimic real pages, below
    python -m tests.bench.coverage --samples results/scores        # pages sampled from a run's own, too

Prints, for 10, 20 and 50 pages, the share of simulated experiments whose 95 % interval holds the truth, for the interval of
`tokgraft.scoring.statistics` and for others that were considered.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from tokgraft.scoring.statistics import Samples, paired_difference, read_samples, score_interval

Array = npt.NDArray[np.float64]
Bounds = tuple[Array, Array]
PAGES = (10, 20, 50)
DRAWS = 400


@dataclass(frozen=True)
class Population:
    """Pages as the default experiment has them: bytes log-normal, bits per byte of a page from a shifted gamma distribution.

    Attributes:
        mean: Bits per byte, or a difference of two models.
        sd: Standard deviation over pages.
        skew: Skewness over pages.
        lengths: Standard deviation of the logarithm of bytes.
    """

    mean: float
    sd: float
    skew: float
    lengths: float = 0.6

    def sample(self, rng: np.random.Generator, *shape: int) -> tuple[Array, Array]:
        """(bits, bytes) of pages."""
        sizes = np.round(500 * np.exp(rng.normal(0, self.lengths, shape)))
        k = 4 / self.skew**2
        values = self.mean + self.sd * np.sign(self.skew) * (rng.gamma(k, 1, shape) - k) / np.sqrt(k)
        return values * sizes, sizes


# Spread and skew of pages in the default experiment (pocket and SmolLM2, German and Greek, before and after training).
SCORES = {"score": Population(2.1, 0.34, 1.0), "score, long tail": Population(2.2, 0.40, 1.4, 0.77)}
DIFFERENCES = {
    "difference": Population(-0.07, 0.05, -0.75),
    "difference, pages of unlike length": Population(-0.36, 0.145, -0.8, 0.77),
    "difference, skewed": Population(-0.26, 0.19, -1.7),
}


def samples(bits: Array, sizes: Array) -> Samples:
    """One simulated experiment as the library takes it."""
    return Samples(tuple(f"{index:04d}" for index in range(len(bits))), bits, sizes)


def ours(bits: Array, sizes: Array, single: bool = False) -> Bounds:
    """The library's interval of each row."""
    found = []
    for row, size in zip(bits, sizes, strict=True):
        if single:
            one = score_interval([samples(row, size)])
        else:
            # Any two models with this difference: the interval depends on nothing else.
            one = paired_difference([samples(row + 3 * size, size)], [samples(3 * size, size)])
        found.append((one.low, one.high))
    low, high = np.array(found).T
    return low, high


def _parts(bits: Array, sizes: Array) -> tuple[Array, Array, Array]:
    """(ratio, leave-one-out ratios, jackknife error) of each row."""
    n = bits.shape[1]
    out = (bits.sum(1, keepdims=True) - bits) / (sizes.sum(1, keepdims=True) - sizes)
    error = np.sqrt((n - 1) / n * ((out - out.mean(1, keepdims=True)) ** 2).sum(1))
    return bits.sum(1) / sizes.sum(1), out, error


def student(bits: Array, sizes: Array) -> Bounds:
    """Jackknife error and Student's t."""
    ratio, _, error = _parts(bits, sizes)
    reach = stats.t.ppf(0.975, bits.shape[1] - 1) * error
    return ratio - reach, ratio + reach


def _resampled(bits: Array, sizes: Array) -> tuple[Array, Array]:
    """(ratios, linearised errors) of resampled pages, (rows, draws)."""
    n = bits.shape[1]
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(float)
    top, bottom = bits @ counts.T, sizes @ counts.T
    ratio = top / bottom
    square = (bits**2) @ counts.T - 2 * ratio * ((bits * sizes) @ counts.T) + ratio**2 * ((sizes**2) @ counts.T)
    return ratio, np.sqrt(np.maximum(square, 1e-18) * n / (n - 1)) / bottom


def percentile(bits: Array, sizes: Array) -> Bounds:
    """Percentiles of the bootstrap over pages."""
    low, high = np.quantile(_resampled(bits, sizes)[0], (0.025, 0.975), axis=1)
    return low, high


def studentised(bits: Array, sizes: Array) -> Bounds:
    """Bootstrap-t."""
    ratio, _, error = _parts(bits, sizes)
    drawn, errors = _resampled(bits, sizes)
    low, high = np.quantile((drawn - ratio[:, None]) / errors, (0.025, 0.975), axis=1)
    return ratio - high * error, ratio - low * error


def corrected(bits: Array, sizes: Array) -> Bounds:
    """Bias-corrected and accelerated bootstrap (BCa)."""
    ratio, out, _ = _parts(bits, sizes)
    drawn, _ = _resampled(bits, sizes)
    bias = stats.norm.ppf(np.clip((drawn < ratio[:, None]).mean(1), 0.002, 0.998))
    away = out.mean(1, keepdims=True) - out
    bend = (away**3).sum(1) / (6 * (away**2).sum(1) ** 1.5)
    ends = []
    for z in stats.norm.ppf((0.025, 0.975)):
        share = stats.norm.cdf(bias + (bias + z) / (1 - bend * (bias + z)))
        ends.append(np.array([np.quantile(row, at) for row, at in zip(drawn, share, strict=True)]))
    return ends[0], ends[1]


OTHERS: dict[str, Callable[[Array, Array], Bounds]] = {
    "percentile bootstrap": percentile,
    "BCa": corrected,
    "jackknife t": student,
    "bootstrap-t": studentised,
}


def covered(bounds: Bounds, truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(((bounds[0] <= truth) & (truth <= bounds[1])).mean())


def seeds_covered(seeds: int, between: float, pages: int, trials: int, rng: np.random.Generator) -> float:
    """Coverage of a paired difference over training seeds that differ by `between`, with pages and seeds both sampled."""
    one, hits = DIFFERENCES["difference"], 0
    for _ in range(trials):
        bits, sizes = one.sample(rng, pages)
        runs = [bits + sizes * (rng.normal(0, between) + rng.normal(0, one.sd / 2, pages)) for _ in range(seeds)]
        found = paired_difference([samples(run + 3 * sizes, sizes) for run in runs], [samples(3 * sizes, sizes)])
        hits += found.low <= one.mean <= found.high
    return hits / trials


def pools(folder: Path) -> Iterator[tuple[str, Array, Array]]:
    """(name, bits, bytes) of every score and every difference of two models on one task in a folder of scores."""
    by_task: dict[tuple[str, ...], list[tuple[Array, Array]]] = {}
    for path in sorted(folder.glob("*/*/**/samples/bpb*.jsonl")):
        one = read_samples(path)
        if len(one) >= 25:
            place = (*path.relative_to(folder).parts[:2], path.name, *one.ids)
            by_task.setdefault(place, []).append((one.top, one.bottom))
    for found in by_task.values():
        yield from (("score", *one) for one in found)
        yield from (("difference", one[0] - other[0], one[1]) for one, other in combinations(found, 2))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, help="Folder of scores whose pages are resampled.")
    parser.add_argument("--trials", type=int, default=2000, help="Simulated experiments for each number.")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| pages | of | tokgraft | " + " | ".join(OTHERS) + " |\n|---" * 1 + "|---" * (len(OTHERS) + 2) + "|")
    for pages in PAGES:
        for name, one in {**SCORES, **DIFFERENCES}.items():
            bits, sizes = one.sample(rng, asked.trials, pages)
            shares = [covered(ours(bits, sizes, name in SCORES), one.mean), *(covered(f(bits, sizes), one.mean) for f in OTHERS.values())]
            print(f"| {pages} | {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |", flush=True)
    for seeds in (2, 3, 5):
        shares = [seeds_covered(seeds, between, 20, asked.trials, rng) for between in (0.0, 0.02, 0.1)]
        print(f"{seeds} seeds, 20 pages, seeds spread by 0, 0.02, 0.1 bits:", " ".join(f"{share:.3f}" for share in shares), flush=True)
    real = list(pools(asked.samples)) if asked.samples else []
    for pages in PAGES if real else ():
        for kind in ("score", "difference"):
            found: dict[str, list[float]] = {}
            for name, top, bottom in real:
                if name == kind:
                    chosen = rng.integers(0, len(top), (max(asked.trials // 10, 100), pages))
                    truth = float(top.sum() / bottom.sum())
                    for way, interval in {"tokgraft": lambda x, y: ours(x, y), **OTHERS}.items():
                        found.setdefault(way, []).append(covered(interval(top[chosen], bottom[chosen]), truth))
            print(
                pages,
                kind,
                {way: f"{np.median(shares):.3f}, a tenth below {np.quantile(shares, 0.1):.3f}" for way, shares in found.items()},
                flush=True,
            )


if __name__ == "__main__":
    main()
