"""The validation of a build: its own requests, its golden, its plan."""

from collections.abc import Callable, Sequence

from mmoe_embed.build_folder import PROMPTS, BuildFolder
from mmoe_embed.golden import Golden
from mmoe_embed.graph import build_graph
from mmoe_embed.prompt import describe_long_prompt, load_requests
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.validate import DEFAULT_PROMPTS, Prompt, Report, draw_prompts, validate_board


def own_requests(build: BuildFolder) -> list[str]:
    """The requests that came with the model; none where it has none."""
    file = build.path / PROMPTS
    return load_requests(file) if file.is_file() else []


def choose_prompts(golden: Golden, requests: list[str], steps: int, seed: int) -> list[Prompt]:
    """Requests first, each with its answer, then random tokens until there are `steps` steps and 10 prompts."""
    context, vocab = golden.config.max_position_embeddings, golden.input_count
    generation = golden.model.generation
    prompts: list[Prompt] = []
    counted = 0
    for request in requests:
        tokens = golden.prompt_tokens(request)
        if len(tokens) > context:
            raise describe_long_prompt(len(tokens), context, request)
        most = min(context, len(tokens) + generation.max_new_tokens)
        encoded = tuple(golden.encode(request))
        prompts.append(Prompt(tuple(tokens), most, generation.stop_token, request, encoded))
        counted += len(tokens)  # the answer may be empty, so it is not counted on
        if counted >= steps and len(prompts) >= DEFAULT_PROMPTS:
            break
    left, least = steps - counted, DEFAULT_PROMPTS - len(prompts)
    if left > 0 or least > 0:
        prompts += draw_prompts(
            vocab_size=vocab, context=context, steps=max(left, least, 1), seed=seed, least=max(least, 1)
        )
    return prompts


def validate_build(
    client: BoardClient,
    build: BuildFolder,
    golden: Golden,
    prompts: Sequence[Prompt],
    *,
    on_step: Callable[[], None] = lambda: None,
) -> Report:
    """`validate_board` with all that a build knows: plan, names of operations, whole answers."""
    names = [op.name for op in build_graph(golden.config, build.plan["chunk"]).ops]
    return validate_board(
        client, golden, prompts, plan=build.plan, op_names=names, answer=golden.stream, on_step=on_step
    )
