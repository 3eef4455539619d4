"""Routing traces: which experts each token used, layer by layer, read from CSV.

Head lines start with `#` and give `layer=N expert_bytes=M` for each layer, and perhaps `n_expert=N`, how many experts a
layer has; then come the column names and one row per expert used:
`turn,phase,step,layer,slot,expert,weight,residency,expert_bytes`. Phase 0 is prefill, 1 is decode. A tenth column
`guess` may say which expert the layer's router, applied to the layer before's input, would have put at this `slot` of
its order; -1 in the first layer. A head line with `prefill=N` says that prompts were computed N tokens at a time;
without it, each whole prompt at once.
"""

import dataclasses
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmoe_embed.errors import ToolkitError

COLUMNS = ("turn", "phase", "step", "layer", "slot", "expert", "weight", "residency", "expert_bytes")
GUESS = "guess"
NO_GUESS = -1
PREFILL, DECODE = 0, 1
_INTEGERS = ("turn", "phase", "step", "layer", "expert")
_COUNTS = (*_INTEGERS, "slot", "residency", "expert_bytes")
_MOST_EXPERTS = 1 << 20  # of one layer; a larger number is a broken file, not a model
_LAYER = re.compile(r"\blayer=(\S+)")
_PREFILL = re.compile(r"\bprefill=(\d+)")
_EXPERTS = re.compile(r"\bn_expert=(\d+)")
_BYTES = re.compile(r"\bexpert_bytes=(\S+)")

Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Trace:
    """A trace in the order the experts are touched: prefill layer by layer, decode token by token.

    One batch is what is needed at once: a layer's experts for one token, or for the whole prompt. An expert's number is
    layer * experts_per_layer + expert.
    """

    expert_bytes: tuple[int, ...]  # of each layer
    experts_per_layer: int
    top_k: int  # most experts of one token in one layer
    experts: Integers  # expert numbers, batch after batch, each once a batch
    starts: Integers  # (batches + 1,): where a batch starts in `experts`
    layers: Integers  # (batches,)
    phases: Integers  # (batches,): PREFILL or DECODE
    token_starts: npt.NDArray[np.bool_]  # (batches,): the first batch of a token, or of a prompt
    guesses: Integers | None = None  # (batches, top_k): expert numbers, the likeliest first, or NO_GUESS

    @property
    def sizes(self) -> Integers:
        """Bytes of each expert by its number."""
        return np.repeat(np.array(self.expert_bytes, np.int64), self.experts_per_layer)

    @property
    def cycle_bytes(self) -> int:
        """What one token reads when nothing is kept: layers x top-k x expert bytes."""
        return sum(self.expert_bytes) * self.top_k

    @property
    def guess_rate(self) -> float | None:
        """Share of first guesses whose layer chose that expert; None where there are none."""
        if self.guesses is None:
            return None
        first = self.guesses[:, 0]
        told = first != NO_GUESS
        batch = np.repeat(np.arange(len(self.layers)), np.diff(self.starts))
        right = np.zeros(len(self.layers), bool)
        right[batch[self.experts == first[batch]]] = True
        return float(right[told].mean()) if told.any() else None

    def first_half(self) -> "Trace":
        """Every prefill up to the middle of the decode, and the decode up to there."""
        decode = np.flatnonzero(self.token_starts & (self.phases == DECODE))
        end = int(decode[len(decode) // 2]) if len(decode) else len(self.layers) // 2
        return dataclasses.replace(
            self,
            experts=self.experts[: self.starts[end]],
            starts=self.starts[: end + 1],
            layers=self.layers[:end],
            phases=self.phases[:end],
            token_starts=self.token_starts[:end],
            guesses=None if self.guesses is None else self.guesses[:end],
        )


def read_trace(path: Path) -> Trace:
    """Read a trace of `COLUMNS`.

    Raises:
        ToolkitError: the file is not such a trace; says in which line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ToolkitError("a trace is text, this is not", at=f"{path}, byte {error.start}") from None
    head, columns, body_line, body = _split_head(text, path)
    sizes = _read_sizes(head, path)
    table = _read_body(body, columns, body_line, path)
    _check_rows(table, len(sizes), min(_find_number(head, _EXPERTS, _MOST_EXPERTS), _MOST_EXPERTS), body_line, path)
    wanted = (*_INTEGERS, "slot", GUESS) if GUESS in columns else _INTEGERS
    rows = {name: table[:, columns.index(name)].astype(np.int64) for name in wanted}
    return make_trace(sizes, **rows, prefill=_find_number(head, _PREFILL, 0))


def _find_number(head: Sequence[str], pattern: re.Pattern[str], otherwise: int) -> int:
    return next((int(found[1]) for entry in head if (found := pattern.search(entry))), otherwise)


def make_trace(
    expert_bytes: list[int],
    *,
    turn: Integers,
    phase: Integers,
    step: Integers,
    layer: Integers,
    expert: Integers,
    slot: Integers | None = None,
    guess: Integers | None = None,
    prefill: int = 0,
) -> Trace:
    """A trace from its columns, rows in any order that keeps a layer's experts together in time.

    Args:
        slot, guess: where the trace has guesses, rank and expert of each.
        prefill: tokens of a prompt that are computed at once; 0: all.
    """
    per_layer = int(max(expert.max(), -1 if guess is None else guess.max())) + 1 if len(expert) else 1
    _, used = np.unique(np.stack([turn, phase, step, layer], 1), axis=0, return_counts=True)
    moment = np.where(phase == PREFILL, step // prefill if prefill else 0, step)  # of a prompt: which chunk
    order = np.lexsort((layer, moment, phase, turn))
    turn, phase, moment, layer, expert, step = (column[order] for column in (turn, phase, moment, layer, expert, step))
    token = np.ones(len(turn), bool)
    token[1:] = (turn[1:] != turn[:-1]) | (phase[1:] != phase[:-1]) | (moment[1:] != moment[:-1])
    batch_start = token.copy()
    batch_start[1:] |= layer[1:] != layer[:-1]
    batch = np.cumsum(batch_start) - 1
    first = np.sort(np.unique(batch * per_layer + expert, return_index=True)[1])
    batches = int(batch[-1]) + 1 if len(batch) else 0
    starts = np.searchsorted(batch[first], np.arange(batches + 1))
    top_k = int(used.max()) if len(used) else 0
    guesses = None
    if slot is not None and guess is not None:
        number = np.where(guess[order] < 0, NO_GUESS, layer * per_layer + guess[order])
        guesses = _arrange_guesses(number, slot[order], batch, step, (batches, top_k))
    return Trace(
        expert_bytes=tuple(expert_bytes),
        experts_per_layer=per_layer,
        top_k=top_k,
        experts=(layer * per_layer + expert)[first],
        starts=starts,
        layers=layer[batch_start],
        phases=phase[batch_start],
        token_starts=token[batch_start],
        guesses=guesses,
    )


def _arrange_guesses(
    number: Integers, slot: Integers, batch: Integers, step: Integers, shape: tuple[int, int]
) -> Integers:
    """(batches, top_k); none where a batch is of several tokens."""
    guesses = np.full(shape, NO_GUESS, np.int64)
    inside = slot < shape[1]
    guesses[batch[inside], slot[inside]] = number[inside]
    several = batch[1:][(batch[1:] == batch[:-1]) & (step[1:] != step[:-1])]
    guesses[several] = NO_GUESS
    return guesses


def _split_head(text: str, path: Path) -> tuple[list[str], tuple[str, ...], int, str]:
    """(head lines, columns, line number of the first row, rows as text)."""
    head: list[str] = []
    position = 0
    while text.startswith("#", position):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        head.append(text[position:end])
        position = end + 1
    names, _, body = text[position:].partition("\n")
    line = len(head) + 1
    found = tuple(name.strip() for name in names.split(","))
    if found not in (COLUMNS, (*COLUMNS, GUESS)):
        unknown = [name for name in found if name not in (*COLUMNS, GUESS)]
        lacking = [name for name in COLUMNS if name not in found]
        what = f"unknown columns: {', '.join(unknown)[:100] or 'none'}" if unknown else "columns out of order"
        what = f"{what}; missing: {', '.join(lacking)}" if lacking else what
        raise ToolkitError(what, at=f"{path}, line {line}", try_=f"the columns {','.join(COLUMNS)}")
    return head, found, line + 1, body


def _read_sizes(head: list[str], path: Path) -> list[int]:
    found: dict[int, int] = {}
    for line, entry in enumerate(head, start=1):
        layer, size = _LAYER.search(entry), _BYTES.search(entry)
        if not layer or not size:
            continue
        at = f"{path}, line {line}"
        try:
            number, count = int(layer[1]), int(size[1])
        except ValueError:
            raise ToolkitError("layer and expert_bytes are whole numbers", at=f"{at}: {entry[:80]!r}") from None
        if count <= 0:
            raise ToolkitError(f"expert_bytes is {count}, it must be positive", at=at)
        if number in found:
            raise ToolkitError(f"layer {number} is given twice", at=at)
        found[number] = count
    if not found:
        raise ToolkitError(
            "the trace has no head: expert sizes are missing",
            at=f"{path}, line 1",
            try_="one line '# layer=N expert_bytes=M' for each layer, before the column names",
        )
    if sorted(found) != list(range(len(found))):
        absent = min(set(range(max(found) + 1)) - set(found), default=0)
        raise ToolkitError(f"the head leaves out layer {absent}" if min(found) >= 0 else "negative layer", at=str(path))
    return [found[number] for number in range(len(found))]


def _read_body(body: str, columns: Sequence[str], line: int, path: Path) -> npt.NDArray[np.float64]:
    """All rows as numbers, (rows, columns); vectorized, and line by line only to name a broken one."""
    if not body.endswith("\n"):
        body += "\n"
    try:
        raw = np.frombuffer(body.encode("ascii"), np.uint8)
        rows = int(np.count_nonzero(raw == ord("\n")))
        ends = np.flatnonzero((raw == ord("\n")) | (raw == ord(",")))
        newline = raw[ends] == ord("\n")
        regular = len(ends) == rows * len(columns) and bool(newline[len(columns) - 1 :: len(columns)].all())
        if regular:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                table = np.fromstring(body.replace("\n", ",")[:-1], sep=",")
            if len(table) == rows * len(columns) and bool(np.isfinite(table).all()):
                return table.reshape(rows, len(columns))
    except (ValueError, DeprecationWarning):  # not ASCII, or not numbers
        pass
    return _read_slowly(body, columns, line, path)


def _read_slowly(body: str, columns: Sequence[str], line: int, path: Path) -> npt.NDArray[np.float64]:
    rows = []
    for number, entry in enumerate(body.splitlines(), start=line):
        if not entry.strip():
            continue
        fields = entry.split(",")
        at = f"{path}, line {number}"
        if len(fields) != len(columns):
            raise ToolkitError(f"{len(fields)} columns, {len(columns)} are needed", at=f"{at}: {entry[:80]!r}")
        try:
            values = [float(field) for field in fields]
        except ValueError:
            raise ToolkitError("not a row of numbers", at=f"{at}: {entry[:80]!r}") from None
        if not np.isfinite(values).all():
            raise ToolkitError("not a row of finite numbers", at=f"{at}: {entry[:80]!r}")
        rows.append(values)
    if not rows:
        raise ToolkitError("the trace has no rows", at=f"{path}, line {line}", try_="record it again")
    return np.array(rows)


def _check_rows(table: npt.NDArray[np.float64], layers: int, experts: int, line: int, path: Path) -> None:
    def refuse(bad: npt.NDArray[np.bool_], what: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ToolkitError(what, at=f"{path}, row {row + 1} (line {line + row} where no line is empty)")

    for name in _COUNTS:
        column = table[:, COLUMNS.index(name)]
        refuse(column != np.floor(column), f"{name} is not a whole number")
        refuse(column < 0, f"{name} is negative")
        refuse(column >= 2**53, f"{name} is too large")
    refuse(table[:, COLUMNS.index("phase")] > DECODE, "phase is neither 0 (prefill) nor 1 (decode)")
    refuse(table[:, COLUMNS.index("layer")] >= layers, f"a layer that the head leaves out; it has {layers}")
    refuse(table[:, COLUMNS.index("expert")] >= experts, f"an expert number from {experts} on")
    for guess in table.T[len(COLUMNS) :]:
        refuse(guess != np.floor(guess), f"{GUESS} is not a whole number")
        refuse((guess < NO_GUESS) | (guess >= experts), f"{GUESS} is neither an expert nor {NO_GUESS}")
