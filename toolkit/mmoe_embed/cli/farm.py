"""`mmoe-embed farm`: many boards behind a labgrid coordinator."""

import datetime
from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.output import Result, check_reports, console, verb
from mmoe_embed.errors import MismatchError, UsageError
from mmoe_embed.farm.jobs import Farm, Job, Outcome
from mmoe_embed.farm.lab import Lab, NoPlaceError
from mmoe_embed.junit import make_suite, write_suites
from mmoe_embed.report.farm import render_farm_page
from mmoe_embed.validate import DEFAULT_STEPS
from mmoe_embed.whole_file import write_whole


@click.group("farm")
def command() -> None:
    """Many boards behind a labgrid coordinator."""


@verb("run")
@click.argument("builds", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--coordinator", required=True, metavar="HOST:PORT", help="Of labgrid.")
@click.option("--labgrid-python", required=True, metavar="PATH", help="Interpreter of an environment with labgrid.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A place must have, besides board=BOARD.")
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Validations of each build.")
@click.option("--parallel", type=click.IntRange(min=1), default=4, show_default=True, help="At most so many at a time.")
@click.option("--steps", type=click.IntRange(min=1), default=DEFAULT_STEPS, show_default=True, help="Of each.")
@click.option("--patience", type=click.FloatRange(min=0), default=600.0, show_default=True, help="Seconds for a board.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write one JUnit XML of all runs to this file.")
@click.option("--html", type=click.Path(path_type=Path), help="Write one page about all runs to this file.")
def run(
    builds: tuple[Path, ...],
    coordinator: str,
    labgrid_python: str,
    tags: tuple[str, ...],
    runs: int,
    parallel: int,
    steps: int,
    patience: float,
    junit: Path | None,
    html: Path | None,
) -> Result:
    """Validate BUILDS on the boards of a farm that run them: by tag, in parallel, elsewhere when one is dead."""
    folders = [load_build(build) for build in builds]
    check_reports(junit, html)
    began = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    wanted = dict(_split_tag(tag) for tag in tags)
    jobs = [Job(build, number) for build in builds for number in range(runs)]
    with Lab(coordinator, labgrid_python) as lab, console.status(f"{len(jobs)} runs on {coordinator} ..."):
        farm = Farm(lab, wanted, steps, patience)
        outcomes = farm.run(jobs, parallel=parallel, on_outcome=_tell)
    if junit:
        suites = [make_suite(f"mmoe-embed.farm.{o.job.name}.{o.place or 'none'}", o.report, o.error) for o in outcomes]
        write_suites(junit, suites)
    if html:
        write_whole(html, render_farm_page(outcomes, folders, coordinator=coordinator, began=began).encode())
    good = sum(outcome.ok for outcome in outcomes)
    data = {"runs": len(outcomes), "ok": good, "outcomes": [outcome.to_dict() for outcome in outcomes]}
    dead = any(outcome.report is None for outcome in outcomes)
    code = 0 if good == len(outcomes) else NoPlaceError.exit_code if dead else MismatchError.exit_code
    return Result(data, _render(outcomes, good), exit_code=code)


command.add_command(run)


def _split_tag(tag: str) -> tuple[str, str]:
    key, separator, value = tag.partition("=")
    if not separator or not key:
        raise UsageError(f"{tag!r} is no tag", try_="--tag KEY=VALUE")
    return key, value


def _describe(outcome: Outcome) -> str:
    where = f" on {outcome.place}" if outcome.place else ""
    if outcome.report:
        comparison = outcome.report.comparison
        state = "passed" if outcome.ok else "FAILED"
        words = f"{state}{where}: logits bit-identical in {comparison.equal_logits} of {comparison.steps} steps"
    else:
        words = f"NOT RUN: {outcome.error.message if outcome.error else ''}"
    given_up = "".join(f"\n    given up {attempt.place}: {attempt.error}" for attempt in outcome.given_up)
    return f"{outcome.job.name} {words}{given_up}"


def _tell(outcome: Outcome) -> None:
    console.print(_describe(outcome), markup=False, soft_wrap=True)


def _render(outcomes: list[Outcome], good: int) -> str:
    places = sorted({outcome.place for outcome in outcomes if outcome.place})
    lines = [_describe(outcome) for outcome in outcomes]
    return "\n".join([*lines, f"{good} of {len(outcomes)} runs passed on {len(places)} boards: {', '.join(places)}"])
