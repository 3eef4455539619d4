"""`mmoe-embed update-expert`: replace experts of a running board."""

from pathlib import Path

import rich_click as click

from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import board_of, build_argument, port_options
from mmoe_embed.cli.output import Result, console, verb
from mmoe_embed.errors import UsageError
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.update import (
    Expert,
    find_changed,
    layout_of,
    load_source,
    make_image,
    name_experts,
    record_experts,
    replace_experts,
    require_image,
    send_experts,
)


@verb("update-expert")
@build_argument
@click.argument("experts", metavar="[LAYER EXPERT]...", nargs=-1, type=click.IntRange(min=0))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="SOURCE",
    help="Where the new experts are: a checkpoint, or a file of `mmoe-embed quantize`.",
)
@port_options
def command(build: Path, experts: tuple[int, ...], source: Path | None, port: str | None, baud: int | None) -> Result:
    """Replace experts of the board that runs BUILD, while it keeps the rest and, when cut off, the old ones too.

    Each LAYER EXPERT is taken from SOURCE; without any, every expert that differs there. Several are replaced together
    or not at all. Without --from the board gets what it lacks of the experts that BUILD records: another board of the
    same build. BUILD records what was replaced, so that `validate` compares with the new model.
    """
    folder = load_build(build)
    layout = layout_of(folder)
    model = load_quantized(folder.quantized)
    chosen = _pair(experts)
    if source is not None:
        other = load_source(source, model.scheme)
        model = replace_experts(model, other, chosen or find_changed(model, other))
    elif chosen:
        raise UsageError("where are the new experts?", try_="--from CHECKPOINT")
    with (
        connect_board(board_of(folder), folder, port=port, baud=baud, any_experts=True) as client,
        console.status("sending experts ..."),
    ):
        require_image(client)
        sent = send_experts(client, layout, make_image(folder, model))
        folder = record_experts(folder, model)
        identity = client.identify()
    data = {
        "board": identity.board,
        "experts": [{"layer": layer, "expert": expert} for layer, expert in sent.experts],
        "bytes_sent": sent.bytes_sent,
        "updates": sent.updates,
        "model_id": folder.golden_id,
    }
    what = f"replaced {name_experts(sent.experts)}: {sent.bytes_sent} B" if sent.experts else "nothing to replace"
    return Result(data, f"{identity.board}: {what}; update {sent.updates}, model {folder.golden_id[:16]}")


def _pair(numbers: tuple[int, ...]) -> tuple[Expert, ...]:
    if len(numbers) % 2:
        raise UsageError("an expert is named by two numbers, its layer and its own", try_="update-expert BUILD 0 3 ...")
    return tuple(dict.fromkeys(zip(numbers[::2], numbers[1::2], strict=True)))
