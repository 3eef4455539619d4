"""What a plan promises of hit rate, reads and stall of a token, and beside it what the board did."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmoe_embed.paging.prefetch import Forecast
from mmoe_embed.serial.replies import Statistics

TOLERANCE = 0.1  # of the promised hit rate


@dataclasses.dataclass(frozen=True)
class Promise:
    """What a plan expects of requests like its trace's; `promise` of plan.json.

    Attributes:
        hit_rate: 0..1, of all uses, of those served from a slot.
        misses_per_token: uses that wait for a read, or at least begin one.
        in_place_per_token: uses where the expert lies.
        stall_us_per_token: with every read waited for; None without a bandwidth.
        bound_hit_rate: of the same slots by Bélády's policy with bypass, which knows the future.
        below_cycle: the slots are fewer than the experts of one token.
        prefetch: guesses of each layer that are read ahead.
        expected_stall_us_per_token: with reads beside compute and that prefetch; None where it cannot be told.
        forecasts: what 0, 1, 2, ... of them would do; only the first where the trace has no guesses, none where the
            board's times are not known.
    """

    trace: str
    trace_sha256: str
    tokens: int
    hit_rate: float
    misses_per_token: float
    in_place_per_token: float
    stall_us_per_token: float | None
    bound_hit_rate: float
    below_cycle: bool
    prefetch: int
    expected_stall_us_per_token: float | None
    forecasts: tuple[Forecast, ...]

    def describe_prefetch(self) -> str:
        """What reading ahead is expected to do, in a line."""
        if len(self.forecasts) < 2:
            why = "times of the board's kernels" if not self.forecasts else "guesses in the trace (`mmoe-embed trace`)"
            return f"{self.prefetch}: whether it pays cannot be told without {why}"
        told = ", ".join(
            f"{f.stall_us:,.0f} with {f.prefetch} ({f.unused:.1f} reads for nothing)" for f in self.forecasts[1:]
        )
        return f"{self.prefetch}: us of stall a token {self.forecasts[0].stall_us:,.0f} without, {told}"

    def summary(self) -> str:
        """One line for a person."""
        in_place = f", {self.in_place_per_token:.1f} in place" if self.in_place_per_token else ""
        expected = self.expected_stall_us_per_token
        stall = "" if expected is None else f", {expected:,.0f} us of stall"
        stall += "" if self.stall_us_per_token is None else f", {self.stall_us_per_token:,.0f} at most"
        return (
            f"{100 * self.hit_rate:.1f} % hits, {self.misses_per_token:.1f} reads a token{in_place}{stall}"
            f" (Bélády {100 * self.bound_hit_rate:.1f} %; on the second half of {self.trace})"
        )


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
