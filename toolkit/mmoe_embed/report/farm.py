"""The runs of a farm as one HTML page."""

from collections.abc import Sequence

from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.farm.jobs import Outcome
from mmoe_embed.report.page import load_template


def render_farm_page(
    outcomes: Sequence[Outcome], builds: Sequence[BuildFolder], *, coordinator: str, began: str
) -> str:
    """The page; the same arguments give the same text.

    Args:
        outcomes: of all jobs.
        builds: what they ran.
        coordinator: HOST:PORT.
        began: in UTC, for people.
    """
    passed: dict[str, int] = {}
    given_up: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.place:
            passed[outcome.place] = passed.get(outcome.place, 0) + outcome.ok
        for attempt in outcome.given_up:
            given_up.setdefault(attempt.place, []).append(attempt.error)
    places = [(place, passed.get(place, 0), given_up.get(place, [])) for place in sorted({*passed, *given_up})]
    return load_template("farm.html.j2").render(
        outcomes=outcomes,
        good=sum(outcome.ok for outcome in outcomes),
        places=places,
        builds=builds,
        coordinator=coordinator,
        began=began,
    )
