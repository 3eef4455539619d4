"""Synthetic routing traces by seed: none looks like the recorded one."""

import numpy as np

from mmoe_embed.paging.trace import Trace, make_trace

LAYERS, EXPERTS, TOP_K, TOKENS, SIZE = 8, 32, 2, 400, 1000


def route(choice: np.ndarray, sizes: list[int] | None = None, prompt: int = 0) -> Trace:
    """A trace of int (tokens, layers, top_k); the first `prompt` tokens are prefill."""
    _tokens, layers, _top_k = choice.shape
    token, layer, _ = np.indices(choice.shape)
    return make_trace(
        sizes or [SIZE] * layers,
        turn=np.zeros(choice.size, np.int64),
        phase=(token.ravel() >= prompt).astype(np.int64),
        step=token.ravel(),
        layer=layer.ravel(),
        expert=choice.ravel().astype(np.int64),
    )


def draw(generator: np.random.Generator, chances: np.ndarray, tokens: int, top_k: int) -> np.ndarray:
    """int (tokens, layers, top_k) without repeats in a token, by float (layers, experts)."""
    noise = generator.gumbel(size=(tokens, *chances.shape))
    return np.argsort(-(np.log(chances + 1e-12) + noise), -1)[..., :top_k]


def zipf(seed: int, exponent: float = 1.0, *, tokens: int = TOKENS) -> np.ndarray:
    generator = np.random.default_rng(seed)
    chances = np.stack([generator.permutation((1 + np.arange(EXPERTS)) ** -exponent) for _ in range(LAYERS)])
    return draw(generator, chances, tokens, TOP_K)


def phases(seed: int) -> np.ndarray:
    """The hot experts change every 50 tokens."""
    return np.concatenate([zipf(100 * seed + number, 1.5, tokens=50) for number in range(TOKENS // 50)])


def loop(seed: int, period: int = 16) -> np.ndarray:
    """Round robin: each expert comes again after `period` / top-k tokens, which a smaller cache cannot hold by LRU."""
    number = np.arange(TOKENS)[:, None, None] * TOP_K + np.arange(TOP_K)
    return np.broadcast_to((number + seed) % period, (TOKENS, LAYERS, TOP_K)).copy()


def scans(seed: int) -> np.ndarray:
    """A hot set, and every 40 tokens a walk over all experts."""
    choice, walk = zipf(seed, 2.0), loop(seed, EXPERTS)
    scanning = np.arange(TOKENS) % 40 < EXPERTS // TOP_K
    choice[scanning] = walk[scanning]
    return choice


def skewed(seed: int) -> np.ndarray:
    """Some layers use few experts, others all alike."""
    generator = np.random.default_rng(seed)
    chances = np.stack([(1.0 + np.arange(EXPERTS)) ** -(3.0 * layer / LAYERS) for layer in range(LAYERS)])
    return draw(generator, chances, TOKENS, TOP_K)


def sticky(seed: int) -> np.ndarray:
    """Each layer keeps its experts for a while: recency is everything."""
    generator = np.random.default_rng(seed)
    choice = draw(generator, np.ones((LAYERS, EXPERTS)), TOKENS, TOP_K)
    for token in range(1, TOKENS):
        stays = generator.random(LAYERS) < 0.9
        choice[token, stays] = choice[token - 1, stays]
    return choice


KINDS = {"zipf": zipf, "phases": phases, "loop": loop, "scans": scans, "skewed": skewed, "sticky": sticky}
