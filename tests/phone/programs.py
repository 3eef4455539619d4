"""Plans of programs, as `mmoe-embed export` makes them."""

from mmoe_embed.board import load_board
from mmoe_embed.plan import BoardPlan, PlanRequest, plan_model
from mmoe_embed.quantized import Quantized


def plan_program(
    model: Quantized, chunk: int, slots: int | None = None, policy: str | None = None, prefetch: int = 0
) -> BoardPlan:
    """The plan of a program; without slots its experts are computed where they lie in it."""
    request = PlanRequest(slots, storage="file", spare_pages=0, prefetch=prefetch, chunk=chunk, policy=policy)
    return plan_model(model, load_board("host_x86_64"), request)
