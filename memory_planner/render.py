"""Draw a plan: address against time."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from memory_planner.plan import Plan
from memory_planner.problem import Buffer, Pool, Problem

WIDTH, HEIGHT, MARGIN, FOOT = 960, 420, 90, 96
MANY = 4000  # buffers; above, names and tooltips are left out so that a viewer can still open the file
STYLE = (
    "text{font:11px sans-serif;fill:#222}.name{font-size:9px;text-anchor:middle;dominant-baseline:central}"
    ".axis{stroke:#888;stroke-width:1}.peak{stroke:#c00;stroke-dasharray:6 3}.bound{stroke:#06c;stroke-dasharray:2 3}"
    "rect.b{stroke:#fff;stroke-width:.5}rect.hot{stroke:#c00;stroke-width:1.2}.title{font-size:13px;font-weight:bold}"
)


def svg(problem: Problem, plan: Plan) -> str:
    """Draw every pool: address upward, time to the right, the peak, the bound, and what is alive at the peak.

    Returns:
        A stand-alone SVG document; the same input gives the same text.
    """
    used = [p for p in problem.pools if plan.peak_bytes[p.name] or len(problem.pools) == 1]
    step = HEIGHT + FOOT + 60
    body = "".join(draw_pool(problem, plan, pool, i * step) for i, pool in enumerate(used))
    height = max(1, len(used)) * step
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * MARGIN} {height}" '
        f'width="{WIDTH + 2 * MARGIN}" height="{height}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}</svg>\n'
    )


def find_peak_time(buffers: list[Buffer], plan: Plan, peak: int) -> int:
    """The first time when a buffer that ends at the peak is alive, where most bytes are alive."""
    tops = [b for b in buffers if plan.offset_of(b.name) + b.size_bytes == peak]
    if not tops:
        return 0
    times = sorted({b.lower for b in buffers if any(t.lower <= b.lower < t.upper for t in tops)})
    if len(times) * len(buffers) > 4_000_000:
        times = times[:: 1 + len(times) * len(buffers) // 4_000_000]
    return max(times, key=lambda t: (sum(b.size_bytes for b in buffers if b.lower <= t < b.upper), -t))


def choose_color(name: str, hot: bool) -> str:
    hue = sum((i + 1) * 37 * ord(c) for i, c in enumerate(name)) % 360
    return f"hsl({hue},{65 if hot else 40}%,{62 if hot else 80}%)"


def draw_pool(problem: Problem, plan: Plan, pool: Pool, top: int) -> str:
    buffers = [b for b in problem.buffers if plan.placements[b.name].pool == pool.name and b.size_bytes]
    peak = plan.peak_bytes[pool.name]
    begin = min((b.lower for b in buffers), default=0)
    end = max((b.upper for b in buffers), default=1)
    single = len(problem.pools) == 1
    bound = plan.lower_bound_bytes if single else 0
    scale = max(1, peak, bound)
    base = top + 40 + HEIGHT

    def x(t: int) -> float:
        return MARGIN + WIDTH * (t - begin) / (end - begin)

    def y(address: int) -> float:
        return base - HEIGHT * address / scale

    at = find_peak_time(buffers, plan, peak)
    alive = sorted((b for b in buffers if b.lower <= at < b.upper), key=lambda b: plan.offset_of(b.name))
    hot = {b.name for b in alive}
    state = "proven smallest" if plan.proven and single else f"lower bound {bound} B" if single else "by access cost"
    size = "" if pool.size_bytes is None else f" of {pool.size_bytes}"
    out = [
        f'<text class="title" x="{MARGIN}" y="{top + 18}">{escape(pool.name)}: peak {peak}{size} B, '
        f"{len(buffers)} buffers, {state}</text>\n"
    ]
    for b in buffers:
        out.append(draw_buffer(b, plan, (x(b.lower), x(b.upper)), y, b.name in hot, len(buffers) <= MANY))
    for tick in range(5):
        address = scale * tick // 4
        out.append(
            f'<text x="{MARGIN - 6}" y="{y(address) + 4:.1f}" text-anchor="end">{address}</text>'
            f'<text x="{x(begin + (end - begin) * tick // 4):.1f}" y="{base + 16}" text-anchor="middle">'
            f"{begin + (end - begin) * tick // 4}</text>\n"
        )
    right = MARGIN + WIDTH
    out.append(f'<line class="axis" x1="{MARGIN}" x2="{right}" y1="{base}" y2="{base}"/>')
    out.append(f'<line class="axis" x1="{MARGIN}" x2="{MARGIN}" y1="{base}" y2="{top + 40}"/>')
    out.append(f'<line class="peak" x1="{MARGIN}" x2="{right}" y1="{y(peak):.1f}" y2="{y(peak):.1f}"/>')
    out.append(f'<text x="{right + 4}" y="{y(peak) + 4:.1f}">peak {peak}</text>')
    if single and bound < peak:
        out.append(f'<line class="bound" x1="{MARGIN}" x2="{right}" y1="{y(bound):.1f}" y2="{y(bound):.1f}"/>')
        out.append(f'<text x="{right + 4}" y="{y(bound) + 14:.1f}">bound {bound}</text>')
    out.append(f'<line class="peak" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{base}" y2="{top + 40}"/>\n')
    return "".join(out) + describe_peak(alive, plan, at, base)


def draw_buffer(
    b: Buffer, plan: Plan, span: tuple[float, float], y: Callable[[int], float], hot: bool, named: bool
) -> str:
    left, right = span
    offset = plan.offset_of(b.name)
    high, low = y(offset + b.size_bytes), y(offset)
    box = (
        f'<rect class="b{" hot" if hot else ""}" x="{left:.1f}" y="{high:.1f}" width="{max(0.5, right - left):.1f}" '
        f'height="{max(0.5, low - high):.1f}" fill="{choose_color(b.name, hot)}"'
    )
    if not named:
        return box + "/>\n"
    tip = f"{b.name}: {b.size_bytes} B at {offset}, alive [{b.lower}, {b.upper})"
    text = f"{box}><title>{escape(tip)}</title></rect>"
    if low - high >= 9 and right - left >= 5.2 * len(b.name):
        text += f'<text class="name" x="{(left + right) / 2:.1f}" y="{(low + high) / 2:.1f}">{escape(b.name)}</text>'
    return text + "\n"


def describe_peak(alive: list[Buffer], plan: Plan, at: int, base: float) -> str:
    """The reason for the peak in words, below the drawing."""
    total = sum(b.size_bytes for b in alive)
    lines = [f"at time {at}, {len(alive)} buffers hold {total} B:"]
    for b in sorted(alive, key=lambda b: (-b.size_bytes, b.name))[:24]:
        word = f" {b.name} {b.size_bytes} @{plan.offset_of(b.name)};"
        if len(lines[-1]) + len(word) > 165:
            lines.append("")
        lines[-1] += word
    if len(alive) > 24:
        lines[-1] += f" and {len(alive) - 24} more"
    return "".join(
        f'<text x="{MARGIN}" y="{base + 34 + 13 * i:.0f}">{escape(line)}</text>\n' for i, line in enumerate(lines[:5])
    )
