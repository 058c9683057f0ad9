"""From a trained run to an ONNX graph: prepared images in, probabilities out, and all between them inside."""

import onnx
import torch
from torch import Tensor, nn

from maskkit import TrainedRun
from maskkit_onnx.errors import ExportError

__all__ = ["INPUT", "OUTPUT", "to_onnx"]

INPUT, OUTPUT = "images", "probabilities"
_BATCH = "N"


def to_onnx(trained: TrainedRun, *, opset: int) -> onnx.ModelProto:
    """Return the graph: `images` uint8 [N, H, W, 3] -> `probabilities` float32 [N, num_classes], for any N.

    Raises:
        ExportError: torch cannot export the network.
    """
    module = _WholeWay(trained).eval()
    images = torch.zeros(2, *trained.size, 3, dtype=torch.uint8)  # of a batch of one, torch would take the 1 as fixed
    try:
        program = torch.export.export(module, (images,), dynamic_shapes={INPUT: {0: torch.export.Dim(_BATCH)}})
        if any(node.target is _POOL for node in program.graph.nodes):
            program = program.run_decompositions({_POOL: _adaptive_max_pool})
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=opset,
            verbose=False,
        )
    except Exception as error:  # torch's exporters raise nearly anything at a network that they do not know
        part = trained.description["model"]
        raise ExportError(
            f"torch cannot export {part['name']} of {part['distribution']} {part['version']}: {_root_cause(error)}",
            hint="It must keep to tensor operations that take a batch of any size.",
        ) from error
    model = _plain(exported.model_proto)  # type: ignore[union-attr]
    if (written := model.opset_import[0].version) != opset:
        raise ExportError(f"the graph cannot be converted to opset {opset}", hint=f"Type --opset={written}.")
    onnx.checker.check_model(model, full_check=True)
    return model


class _WholeWay(nn.Module):
    """Images uint8 [N, H, W, 3] -> probabilities float32 [N, num_classes]."""

    def __init__(self, trained: TrainedRun) -> None:
        super().__init__()
        self.module = trained.module
        self.view = trained.view

    def forward(self, images: Tensor) -> Tensor:
        logits = self.module(images.permute(0, 3, 1, 2).to(torch.float32) / 255)
        heads: list[Tensor] = [part.softmax(dim=1) for part in self.view.split(logits)]
        if len(heads) == 1:
            return heads[0]
        # As View.compose does it, which asks for the length of the batch and so would fix it in the graph.
        mask, gender, age = heads
        return (mask[:, :, None, None] * gender[:, None, :, None] * age[:, None, None, :]).flatten(1)


_POOL = torch.ops.aten.adaptive_max_pool2d.default


def _adaptive_max_pool(images: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
    """Return the largest values within a grid of `size` over [N, C, H, W], whose cells overlap where they must.

    ONNX has no such operator, and torch replaces it only where the cells are equal. The indices that the operator also
    gives are asked for by no classifier, and are zeros here.
    """
    for axis, count in zip((2, 3), size, strict=True):
        length = images.shape[axis]
        ends = [(cell * length // count, -(-(cell + 1) * length // count)) for cell in range(count)]
        cells = [images.narrow(axis, start, end - start).amax(axis, keepdim=True) for start, end in ends]
        images = torch.cat(cells, axis)
    return images, torch.zeros_like(images, dtype=torch.int64)


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its batch named, and without the lines of source code that each node notes.

    Those name folders of the machine that exported it, which concern nobody else.
    """
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*graph.value_info, *graph.input, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:  # there is one unknown: the batch
                dimension.dim_param = _BATCH
    return model


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]
