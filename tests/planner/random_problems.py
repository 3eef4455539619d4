"""Random problems and a brute force, shared by the planner tests."""

from __future__ import annotations

from itertools import permutations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from memory_planner import Buffer, Problem

settings.register_profile("planner", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("planner")

# The smallest instance known whose optimum (8) is above its load (7).
WITNESS = [(0, 1, 2), (0, 2, 2), (0, 5, 3), (1, 3, 1), (1, 4, 1), (2, 4, 1), (3, 5, 2), (4, 5, 2)]


def make_problem(rows: list[tuple[int, ...]]) -> Problem:
    """Rows of (lower, upper, size[, alignment])."""
    return Problem(
        tuple(
            Buffer(f"b{i}", row[2], row[0], row[1], alignment=row[3] if len(row) > 3 else 1)
            for i, row in enumerate(rows)
        )
    )


@st.composite
def rows(draw: st.DrawFn, largest: int = 24, aligned: bool = True) -> list[tuple[int, ...]]:
    """Random problems, from loose to tight, some aligned, some with equal sizes."""
    count = draw(st.integers(1, largest))
    span = draw(st.sampled_from([2, 4, 8, 20]))
    size = st.integers(1, draw(st.sampled_from([2, 5, 40, 10_000])))
    alignment = draw(st.sampled_from([[1], [1], [4], [1, 2, 4, 16]])) if aligned else [1]
    result = []
    for _ in range(count):
        lower = draw(st.integers(0, span))
        result.append((lower, lower + draw(st.integers(1, span)), draw(size), draw(st.sampled_from(alignment))))
    return result


def find_optimum(problem: Problem) -> int:
    """Brute force: first fit over every order reproduces some optimal packing."""
    best = sum(b.size_bytes + b.alignment - 1 for b in problem.buffers)
    for order in permutations(problem.buffers):
        placed: list[tuple[int, int, Buffer]] = []
        peak = 0
        for b in order:
            at = 0
            for offset, end, other in sorted(placed, key=lambda p: p[0]):
                if other.lower < b.upper and b.lower < other.upper and offset < at + b.size_bytes:
                    at = max(at, -(-end // b.alignment) * b.alignment)
            placed.append((at, at + b.size_bytes, b))
            peak = max(peak, at + b.size_bytes)
            if peak >= best:
                break
        best = min(best, peak)
    return best
