"""Bad input: each rule with its named error; files with the line."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from memory_planner import (
    AlignmentError,
    Buffer,
    CapacityError,
    ContradictionError,
    CsvError,
    DuplicateNameError,
    InvalidPlanError,
    LifetimeError,
    OverflowSizeError,
    OversizeError,
    PinConflictError,
    Placement,
    Plan,
    PlannerError,
    Pool,
    Problem,
    SizeError,
    UnknownNameError,
    solve,
    validate,
)
from memory_planner.table import format_csv, parse_csv, read_csv

HEAD = "id,lower,upper,size\n"


@pytest.mark.parametrize(
    ("error", "buffers", "pools"),
    [
        (SizeError, [Buffer("a", -1, 0, 1)], None),
        (SizeError, [Buffer("a", 1.5, 0, 1)], None),  # type: ignore[arg-type]
        (SizeError, [Buffer("a", True, 0, 1)], None),
        (SizeError, [Buffer("a", 1, 0, 1, reads=-1)], None),
        (SizeError, [Buffer("a", 1, 0, 1, offset=-4)], None),
        (SizeError, [], [Pool("p", -1)]),
        (SizeError, [], [Pool("p", 1, read_cost=float("nan"))]),
        (LifetimeError, [Buffer("a", 1, 3, 3)], None),
        (LifetimeError, [Buffer("a", 1, 3, 2)], None),
        (DuplicateNameError, [Buffer("a", 1, 0, 1), Buffer("a", 1, 0, 1)], None),
        (DuplicateNameError, [], [Pool("p", 1), Pool("p", 2)]),
        (OverflowSizeError, [Buffer("a", 2**63, 0, 1)], None),
        (OverflowSizeError, [Buffer("a", 1, 0, 2**63)], None),
        (OverflowSizeError, [Buffer("a", 2**62, 0, 1), Buffer("b", 2**62, 0, 1)], None),
        (OverflowSizeError, [Buffer("a", 8, 0, 1, offset=2**63 - 4)], None),
        (AlignmentError, [Buffer("a", 1, 0, 1, alignment=0)], None),
        (AlignmentError, [Buffer("a", 1, 0, 1, alignment=4, offset=2)], None),
        (OversizeError, [Buffer("a", 9, 0, 1)], [Pool("p", 8), Pool("q", 4)]),
        (OversizeError, [Buffer("a", 9, 0, 1, pools=("p",))], [Pool("p", 8), Pool("q", None)]),
        (UnknownNameError, [Buffer("a", 9, 0, 1, pools=("x",))], None),
        (UnknownNameError, [], []),
        (PinConflictError, [Buffer("a", 8, 0, 2, offset=0), Buffer("b", 8, 1, 3, offset=4)], None),
        (PinConflictError, [Buffer("a", 8, 0, 2, offset=4)], [Pool("p", 8)]),
        (ContradictionError, [Buffer("a", 8, 0, 2, offset=4, group="g"), Buffer("b", 8, 0, 2, offset=0, group="g")], None),
        (ContradictionError, [Buffer("a", 8, 0, 2, pools=("p",), group="g"), Buffer("b", 8, 0, 2, pools=("q",), group="g")], [Pool("p", 8), Pool("q", 8)]),
    ],
)  # fmt: skip
def test_problem_bad_input_is_named(error: type[PlannerError], buffers: list[Buffer], pools: list[Pool] | None) -> None:
    with pytest.raises(error):
        Problem(tuple(buffers), tuple(pools)) if pools is not None else Problem(tuple(buffers))


def test_solve_group_pins_overlap_is_refused() -> None:
    problem = Problem(
        (Buffer("a", 8, 0, 1, group="g", offset=0), Buffer("b", 8, 4, 5, group="g"), Buffer("c", 8, 2, 3, offset=4))
    )
    with pytest.raises(PinConflictError, match="'a' and 'c'"):
        solve(problem)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 0, "empty"),
        ("id,lower,upper\n", 1, "no column 'size'"),
        ("id,lower,upper,size,color\n", 1, "unknown column 'color'"),
        ("id,lower,upper,size,size\n", 1, "appears twice"),
        (HEAD + "a,0,1\n", 2, "3 cells"),
        (HEAD + "a,0,1,4\nb,0,x,4\n", 3, "upper is 'x'"),
        (HEAD + "a,0,1,4\n\nb,0,1,1e3\n", 4, "size is '1e3'"),
        (HEAD + "a,0,1,-4\n", 2, "size of buffer 'a' is -4"),
        (HEAD + "a,5,1,4\n", 2, "lower must be below upper"),
        (HEAD + "a,0,1,4\na,0,1,4\n", 3, "was used in line 2"),
        (HEAD + "a,0,1,9223372036854775808\n", 2, "2^63"),
        (HEAD + "a,0,1," + "9" * 5000 + "\n", 2, "whole number"),
        (HEAD + 'a,0,1,"4\n', 2, "broken CSV"),
        ("id,lower,upper,size,alignment\na,0,1,4,0\n", 2, "at least 1"),
        (HEAD + "a,0,1,\n", 2, "size is ''"),
        (HEAD + " ,0,1,4\n", 2, "id is ''"),
        (HEAD + "a\0b,0,1,4\n", 2, "printable"),
        (HEAD + f"a,0,1,{2**62}\nb,0,1,{2**62}\n", 0, "at or past 2^62"),
        ("id,lower,upper,size,offset\na,0,2,8,0\nb,1,3,8,4\n", 0, "'a' and 'b' are pinned"),
    ],
)
def test_parse_csv_broken_names_the_line(text: str, line: int, says: str) -> None:
    with pytest.raises(CsvError) as caught:
        parse_csv(text, "x.csv")
    assert caught.value.line == line
    assert says in str(caught.value)


def test_parse_csv_larger_than_capacity_names_the_line() -> None:
    with pytest.raises(CsvError, match=r"x\.csv:3: .*largest pool"):
        parse_csv(HEAD + "a,0,1,4\nb,0,1,40\n", "x.csv", 16)


def test_read_csv_missing_or_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CsvError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CsvError, match="UTF-8"):
        read_csv(tmp_path / "binary.csv")


def test_format_csv_round_trip() -> None:
    problem = Problem((Buffer("a", 4, 0, 2, alignment=2), Buffer("b", 4, 1, 3, offset=8)))
    assert parse_csv(format_csv(problem)).buffers == problem.buffers


def test_solve_too_small_pool_says_by_how_much() -> None:
    problem = Problem((Buffer("a", 8, 0, 2), Buffer("b", 8, 1, 3)), (Pool("sram", 12),))
    with pytest.raises(CapacityError, match="need 16 B, has 12 B \\(4 B over\\)") as caught:
        solve(problem)
    assert caught.value.impossible
    assert caught.value.plan is not None


def test_validate_refuses_bad_plans() -> None:
    problem = Problem((Buffer("a", 8, 0, 2, alignment=4), Buffer("b", 8, 1, 3)), (Pool("p", 64), Pool("q", 8)))

    def plan(a: int, b: int, pool: str = "p", peak: int | None = None) -> Plan:
        peaks = {"p": max(a, b) + 8 if peak is None else peak, "q": 0}
        places = {"a": Placement("p", a), "b": Placement(pool, b)}
        return Plan(MappingProxyType(places), MappingProxyType(peaks), 0, False)

    validate(problem, plan(0, 8))
    for bad in (plan(0, 7), plan(2, 16), plan(-4, 16), plan(0, 60), plan(0, 8, "none"), plan(0, 8, peak=15)):
        with pytest.raises(InvalidPlanError):
            validate(problem, bad)
    with pytest.raises(InvalidPlanError):
        validate(problem, Plan(MappingProxyType({}), MappingProxyType({"p": 0, "q": 0}), 0, False))
