"""Families of hard and odd problems, from a seed: tilings with a known optimum, networks, and extremes."""

from __future__ import annotations

import random
from collections.abc import Callable

from memory_planner import Buffer, Problem


def tiling(rng: random.Random, count: int = 120, height: int = 1 << 20) -> Problem:
    """A rectangle cut at random into `count` pieces: the optimum is its height, and nothing may be wasted."""
    pieces = [(0, 4 * count, 0, height)]
    while len(pieces) < count:
        lower, upper, low, high = pieces.pop(max(range(len(pieces)), key=lambda i: rng.random() * area(pieces[i])))
        if upper - lower > 1 and (rng.random() < 0.5 or high - low < 2):
            at = rng.randrange(lower + 1, upper)
            pieces += [(lower, at, low, high), (at, upper, low, high)]
        elif high - low > 1:
            at = rng.randrange(low + 1, high)
            pieces += [(lower, upper, low, at), (lower, upper, at, high)]
        else:
            pieces.append((lower, upper, low, high))
    return Problem(tuple(Buffer(f"t{i}", h - v, a, b) for i, (a, b, v, h) in enumerate(pieces)))


def area(piece: tuple[int, int, int, int]) -> int:
    return (piece[1] - piece[0]) * (piece[3] - piece[2])


def transformer(rng: random.Random, layers: int = 40, width: int = 4096) -> Problem:
    """Activations of a training step: forward tensors live until their backward operation, which is met in reverse."""
    buffers, steps = [], layers * 12
    for layer in range(layers):
        for k, factor in enumerate((1, 3, 1, 2, 1, 1, 4, 4, 1)):
            at = layer * 6 + k * 6 // 9
            kept = rng.random() < 0.6
            upper = steps - at if kept else at + 1 + rng.randrange(1, 4)
            buffers.append(Buffer(f"l{layer}.{k}", factor * width * rng.choice((1, 1, 2)), at, max(at + 1, upper)))
        back = steps - (layer + 1) * 6
        for k in range(5):
            at = back + k
            buffers.append(Buffer(f"g{layer}.{k}", width * rng.choice((1, 1, 4)), at, at + 1 + rng.randrange(1, 5)))
    return Problem(tuple(buffers))


def aligned(rng: random.Random, count: int = 80, times: int = 60) -> Problem:
    """Every alignment from 1 to 4096, also such as are no power of two."""
    buffers = []
    for i in range(count):
        lower = rng.randrange(times)
        alignment = rng.choice((1, 2, 3, 4, 6, 8, 16, 48, 64, 100, 128, 4096))
        buffers.append(Buffer(f"a{i}", rng.randrange(1, 5000), lower, lower + rng.randrange(1, 20), alignment))
    return Problem(tuple(buffers))


def huge(rng: random.Random, count: int = 60) -> Problem:
    """Sizes up to 2^54 and times up to 2^62."""
    buffers = []
    for i in range(count):
        lower = rng.randrange(-(2**62), 2**62 - 2)
        buffers.append(Buffer(f"h{i}", rng.randrange(1, 2**54), lower, rng.randrange(lower + 1, 2**62)))
    return Problem(tuple(buffers))


def crowd(rng: random.Random, count: int = 2500) -> Problem:
    """All alive together somewhere: sections of thousands."""
    return Problem(
        tuple(
            Buffer(f"c{i}", rng.randrange(1, 1000), rng.randrange(100), 100 + rng.randrange(100)) for i in range(count)
        )
    )


def pinned(rng: random.Random, count: int = 60) -> Problem:
    """A tiling, half of it held where it was cut."""
    pieces: list[Buffer] = []
    level = 0
    for i in range(count):
        size, lower = rng.randrange(1, 300), rng.randrange(40)
        offset = level if rng.random() < 0.4 else None
        level += size if offset is not None else 0
        pieces.append(Buffer(f"p{i}", size, lower, lower + rng.randrange(1, 30), offset=offset))
    return Problem(tuple(pieces))


def groups(rng: random.Random, count: int = 80) -> Problem:
    """Alias groups of several members, some empty buffers, some of one tick."""
    buffers = []
    for i in range(count):
        lower = rng.randrange(50)
        group = f"g{rng.randrange(20)}" if rng.random() < 0.4 else None
        size = rng.choice((0, 1, rng.randrange(1, 4000)))
        buffers.append(
            Buffer(f"x{i}", size, lower, lower + rng.choice((1, 1, 12)), rng.choice((1, 4, 16)), group=group)
        )
    return Problem(tuple(buffers))


FAMILIES: dict[str, Callable[[random.Random], Problem]] = {
    "tiling": tiling,
    "transformer": transformer,
    "aligned": aligned,
    "huge": huge,
    "crowd": crowd,
    "pinned": pinned,
    "groups": groups,
}
