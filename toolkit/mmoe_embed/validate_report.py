"""A validation in words."""

from mmoe_embed.board import Board
from mmoe_embed.storage import FlashModel
from mmoe_embed.validate import Report

_SLOWEST_SHOWN = 5


def render_report(report: Report, board: Board, flash: FlashModel | None = None) -> str:
    """A few lines for a person; the verdict line is the same on every board.

    Args:
        report: what was found.
        board: at the pace that it ran with.
        flash: whose time was modelled.
    """
    identity, comparison, statistics = report.identity, report.comparison, report.statistics
    lines = [
        f"{identity.board}: model {identity.model_id[:12]}, build {identity.build_id[:12]}, "
        f"firmware {identity.firmware_version}",
        f"logits bit-identical to the golden: {comparison.equal_logits} of {comparison.steps} steps",
    ]
    if comparison.first_difference:
        lines.append(f"  first difference: {comparison.first_difference}")
    lines.append(f"prompts     {comparison.prompts}; routes equal in {comparison.equal_routes} steps")
    chunks = next(check for check in report.checks if check.name == "prefill")
    lines.append(f"prefill     {chunks.detail} give the same logits in chunks")
    lines.append(f"speed       {describe_speed(report, board)}")
    lines.append(f"repeated    {describe_performance(report, board)}")
    if statistics.hit_rate is None:
        lines.append("experts     never asked for from slots: in place, or a dense model")
    else:
        lines.append(
            f"experts     {identity.slots} slots, hit rate {100 * statistics.hit_rate:.1f} % "
            f"({statistics.hits} hits, {statistics.misses} misses), {statistics.bytes_loaded} B loaded"
        )
    if identity.updates:
        lines.append(
            f"updates     {identity.updates} since the flash was written: the golden has the experts of the last one"
        )
    if flash is not None:
        lines.append(
            f"flash       modelled: {flash.bytes_per_s / 1e6:g} MB/s, {flash.latency_ns / 1e3:g} us a read"
            f"{', the core waits for it' if flash.blocking else ''}; an instruction takes {flash.instruction_ns} ns"
        )
    lines += _describe_loads(report, board)
    if report.paging:
        lines.append(report.paging.summary())
    stack = "stack not measured on this board"
    if statistics.stack_bytes:
        stack = f"stack {statistics.stack_used} of {statistics.stack_bytes} B"
    lines.append(f"watermarks  arena {statistics.arena_used} of {statistics.arena_bytes} B, {stack}")
    lines += _describe_slowest(report)
    if report.retries:
        lines.append(f"line        requests sent again, lost, damaged or late: {report.retries}")
    lines += [f"FAILED      {check.name}: {check.detail}" for check in report.checks if not check.ok]
    return "\n".join(lines)


def describe_speed(report: Report, board: Board) -> str:
    """What a token costs, in the unit that means something on this board: instructions, or time."""
    mean = sum(report.comparison.ticks) / max(1, len(report.comparison.ticks))
    return describe_cost(mean, report.identity.tick_hz, board)


def describe_performance(report: Report, board: Board) -> str:
    """How the speed was measured, and how far the repeats lie apart."""
    speed, tick_hz = report.performance, report.identity.tick_hz
    median, low, high = (
        describe_duration(ticks, tick_hz, board) for ticks in (speed.median, speed.fastest, speed.slowest)
    )
    return (
        f"{median} a token: median of {speed.repeats} repeats of {speed.steps} steps "
        f"after {speed.warm_up_steps} to warm up ({low} to {high})"
    )


def count_instructions(ticks: float, tick_hz: int, board: Board) -> float | None:
    """Instructions that ticks stand for on an emulated board; None where ticks are time.

    The board file has the clock of the emulator; the firmware's own belief of it, `tick_hz`, may be wrong.
    """
    qemu = board.runner.qemu
    if board.kind != "emulated" or qemu is None or not qemu.instructions_per_second or not tick_hz:
        return None
    return ticks * qemu.instructions_per_second / board.clock.systick_hz


def describe_cost(ticks: float, tick_hz: int, board: Board) -> str:
    """Ticks of a token in words; instructions are never called seconds."""
    instructions = count_instructions(ticks, tick_hz, board)
    if instructions is not None:
        rate = 1e6 / instructions if instructions else 0.0
        return f"{instructions:,.0f} instructions a token, {rate:.2f} tokens per million instructions"
    return f"{1e3 * ticks / tick_hz:.3f} ms a token" if tick_hz else f"{ticks:,.0f} ticks a token"


def _describe_loads(report: Report, board: Board) -> list[str]:
    """How long experts took to load and to check, and how much of that the model did not wait for."""
    statistics, steps = report.statistics, max(1, report.comparison.steps)
    if not statistics.load_ticks:
        return []
    load, stall, check = (
        describe_duration(ticks / steps, report.identity.tick_hz, board)
        for ticks in (statistics.load_ticks, statistics.stall_ticks, statistics.check_ticks)
    )
    hidden, ratio = 100 * (statistics.hidden_share or 0), report.compute_per_load or 0
    return [
        f"loads       {hidden:.1f} % hidden behind compute: {load} of reads a token, {stall} of waiting, "
        f"{check} of CRC-32; compute is {ratio:.2f} times the reads"
    ]


def describe_duration(ticks: float, tick_hz: int, board: Board) -> str:
    """Ticks in instructions on an emulated board, else in time."""
    instructions = count_instructions(ticks, tick_hz, board)
    if instructions is not None:
        return f"{instructions:,.0f} instructions"
    return f"{1e3 * ticks / tick_hz:.3f} ms" if tick_hz else f"{ticks:,.0f} ticks"


def _describe_slowest(report: Report) -> list[str]:
    total = sum(op.ticks for op in report.profile)
    if not total:
        return []
    order = sorted(range(len(report.profile)), key=lambda i: -report.profile[i].ticks)[:_SLOWEST_SHOWN]
    names = [report.op_names[i] if i < len(report.op_names) else f"op {i}" for i in order]
    parts = [f"{n} {100 * report.profile[i].ticks / total:.0f} %" for n, i in zip(names, order, strict=True)]
    return [f"most time   {', '.join(parts)}"]
