"""Heat maps by the methods of captum: how much each place of an image speaks for an answer."""

from typing import Literal

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam, LayerGradientXActivation, Occlusion
from numpy.typing import NDArray
from torch import Tensor, nn

from maskkit_gradcam.layers import Layer, tapped
from maskkit_gradcam.questions import Question

__all__ = ["Method", "heat_map"]

Method = Literal["hirescam", "gradcam", "occlusion"]

_WINDOWS = 6  # the grey square of occlusion is a sixth of the shorter side, and moves by half of itself
_AT_ONCE = 16


class _Scores(nn.Module):
    """The scores of a question, [B, num_classes], from pixels [B, 3, H, W]."""

    def __init__(self, module: nn.Module, question: Question) -> None:
        super().__init__()
        self.module, self.question = module, question

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.question.scores(self.module(pixels))
        return scores


def heat_map(
    method: Method, module: nn.Module, layer: Layer | None, pixels: Tensor, *, question: Question, answer: int
) -> NDArray[np.float32]:
    """Return float32 [H, W] in 0..1: where an image speaks for an answer, its strongest place being 1.

    All is 0 where no place speaks for it. Places that speak against it are 0.

    hirescam: ReLU of the sum over channels of a map times its gradient (Draelos and Carin, arXiv 2011.08891).
    gradcam: the same with the mean of the gradient over all places (Selvaraju and others, arXiv 1610.02391, equations 1
        and 2). Behind a mean over places and a linear layer, as in EfficientNet, both are the same; where the layers
        behind the map know places, as in BaseModel, the mean mixes up places that look alike.
    occlusion: how far the score falls when a square of the image's mean colour covers the place (Zeiler and Fergus,
        arXiv 1311.2901).

    module: pixels float32 [1, 3, H, W] in 0..1 -> logits [1, num_outputs]; layer: where gradcam and hirescam look.
    """
    scores = _Scores(module, question)
    if method == "occlusion" or layer is None:
        found = _occlusion(scores, pixels, answer)
    else:
        watched = pixels.detach().clone().requires_grad_()  # also a network that is frozen has gradients then
        with tapped(layer) as tap:
            if method == "gradcam":
                found = LayerGradCam(scores, tap).attribute(watched, answer)
            else:
                found = LayerGradientXActivation(scores, tap).attribute(watched, answer).sum(dim=1, keepdim=True)
    heat = LayerAttribution.interpolate(found.detach().relu(), tuple(pixels.shape[2:]), "bilinear")[0, 0]
    peak = heat.max()
    return np.asarray((heat / peak if peak > 0 else heat).cpu().numpy(), dtype=np.float32)


def _occlusion(scores: nn.Module, pixels: Tensor, answer: int) -> Tensor:
    side = max(2, min(pixels.shape[2:]) // _WINDOWS)
    with torch.no_grad():
        found: Tensor = Occlusion(scores).attribute(
            pixels,
            target=answer,
            sliding_window_shapes=(3, side, side),
            strides=(3, side // 2, side // 2),
            baselines=pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels),
            perturbations_per_eval=_AT_ONCE,
        )
    return found.mean(dim=1, keepdim=True)
