"""The law's constants from training runs: Huber loss on log losses, Levenberg-Marquardt, bootstrap intervals."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.design.law import CONSTANTS, Law, Range, evaluate, expand
from mmoe_embed.design.runs import Run
from mmoe_embed.errors import UsageError

Floats = NDArray[np.float64]

_POSITIVE = ("A", "B", "c")  # searched as logarithms
_NEGATIVE = ("alpha", "beta")  # as logarithms of their magnitude: more is never worse where E is 1
_HUBER = 0.01  # of a log loss; beyond it a run counts by its distance, not by its square
# How far constants are expected from the first guess, a standard deviation: logarithms of positive and negative ones,
# and the others, whose guess is that E, g and s change nothing. Runs that say more than this decide.
_SPREAD_LOG, _SPREAD = 1.0, 0.2
_SPREADS = np.array([_SPREAD_LOG if name in (*_POSITIVE, *_NEGATIVE) else _SPREAD for name in CONSTANTS])
_STEPS = 200
_STARTS = 12
_UNIT = 1e6  # runs are of millions, not of billions
_EXPERTS = np.array([1, 2, 4, 8, 16, 32])
LEVEL = 0.9  # of the intervals


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value, and where LEVEL of the bootstrap's values lie."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the paper found, as these runs have it.

    Attributes:
        size, tokens: where `best_experts` and `gain` are told: the runs' geometric means.
        best_experts: E of the lowest loss, of 1, 2, 4, ... up to the runs' largest.
        gain: loss of best_experts over the dense model's, less one.
        finer: what twice the granularity multiplies the term of active parameters by; None where it does not vary.
        shared: what a shared expert multiplies it by; None where it does not vary.
    """

    size: float
    tokens: float
    best_experts: Interval | None
    gain: Interval | None
    finer: Interval | None
    shared: Interval | None

    def summary(self) -> str:
        """Three lines for a person."""
        lines = []
        if self.best_experts and self.gain:
            lines.append(
                f"experts      lowest loss at E = {self.best_experts}, {100 * self.gain.value:+.2f} %"
                f" [{100 * self.gain.low:+.2f}, {100 * self.gain.high:+.2f}] against dense,"
                f" at {self.size:,.0f} active parameters and {self.tokens:,.0f} tokens"
            )
        for name, what, factor in (
            ("granularity", "doubled", self.finer),
            ("shared", "one of half the width", self.shared),
        ):
            if factor:
                verdict = "helps" if factor.high < 1 else "harms" if factor.low > 1 else "no difference to be told"
                lines.append(f"{name:<12} {what}, the term of active parameters x {factor}: {verdict}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Refit:
    """A law, and how sure it is.

    Attributes:
        intervals: of each constant that the runs can tell.
        residuals: predicted less measured loss of each run, nats a token.
        runs: that it was fitted to.
        left_out: runs that choose one expert a token.
    """

    law: Law
    intervals: dict[str, Interval]
    findings: Findings
    residuals: Floats
    runs: tuple[Run, ...]
    left_out: tuple[Run, ...]


def fit_law(runs: Sequence[Run], name: str, *, samples: int = 200, seed: int = 0) -> Refit:
    """Fit the law to runs; constants of what the runs do not vary stay 0.

    Models that choose one expert a token are left out: its weight is always 1, so the loss teaches their router
    nothing, and they are worse than dense ones, which no power of the granularity says.

    Args:
        runs: at least two sizes, two token counts, and more runs than constants.
        name: of the law.
        samples: of the bootstrap, by runs.
        seed: of the bootstrap.

    Raises:
        UsageError: too few runs, or sizes or tokens do not vary.
    """
    left_out = tuple(run for run in runs if run.at.routed == 1)
    runs = [run for run in runs if run.at.routed != 1]
    data = _Data.of(runs)
    free = _free_constants(data)
    if len(runs) <= len(free):
        raise UsageError(
            f"{len(runs)} runs cannot fix {len(free)} constants ({', '.join(free)})", try_="mmoe-embed design sweep"
        )
    rng = np.random.default_rng(seed)
    starts = [_first_guess(data), *(_first_guess(data, rng) for _ in range(_STARTS - 1))]
    guess = starts[0]
    best = min((_minimise(data, start, guess, free) for start in starts), key=lambda found: found[1])[0]
    drawn = np.array(
        [_minimise(data.take(rng.integers(0, len(runs), len(runs))), best, guess, free)[0] for _ in range(samples)]
    )
    theta, samples_of = _decode(best), np.array([_decode(sample) for sample in drawn])
    residuals = data.predict(theta) - data.loss
    law = Law(
        name,
        **dict(zip(CONSTANTS, theta.tolist(), strict=True)),
        unit=_UNIT,
        fitted=_range_of(runs),
        rmse=float(np.sqrt(np.mean(residuals**2))),
    )
    intervals = {
        constant: _interval(theta[i], samples_of[:, i]) for i, constant in enumerate(CONSTANTS) if constant in free
    }
    return Refit(law, intervals, _find(data, theta, samples_of, free), residuals, tuple(runs), left_out)


@dataclasses.dataclass(frozen=True)
class _Data:
    """Runs as columns, all (runs)."""

    log_n: Floats
    log_d: Floats
    experts: Floats
    granularity: Floats
    shared: Floats
    loss: Floats

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "_Data":
        columns = zip(
            *((r.at.active, r.tokens, r.at.experts, r.at.granularity, r.at.shared, r.loss) for r in runs), strict=True
        )
        n, d, experts, granularity, shared, loss = (np.array(column, float) for column in columns)
        return cls(np.log(n / _UNIT), np.log(d / _UNIT), experts, granularity, shared, loss)

    def take(self, rows: NDArray[np.int64]) -> "_Data":
        return _Data(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def predict(self, theta: Floats) -> Floats:
        return evaluate(theta, self.log_n, self.log_d, self.experts, self.granularity, self.shared)


def _free_constants(data: _Data) -> list[str]:
    def varies(values: Floats) -> bool:
        return bool(np.ptp(values) > 1e-9)

    for what, values in (("active parameters", data.log_n), ("tokens", data.log_d)):
        if not varies(values):
            raise UsageError(f"all runs have the same {what}: a law needs two", try_="mmoe-embed design sweep")
    mixed = data.experts > 1
    free = ["A", "alpha", "B", "beta", "c"]
    free += ["delta", "gamma", "omega", "zeta"] if varies(data.experts) else []
    free += ["eta"] if mixed.any() and varies(data.granularity[mixed]) else []
    return free + (["sigma"] if mixed.any() and varies(data.shared[mixed]) else [])


def _first_guess(data: _Data, rng: np.random.Generator | None = None) -> Floats:
    """Encoded: half of the least loss stays, the rest is shared by size and data; spread by `rng`."""
    least = float(data.loss.min())
    guess = dict.fromkeys(CONSTANTS, 0.0) | {
        "A": np.log(0.25 * least),
        "B": np.log(0.25 * least),
        "c": np.log(0.5 * least),
        "alpha": np.log(0.3),
        "beta": np.log(0.3),
    }
    values = np.array([guess[name] for name in CONSTANTS])
    return values if rng is None else values + rng.normal(0, 0.5, len(values)) * (values != 0)


def _decode(encoded: Floats) -> Floats:
    theta = encoded.copy()
    for i, name in enumerate(CONSTANTS):
        if name in _POSITIVE:
            theta[i] = np.exp(encoded[i])
        elif name in _NEGATIVE:
            theta[i] = -np.exp(encoded[i])
    return theta


def _minimise(data: _Data, start: Floats, guess: Floats, free: Sequence[str]) -> tuple[Floats, float]:
    """(encoded constants, objective) of a local minimum from `start`; constants not in `free` stay."""
    chosen = [i for i, name in enumerate(CONSTANTS) if name in free]
    x, damping = start.copy(), 1e-2
    value = _objective(data, x, guess)
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(data, x, guess, chosen)
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
        tried = x.copy()
        tried[chosen] -= np.clip(step, -1, 1)
        found = _objective(data, tried, guess)
        if found < value:
            done = value - found < 1e-10 * value
            x, value, damping = tried, found, max(damping / 3, 1e-9)
            if done:
                break
        else:
            damping *= 4
            if damping > 1e9:
                break
    return x, value


def _objective(data: _Data, encoded: Floats, guess: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.log(data.predict(_decode(encoded)) / data.loss)) / _HUBER
    huber = np.where(error <= 1, 0.5 * error**2, error - 0.5)
    total = float(huber.sum() + 0.5 * np.sum(((encoded - guess) / _SPREADS) ** 2))
    return total if np.isfinite(total) else np.inf


def _derivatives(data: _Data, encoded: Floats, guess: Floats, chosen: Sequence[int]) -> tuple[Floats, Floats]:
    """Gradient, and Gauss-Newton's curvature, over the chosen constants."""
    theta = _decode(encoded)
    predicted = data.predict(theta)
    jacobian = (_slopes(data, theta) / predicted[:, None] / _HUBER)[:, chosen]
    error = np.log(predicted / data.loss) / _HUBER
    weight = 1 / np.maximum(1, np.abs(error))
    weighted = jacobian * weight[:, None]
    pull = ((encoded - guess) / _SPREADS**2)[chosen]
    return weighted.T @ error + pull, weighted.T @ jacobian + np.diag(1 / _SPREADS[chosen] ** 2)


def _slopes(data: _Data, theta: Floats) -> Floats:
    """d loss / d encoded constant, (runs, constants)."""
    a, delta, alpha, gamma, b, omega, beta, zeta, c, eta, sigma = theta
    log_e, mixed = np.log(expand(data.experts)), data.experts > 1
    log_g = mixed * np.log(data.granularity)
    shared = mixed * data.shared
    size = a * np.exp(eta * log_g + sigma * shared + delta * log_e + (alpha + gamma * log_e) * data.log_n)
    tokens = b * np.exp(omega * log_e + (beta + zeta * log_e) * data.log_d)
    by_name = {
        "A": size,
        "delta": size * log_e,
        "alpha": size * data.log_n * alpha,
        "gamma": size * log_e * data.log_n,
        "B": tokens,
        "omega": tokens * log_e,
        "beta": tokens * data.log_d * beta,
        "zeta": tokens * log_e * data.log_d,
        "c": np.full_like(size, c),
        "eta": size * log_g,
        "sigma": size * shared,
    }
    return np.stack([by_name[name] for name in CONSTANTS], axis=1)


def _interval(value: float, samples: Floats) -> Interval:
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))


def _find(data: _Data, theta: Floats, samples: Floats, free: Sequence[str]) -> Findings:
    log_n, log_d = data.log_n.mean(), data.log_d.mean()
    tried = _EXPERTS[data.experts.max() >= _EXPERTS]
    mixed = data.experts > 1
    granularity = float(np.exp(np.log(data.granularity[mixed]).mean())) if mixed.any() else 1.0

    def losses(constants: Floats) -> Floats:
        return evaluate(constants, log_n, log_d, tried, granularity, float(data.shared[mixed].max(initial=0)))

    def factor(name: str, scale: float) -> Interval | None:
        i = CONSTANTS.index(name)
        return _interval(np.exp(scale * theta[i]), np.exp(scale * samples[:, i])) if name in free else None

    def of_experts(tell: Callable[[Floats], float]) -> Interval | None:
        if len(tried) < 2:
            return None
        return _interval(tell(losses(theta)), np.array([tell(losses(sample)) for sample in samples]))

    return Findings(
        float(np.exp(log_n) * _UNIT),
        float(np.exp(log_d) * _UNIT),
        of_experts(lambda found: float(tried[found.argmin()])),
        of_experts(lambda found: float(found.min() / found[0] - 1)),
        factor("eta", np.log(2)),
        factor("sigma", 1.0),
    )


def _range_of(runs: Sequence[Run]) -> Range:
    def of(values: Sequence[float]) -> tuple[float, float]:
        return min(values), max(values)

    return Range(
        of([run.at.active for run in runs]),
        of([run.tokens for run in runs]),
        of([run.at.experts for run in runs]),
        of([run.at.granularity for run in runs]),
    )
