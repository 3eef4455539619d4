"""A plan's promise beside what the board did: hit rate, reads and stall of a token."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmoe_embed.serial.replies import Statistics

TOLERANCE = 0.1  # of the promised hit rate


@dataclasses.dataclass(frozen=True)
class Prefetched:
    """What reading ahead did.

    Attributes:
        pages, used: read ahead, and those of them that were then wanted.
        wasted_bytes: of the others; some may lie in slots and be wanted yet.
        saved_us_per_token: of stall, at most: the reads of pages that were wanted, as if each had been waited for.
    """

    pages: int
    used: int
    wasted_bytes: int
    saved_us_per_token: float

    def summary(self) -> str:
        """A line for a person."""
        return (
            f"prefetch    {self.used} of {self.pages} pages read ahead were wanted, {self.wasted_bytes} B read for"
            f" nothing; at most {self.saved_us_per_token:,.0f} us of stall a token saved"
        )


@dataclasses.dataclass(frozen=True)
class PagingReport:
    """Predicted and measured, side by side; predictions are None without a promise, or without a bandwidth.

    Attributes:
        hit_rate: 0..1, of uses served from a slot.
        stall_us_per_token: measured by the board's clock, which is virtual time on an emulated one; predicted with
            reads beside compute, or else, `at most`, as if every read were waited for.
        warning: what to do where the board is more than `TOLERANCE` off its promise; empty where it is not.
    """

    predicted_hit_rate: float | None
    hit_rate: float
    predicted_misses_per_token: float | None
    misses_per_token: float
    predicted_stall_us_per_token: float | None
    predicted_stall_at_most: bool
    stall_us_per_token: float
    prefetch: Prefetched | None
    warning: str

    def summary(self) -> str:
        """Lines for a person: measured, then predicted."""
        lines = [
            f"paging      measured {100 * self.hit_rate:.1f} % hits, {self.misses_per_token:.1f} reads and"
            f" {self.stall_us_per_token:,.0f} us of stall a token by the board's clock"
        ]
        if self.predicted_hit_rate is not None:
            stall = self.predicted_stall_us_per_token
            known = "stall not predicted: the board file has no bandwidth"
            if stall is not None:
                known = f"{stall:,.0f} us of stall{' at most' if self.predicted_stall_at_most else ''}"
            lines.append(
                f"            planned  {100 * self.predicted_hit_rate:.1f} % hits,"
                f" {self.predicted_misses_per_token:.1f} reads a token, {known}"
            )
        if self.prefetch:
            lines.append(self.prefetch.summary())
        if self.warning:
            lines.append(f"WARNING     {self.warning}")
        return "\n".join(lines)


def compare_promise(
    plan: Mapping[str, Any], statistics: Statistics, in_place_uses: int, tick_hz: int
) -> PagingReport | None:
    """What the board's counters say of the plan's promise; None where no expert was read or asked for from a slot.

    Args:
        plan: plan.json.
        statistics: of the board, whose hits include uses in place.
        in_place_uses: how many those were.
        tick_hz: of the statistics.
    """
    uses, steps = statistics.hits + statistics.misses, statistics.steps
    if plan.get("expert_mode") != "paged" or not uses or not steps or not tick_hz:
        return None
    rate = (statistics.hits - in_place_uses) / uses
    promise = plan.get("promise") or {}
    expected = promise.get("expected_stall_us_per_token")
    return PagingReport(
        promise.get("hit_rate"),
        rate,
        promise.get("misses_per_token"),
        statistics.misses / steps,
        promise.get("stall_us_per_token") if expected is None else expected,
        expected is None,
        1e6 * statistics.stall_ticks / steps / tick_hz,
        _describe_prefetch(plan["expert_bytes"], statistics, tick_hz),
        _warn(rate, promise, more_is_planned=bool(plan["paging"]["cache_margin"])),
    )


def _describe_prefetch(expert_bytes: int, statistics: Statistics, tick_hz: int) -> Prefetched | None:
    reads = statistics.bytes_loaded // expert_bytes
    if not statistics.prefetched or not reads:
        return None
    used, mean_ticks = statistics.prefetch_used, statistics.load_ticks / reads
    wasted = (statistics.prefetched - used) * expert_bytes
    return Prefetched(statistics.prefetched, used, wasted, 1e6 * used * mean_ticks / statistics.steps / tick_hz)


def _warn(rate: float, promise: Mapping[str, Any], *, more_is_planned: bool) -> str:
    """`more_is_planned`: routing is cache-aware, which a promise from a trace of plain routing does not know."""
    promised = promise.get("hit_rate")
    if promised is None or abs(rate - promised) <= TOLERANCE * promised or (more_is_planned and rate > promised):
        return ""
    off = 100 * (rate - promised) / promised if promised else float("inf")
    return (
        f"the board hits {100 * rate:.1f} %, its plan promised {100 * promised:.1f} % ({off:+.0f} %): these requests"
        f" are not like those of {promise['trace']}; record a trace of them (mmoe-embed trace) and build with --trace"
    )
