"""The contract of rules of voting: `maskkit.plugin.contracts.VoteFactory`."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from maskkit.labels import NUM_CLASSES
from maskkit.plugin.contracts import VoteRule
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import expect

__all__ = ["CHECKS"]

_Floats = NDArray[np.float64]

_NUM_IMAGES = 30
_WIDTHS = (2, 3, NUM_CLASSES)
_WEIGHTS = {1: (1.0,), 2: (1.0, 1.0), 3: (0.5, 2.0, 0.0), 5: (1.0, 3.0, 0.25, 1.0, 2.0)}  # by the number of files


def _gives_a_row_an_image(candidate: Candidate) -> None:
    rule = candidate.build()
    expect(callable(rule), f"it must give a function of (probabilities, weights), but gave {type(rule).__name__}")
    for files, weights in _cases(candidate):
        scores = rule(files.copy(), weights.copy())
        shape = files.shape[1:]
        sentence = f"for probabilities of the shape {files.shape} it must give numbers of the shape {shape}, but gave"
        expect(isinstance(scores, np.ndarray), f"{sentence} {type(scores).__name__}")
        expect(scores.shape == shape, f"{sentence} {scores.shape}; mix over the first axis, the files")
        expect(bool(np.isfinite(scores).all()), "its numbers must be finite, but some are NaN or infinite")


def _changes_no_input(candidate: Candidate) -> None:
    rule = _required(candidate)
    for files, weights in _cases(candidate):
        given = files.copy(), weights.copy()
        rule(*given)
        expect(
            np.array_equal(given[0], files) and np.array_equal(given[1], weights),
            "it must leave the arrays that it is given as they are, but changed them; work on a copy",
        )


def _knows_no_order(candidate: Candidate) -> None:
    rule = _required(candidate)
    for files, weights in _cases(candidate):
        scores = rule(files.copy(), weights.copy())
        for order in (np.arange(len(files))[::-1], np.roll(np.arange(len(files)), 1)):
            other = rule(files[order].copy(), weights[order].copy())
            expect(
                np.allclose(scores, other, rtol=1e-9, atol=1e-12),
                "the order of the files must not matter, since their weights move along, but it changed a number by"
                f" {float(np.abs(scores - other).max()):.2g}",
            )


def _leaves_one_file_its_answers(candidate: Candidate) -> None:
    rule = _required(candidate)
    for files, _ in _cases(candidate):
        for file in files:
            _expect_answers(rule, file[None], np.ones(1), "of one file alone")


def _follows_files_that_agree(candidate: Candidate) -> None:
    rule = _required(candidate)
    for files, weights in _cases(candidate):
        _expect_answers(rule, np.repeat(files[:1], len(weights), axis=0), weights, "on which all files agree")


def _scores_each_image_alone(candidate: Candidate) -> None:
    if not candidate.offer.component.rowwise:
        return
    rule = _required(candidate)
    for files, weights in _cases(candidate):
        whole = rule(files.copy(), weights.copy())
        half = _NUM_IMAGES // 2
        parts = [rule(part.copy(), weights.copy()) for part in (files[:, :half], files[:, half:])]
        expect(
            np.allclose(whole, np.concatenate(parts), rtol=1e-9, atol=1e-12),
            "with rowwise=True the scores of an image must not depend on the other images, but they changed when half"
            " of them were left out; leave rowwise=True out",
        )


def _expect_answers(rule: VoteRule, files: _Floats, weights: _Floats, which: str) -> None:
    answers = np.asarray(rule(files.copy(), weights.copy())).argmax(axis=1)
    changed = int((answers != files[0].argmax(axis=1)).sum())
    expect(not changed, f"it must keep the answers {which}, but changed {changed} of {len(answers)}")


def _cases(candidate: Candidate) -> Iterator[tuple[_Floats, _Floats]]:
    """Yield probabilities [M, N, K] and weights [M]; of a rule that takes answers also rows of one 1."""
    numbers = np.random.default_rng(0)
    for width in _WIDTHS:
        for count, weights in _WEIGHTS.items():
            files = numbers.dirichlet(np.ones(width), size=(count, _NUM_IMAGES))
            yield files, np.array(weights)
            if candidate.offer.component.from_answers:
                yield np.eye(width)[files.argmax(axis=2)], np.array(weights)


def _required(candidate: Candidate) -> VoteRule:
    return candidate.require_function()


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives a row an image": _gives_a_row_an_image,
    "it changes none of its inputs": _changes_no_input,
    "the order of files does not matter": _knows_no_order,
    "one file alone keeps its answers": _leaves_one_file_its_answers,
    "files that agree keep their answers": _follows_files_that_agree,
    "images that are voted on apart keep their scores": _scores_each_image_alone,
}
