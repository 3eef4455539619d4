"""Every switch of the search in one place, so that each technique can be measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

TECHNIQUES = {
    "suffix_bound": 1 << 0,
    "not_first": 1 << 1,
    "active": 1 << 2,
    "symmetry": 1 << 3,
    "swap": 1 << 4,
    "decompose": 1 << 5,
    "weights": 1 << 6,
    "support": 1 << 7,
    "cliques": 1 << 8,
    "rerank": 1 << 9,
}


@dataclass(frozen=True)
class SearchOptions:
    """Limits and technique switches; the defaults are what `solve` uses.

    Args:
        threads: searches run side by side; the answer does not depend on who is faster.
        memory_limit_bytes: of the compiled core; past it the search is left out, the first fits remain.
        suffix_bound: bound a section by every suffix of heads, not by the lowest head alone.
        not_first: raise the heads of buffers that cannot be the lowest of a section.
        active: pass over a place only while another buffer can still block it.
        symmetry: identical buffers in one order.
        swap: of two stacked buffers with one lifetime the smaller lies below.
        decompose: solve independent time ranges apart.
        weights: branch where contradictions were met before.
        support: a buffer rests on the floor or on another one.
        cliques: keep only sections that no other contains.
        rerank: an order by the fullest section counts anew in every independent time range.
        sections: branch on a section chosen by its candidates; off: on the lowest buffer anywhere.
        restarts: short trials with varied orders; off: one search with saved state.
        bound_first: probe the lower bound before anything between it and the incumbent.
        first_fits: start from the portfolio of first fits.
        local_search: improve the first fits by re-ordering where the exact search is out of reach.
        exact: search at all.
        until_it_fits: with one pool of a size, end when the plan fits it and the bound has been probed.
    """

    threads: int = 1
    memory_limit_bytes: int = 1_500_000_000
    suffix_bound: bool = True
    not_first: bool = True
    active: bool = True
    symmetry: bool = True
    swap: bool = True
    decompose: bool = True
    weights: bool = True
    support: bool = True
    cliques: bool = True
    rerank: bool = True
    sections: bool = True
    restarts: bool = True
    bound_first: bool = True
    first_fits: bool = True
    local_search: bool = True
    exact: bool = True
    until_it_fits: bool = False

    @property
    def mask(self) -> int:
        """The techniques of the core that are on, as its bits."""
        return sum(bit for name, bit in TECHNIQUES.items() if getattr(self, name))


def switch_names() -> tuple[str, ...]:
    """Names of all techniques that can be switched off."""
    return tuple(field.name for field in fields(SearchOptions) if field.type == "bool" and field.default)
