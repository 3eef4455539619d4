"""Validations spread over the boards of a farm: in parallel, and elsewhere when a board is dead."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import load_build
from mmoe_embed.errors import DeviceError, MismatchError, ToolkitError
from mmoe_embed.farm.lab import Lab, NoPlaceError
from mmoe_embed.golden_board import load_golden
from mmoe_embed.runners import connect_board
from mmoe_embed.validate import Report
from mmoe_embed.validate_build import choose_prompts, own_requests, validate_build

MOST_BOARDS = 4  # that one job tries
_REQUESTS = 3  # of the build's own in each run; the rest are random and differ from run to run


@dataclasses.dataclass(frozen=True)
class Job:
    """One validation of one build; the run's number seeds its prompts."""

    build: Path
    run: int

    @property
    def name(self) -> str:
        """For people: build folder and run."""
        return f"{self.build.name}#{self.run}"


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A board that did not do."""

    place: str
    error: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a job: a report from a place, or the error that ended it; and the boards given up before."""

    job: Job
    place: str
    report: Report | None
    error: ToolkitError | None
    given_up: tuple[Attempt, ...]

    @property
    def ok(self) -> bool:
        """Whether the validation ran and every check holds."""
        return self.report is not None and self.report.ok

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "job": self.job.name,
            "build": str(self.job.build),
            "place": self.place,
            "ok": self.ok,
            "report": self.report.to_dict() if self.report else None,
            "error": str(self.error) if self.error else "",
            "given_up": [dataclasses.asdict(attempt) for attempt in self.given_up],
        }


@dataclasses.dataclass(frozen=True)
class Farm:
    """How jobs are run.

    Attributes:
        tags: a place must have, besides `board=` the build's board.
        steps: of each validation.
        patience_s: how long a job waits for a free place.
    """

    lab: Lab
    tags: Mapping[str, str]
    steps: int
    patience_s: float

    def run(
        self, jobs: Sequence[Job], *, parallel: int, on_outcome: Callable[[Outcome], None] = lambda _: None
    ) -> list[Outcome]:
        """Run all jobs; the outcomes are in the order of the jobs.

        Args:
            jobs: what to do.
            parallel: at most so many at a time.
            on_outcome: called as each ends, from its thread.

        Interrupted, it ends what runs at the next step of each.
        """

        def work(job: Job) -> Outcome:
            outcome = self._run_job(job)
            on_outcome(outcome)
            return outcome

        with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
            try:
                return list(pool.map(work, jobs))
            except BaseException:  # Ctrl-C: the pool waits for what runs, so that has to end soon
                self.lab.stop()
                raise

    def _run_job(self, job: Job) -> Outcome:
        given_up: list[Attempt] = []
        try:
            board = load_board(load_build(job.build).board)
            tags = {"board": board.name, **self.tags}
            for _ in range(MOST_BOARDS):
                place = self.lab.acquire(tags, patience_s=self.patience_s)
                try:
                    report = self._validate(job, place.url)
                except (DeviceError, MismatchError) as error:
                    # not given back before the session ends: the next reservation must get another board
                    given_up.append(Attempt(place.name, error.message))
                    continue
                self.lab.release(place)
                return Outcome(job, place.name, report, None, tuple(given_up))
            raise NoPlaceError(f"{MOST_BOARDS} boards failed one after the other", at=job.name)
        except ToolkitError as error:
            return Outcome(job, "", None, error, tuple(given_up))

    def _validate(self, job: Job, url: str) -> Report:
        build = load_build(job.build)
        golden = load_golden(build)
        prompts = choose_prompts(golden, own_requests(build)[:_REQUESTS], self.steps, job.run)
        with connect_board(load_board(build.board), build, port=url) as client:
            return validate_build(client, build, golden, prompts, on_step=self.lab.check_open)
