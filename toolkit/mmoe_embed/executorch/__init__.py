"""ExecuTorch: our memory planner inside its export (README.md beside this file). Needs the `phone` extra."""

from mmoe_embed.executorch.memory_planning import ArenaReport, memory_planning_algo, plan_specs, read_reports

__all__ = ["ArenaReport", "memory_planning_algo", "plan_specs", "read_reports"]
