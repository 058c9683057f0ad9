"""What the runs of all folds say together: each image as predicted by the run that held it out, and their scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from maskkit import metrics
from maskkit.alignment import align
from maskkit.bootstrap import RESAMPLES
from maskkit.errors import CheckpointError
from maskkit.evaluation import evaluate
from maskkit.files import write_text
from maskkit.predictions import Floats, Predictions, read_predictions, write_hard, write_soft

__all__ = ["join_folds"]


def join_folds(run_dir: Path, num_folds: int) -> None:
    """Write the predictions of all held-out images, the means of those of the eval images, and the scores."""
    folders = [run_dir / f"fold-{fold}" / "predictions" for fold in range(num_folds)]
    held_out = [read_predictions(folder / "valid_soft.csv") for folder in folders]
    out = run_dir / "predictions"
    _write_out_of_fold(out / "oof_soft.csv", held_out, run_dir)
    written = ["oof_soft.csv"]
    if (folders[0] / "eval_soft.csv").is_file():
        first, *others = (read_predictions(folder / "eval_soft.csv") for folder in folders)
        values = [_values(file) for file in (first, *(align(first, other) for other in others))]
        means = np.mean(values, axis=0).astype(np.float32)
        write_hard(out / "eval_hard.csv", first.ids, means.argmax(axis=1))
        write_soft(out / "eval_soft.csv", first.ids, means)
        written += ["eval_hard.csv", "eval_soft.csv"]
    _tell_scores(run_dir, held_out)
    for name in written:
        print(f"wrote {out / name}")


def _write_out_of_fold(path: Path, held_out: Sequence[Predictions], run_dir: Path) -> None:
    """Write the predictions that each fold made of its held-out images, in the order of samples.csv."""
    samples = pd.read_csv(run_dir / "samples.csv", dtype={"sample": str}, keep_default_na=False)["sample"].tolist()
    ids = [image for file in held_out for image in file.ids]
    row_of = {image: row for row, image in enumerate(ids)}
    if len(row_of) != len(ids) or row_of.keys() != set(samples):
        raise CheckpointError(
            f"the folds of {run_dir} did not predict each of its images once", hint="Start a new run."
        )
    rows = [row_of[image] for image in samples]
    values = np.concatenate([_values(file) for file in held_out])[rows].astype(np.float32)
    truth = np.concatenate([file.truth for file in held_out if file.truth is not None])[rows]
    write_soft(path, samples, values, truth=truth)


def _values(file: Predictions) -> Floats:
    return file.checked_values("prob")


def _tell_scores(run_dir: Path, held_out: Sequence[Predictions]) -> None:
    """Write folds.csv, and print the macro F1 of each fold, their mean and spread, and that of all out of fold."""
    rows = []
    for fold, file in enumerate(held_out):
        assert file.truth is not None  # noqa: S101  a run writes it
        counts = metrics.confusion_counts(file.truth, file.ans, _values(file).shape[1])
        rows.append({"fold": fold, "images": len(file.ids), "f1_macro": float(metrics.f1_per_class(counts).mean())})
    table = pd.DataFrame(rows)
    write_text(run_dir / "folds.csv", table.to_csv(index=False, lineterminator="\n"))
    for row in rows:
        print(f"fold {row['fold']}  {row['images']:>7,} images  macro F1 {row['f1_macro']:.4f}")
    scores = table["f1_macro"]
    print(f"mean of the folds {scores.mean():.4f}, standard deviation {scores.std():.4f}")
    whole = evaluate(read_predictions(run_dir / "predictions" / "oof_soft.csv")).scores.whole
    f1 = whole.macro_f1
    print(f"out of fold: {whole.images:,} images, macro F1 {f1.value:.4f} ({f1.low:.4f}-{f1.high:.4f})")
    print(f"In brackets: the 95% interval of {RESAMPLES:,} bootstrap resamples of people.")
