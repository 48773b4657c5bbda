"""Export a finished run to ONNX, compared with PyTorch before it is kept."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from awb import AWBError
from awb.errors import first_line
from awb.files import write_whole
from examples.chestxray14.files.output_file import require_output_file
from examples.chestxray14.prediction.metadata import describe_run
from examples.chestxray14.prediction.onnx_check import INPUT, OUTPUTS, Differences, compare_with_pytorch
from examples.chestxray14.prediction.onnx_network import PixelNetwork
from examples.chestxray14.prediction.predictor import load_predictor


@dataclass(frozen=True)
class Exported:
    """A file that `export_run` wrote.

    Attributes:
        path: The file.
        metadata: Its metadata, see `describe_run`.
        differences: Largest differences of its results from PyTorch's.
    """

    path: Path
    metadata: dict[str, str]
    differences: Differences


def export_run(
    run: str | Path,
    out: str | Path,
    *,
    store_size: int | None = None,
    store: str | Path | None = None,
    force: bool = False,
) -> Exported:
    """Write a finished run as one ONNX file, if ONNX Runtime computes with it what PyTorch does.

    Input `pixels`: decoded images, uint8 (N, 1, S, S), in colour (N, 3, S, S), of any N; S is the metadata's
    `input_size`. Normalisation is inside. Outputs `logits` and `probabilities`, float32 (N, C); the temperatures of a
    calibrated run are inside.

    Args:
        run: The run's folder.
        out: File to write, `.onnx`.
        store_size: Side of the run's image store in pixels, if the run does not record it.
        store: The run's image store, in place of `store_size`.
        force: Replace the file if it is there.

    Raises:
        AWBError: As in `load_predictor`; the file is there, or cannot be written; a package is missing; the network
            cannot be exported, or the file computes something else. Nothing is written then.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise AWBError(f"{out}: expected a name that ends in .onnx")
    require_output_file(out, replace=force)
    onnx = _require_packages()
    predictor = load_predictor(run, store_size=store_size, store=store)
    network = PixelNetwork(predictor.model, predictor.transform, predictor.rules, colour=predictor.decoding.colour)
    proto = to_onnx(network, predictor.recipe.model.backbone)
    metadata = describe_run(predictor)
    onnx.helper.set_model_props(proto, metadata)
    content = proto.SerializeToString()
    differences = compare_with_pytorch(content, network)
    write_whole(out, content)
    return Exported(out, metadata, differences)


def _require_packages() -> ModuleType:
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401, which torch.onnx uses
    except ImportError as error:
        raise AWBError(
            f"export needs the package {error.name}: pip install onnx onnxruntime onnxscript, or '.[export]' from a "
            "checkout"
        ) from None
    return onnx


@torch.no_grad()
def to_onnx(network: PixelNetwork, backbone: str) -> Any:
    """The network as an ONNX ModelProto, with any batch size."""
    example = torch.zeros(2, *network.shape, dtype=torch.uint8)
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT], output_names=list(OUTPUTS), verbose=False,
            )  # fmt: skip
    except Exception as error:  # torch.export and the exporter raise many kinds, none of them the user's fault
        cause = error.__cause__ or error
        raise AWBError(
            f"{backbone} cannot be exported to ONNX by this version of torch "
            f"({type(cause).__name__}: {first_line(cause)})"
        ) from error
    finally:
        log.setLevel(level)
    assert program is not None  # it is for dynamo=True
    return program.model_proto
