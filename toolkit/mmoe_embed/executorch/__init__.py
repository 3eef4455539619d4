"""ExecuTorch: our memory planner inside its export (README.md beside this file). Needs the `phone` extra."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmoe_embed.executorch.memory_planning import ArenaReport, memory_planning_algo, plan_specs, read_reports

__all__ = ["ArenaReport", "memory_planning_algo", "plan_specs", "read_reports"]


def __getattr__(name: str) -> Any:  # ExecuTorch's exporter is loaded by who plans with it, not by who runs a program
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mmoe_embed.executorch import memory_planning

    return getattr(memory_planning, name)
