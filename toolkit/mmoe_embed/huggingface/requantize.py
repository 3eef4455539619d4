"""What it costs to quantize weights again that were integers before, with other groups."""

from pathlib import Path

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.quantize import RelativeErrors, quantize_matrix, read_matrix
from mmoe_embed.quantized import SCHEMES, matrix_shapes


def measure_requantization(checkpoint: Path) -> dict[str, dict[str, float]]:
    """Relative error of each kind of matrix in each scheme, over the first, the middle and the last layer."""
    source = load_checkpoint(checkpoint)
    routed = source.config.routed_layers
    sample = {f"layers.{routed[place]}." for place in (0, len(routed) // 2, -1)}
    names = [name for name in matrix_shapes(source.config) if any(name.startswith(at) for at in sample)]
    errors = {scheme: RelativeErrors() for scheme in SCHEMES}
    for name in names:
        weights = read_matrix(source, name)
        for scheme, found in errors.items():
            found.add(name, weights, quantize_matrix(name, weights, scheme))
    return {
        scheme: {kind.removeprefix("layers."): e for kind, e in found.values().items()}
        for scheme, found in errors.items()
    }
