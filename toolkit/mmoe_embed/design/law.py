"""The joint scaling law of MobileMoE: loss over active parameters, tokens and expanded expert count.

    L = A m(g, s) Ê^δ N^(α + γ ln Ê) + B Ê^ω D^(β + ζ ln Ê) + c
    1/Ê = 1 / (E - 1 + 1 / (1 - 1/E_max)) + 1/E_max,  E_max = 32
    m(g, s) = g^η exp(σ s) for E > 1, else 1

N active parameters and D tokens, both in units of `Law.unit`; E experts; g granularity; s 1 with a shared expert. The
paper fits all constants anew for each g and each s; as far as they are known they are one joint set. Here g and s scale
the first term, which two constants more can say and a few runs can fix; for the paper's set both are 0: not known.

Source:
    form and constants: arXiv 2605.27358, section on the scaling law and table A.2, by a secondary source; Ê is from
    arXiv 2202.01169, the joint law from arXiv 2502.05172.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmoe_embed.errors import ToolkitError, UsageError

MOST_EXPERTS = 32  # E_max; Ê saturates there
CONSTANTS = ("A", "delta", "alpha", "gamma", "B", "omega", "beta", "zeta", "c", "eta", "sigma")


@dataclasses.dataclass(frozen=True)
class Range:
    """Where the runs lay that a law was fitted to: (least, most) of each."""

    active: tuple[float, float]
    tokens: tuple[float, float]
    experts: tuple[float, float]
    granularity: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Law:
    """One set of constants.

    Attributes:
        name: what they were fitted to.
        A, delta, alpha, gamma: of the term of active parameters.
        B, omega, beta, zeta: of the term of tokens.
        c: loss that no size and no data removes, nats a token.
        eta: exponent of granularity; 0 where not known.
        sigma: log of what a shared expert multiplies the first term by; 0 where not known.
        unit: N and D are counted in it.
        fitted: where the constants hold.
        rmse: of the fit, nats a token.
    """

    name: str
    A: float
    delta: float
    alpha: float
    gamma: float
    B: float
    omega: float
    beta: float
    zeta: float
    c: float
    eta: float
    sigma: float
    unit: float
    fitted: Range
    rmse: float

    def loss(
        self,
        active: ArrayLike,
        tokens: ArrayLike,
        experts: ArrayLike,
        granularity: ArrayLike = 1.0,
        shared: ArrayLike = False,
    ) -> NDArray[np.float64]:
        """Predicted held-out loss, nats a token; arguments may be arrays of one shape."""
        theta = np.array([getattr(self, name) for name in CONSTANTS])
        n, d = np.asarray(active, float) / self.unit, np.asarray(tokens, float) / self.unit
        return evaluate(theta, np.log(n), np.log(d), experts, granularity, shared)

    def outside(self, active: float, tokens: float, experts: float, granularity: float) -> list[str]:
        """In which respects a model lies where the law was not fitted; a line each."""
        asked = {"active": active, "tokens": tokens, "experts": experts, "granularity": granularity}
        lines = []
        for name, value in asked.items():
            least, most = getattr(self.fitted, name)
            if not least <= value <= most:
                lines.append(f"{name} {value:,.10g} is outside {least:,.10g}..{most:,.10g} of the law's runs")
        return lines

    def to_json(self) -> str:
        """The law as a file."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def expand(experts: ArrayLike) -> NDArray[np.float64]:
    """Ê of E: 1 at 1, and saturating as E grows."""
    start = 1 / (1 - 1 / MOST_EXPERTS)
    return 1 / (1 / (np.asarray(experts, float) - 1 + start) + 1 / MOST_EXPERTS)


def evaluate(
    theta: NDArray[np.float64],
    log_n: NDArray[np.float64],
    log_d: NDArray[np.float64],
    experts: ArrayLike,
    granularity: ArrayLike,
    shared: ArrayLike,
) -> NDArray[np.float64]:
    """The law for constants in the order of CONSTANTS."""
    a, delta, alpha, gamma, b, omega, beta, zeta, c, eta, sigma = theta
    log_e = np.log(expand(experts))
    mixed = np.asarray(experts, float) > 1
    variant = mixed * (eta * np.log(np.asarray(granularity, float)) + sigma * np.asarray(shared, float))
    size = a * np.exp(variant + delta * log_e + (alpha + gamma * log_e) * log_n)
    data = b * np.exp(omega * log_e + (beta + zeta * log_e) * log_d)
    return np.asarray(size + data + c)


PAPER = Law(
    "MobileMoE, 0.3 to 0.9 B active parameters and 100 to 500 B tokens: far above a microcontroller's models",
    A=0.2388,
    delta=0.0906,
    alpha=-0.2833,
    gamma=0.0387,
    B=0.6019,
    omega=1.0593,
    beta=-0.3210,
    zeta=-0.3684,
    c=1.9730,
    eta=0.0,
    sigma=0.0,
    unit=1e9,
    fitted=Range((0.3e9, 0.9e9), (100e9, 500e9), (1, 32), (1, 16)),
    rmse=0.0076,
)


def load_law(name: str) -> Law:
    """One of "paper", "watch" (the fit to this project's own runs), or a file that `design fit` wrote.

    Raises:
        ToolkitError: no such file, or not a law.
    """
    if name == "paper":
        return PAPER
    if name == "watch":
        return parse_law(Path(__file__).with_name("watch.json").read_text("utf-8"), name)
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"no law {name!r}", try_="paper, watch, or the law.json that `mmoe-embed design fit` wrote")
    return parse_law(file.read_text("utf-8", "replace"), name)


def parse_law(text: str, at: str) -> Law:
    """A law from its file.

    Raises:
        ToolkitError: not JSON, or a constant is missing, unknown or no number.
    """
    try:
        table = json.loads(text)
        fitted = Range(**{key: (float(low), float(high)) for key, (low, high) in table.pop("fitted").items()})
        numbers = {key: float(value) for key, value in table.items() if key != "name"}
        return Law(name=str(table["name"]), fitted=fitted, **numbers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolkitError(f"not a law: {error}", at=at, try_="write it with `mmoe-embed design fit RUNS`") from None
