"""From a trained run and a photo to the picture of an explanation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskkit import TrainedRun, load_run, open_image, replacing
from maskkit.errors import UsageError
from maskkit_gradcam.layers import Layer, find_layer
from maskkit_gradcam.maps import Method, heat_map
from maskkit_gradcam.pictures import Panel, draw
from maskkit_gradcam.questions import PREDICTED, Question, choose_questions

__all__ = ["Explainer", "Explanation"]

_DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Explanation:
    """The answer to a question that a photo was explained for, the predicted one, and the map, float32 [H, W] in 0..1.

    probabilities: of each answer, float32 [num_classes].
    """

    question: Question
    answer: int
    probabilities: NDArray[np.float32]
    heat: NDArray[np.float32]

    @property
    def title(self) -> str:
        """The answer with its probability, and the predicted one where another was asked for."""
        lines = [self.question.name, self._told(self.answer)]
        predicted = int(self.probabilities.argmax())
        lines += [f"predicted: {self._told(predicted)}"] if self.answer != predicted else []
        lines += ["nothing here speaks for it"] if not self.heat.any() else []
        return "\n".join(lines)

    def _told(self, answer: int) -> str:
        return f"{self.question.classes[answer]}  {self.probabilities[answer]:.2f}"


@dataclass(frozen=True)
class Explainer:
    """A trained run with the questions, the method and the layer by which photos are explained."""

    trained: TrainedRun
    module: nn.Module
    questions: Sequence[Question]
    method: Method
    layer: Layer | None

    @classmethod
    def of_run(
        cls,
        run: Path,
        *,
        checkpoint: Literal["best", "last"] = "best",
        device: str = "auto",
        heads: Sequence[str] = (),
        target: str = PREDICTED,
        method: Method = "hirescam",
        layer: str | None = None,
    ) -> Self:
        """Return the explainer of a run folder or checkpoint.

        Raises:
            CheckpointError: the run cannot be used.
            UsageError: the run has no such head, answer, layer or device.
        """
        if layer is not None and method == "occlusion":
            raise UsageError(
                f"--layer={layer}: occlusion looks at no layer", hint="Leave it out, or choose a --method."
            )
        trained = load_run(run, checkpoint=checkpoint, device=device)
        questions = choose_questions(trained.view, heads, target)
        module = trained.module
        found = None if method == "occlusion" else find_layer(module, trained.network, trained.size, layer)
        return cls(trained, module, questions, method, found)

    @property
    def summary(self) -> str:
        """What is explained and how, in a line."""
        model, view = self.trained.description["model"]["name"], self.trained.view.name
        names = ", ".join(question.name for question in self.questions)
        return f"{self._way} of {model}, {view}; explaining {names}"

    @property
    def _way(self) -> str:
        if self.layer is None:
            return self.method
        return f"{self.method} at {self.layer.name} ({self.layer.layout.height}x{self.layer.layout.width})"

    def explain(self, pixels: Tensor) -> list[Explanation]:
        """Return an explanation for each question of an image, pixels float32 [1, 3, H, W] in 0..1 on the device."""
        with torch.inference_mode():
            logits = self.module(pixels)
        explanations = []
        for question in self.questions:
            probabilities = question.scores(logits).softmax(dim=1)[0].float().cpu().numpy()
            answer = int(probabilities.argmax()) if question.target is None else question.target
            heat = heat_map(self.method, self.module, self.layer, pixels, question=question, answer=answer)
            explanations.append(Explanation(question, answer, probabilities, heat))
        return explanations

    def write(self, photo: Path, picture: Path) -> None:
        """Write the picture, a PNG, of a photo.

        Raises:
            DataError: the photo cannot be read.
        """
        prepared = self.trained.prepare(open_image(photo))
        pixels = prepared[None].to(next(self.module.buffers()).device, torch.float32) / 255
        panels = [Panel(one.title, one.heat) for one in self.explain(pixels)]
        caption = f"{photo.name}: {self._way}"
        figure = draw(prepared.permute(1, 2, 0).numpy(), panels, caption)
        with replacing(picture) as temporary:
            figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)
