"""What `find-lr` shows: which learning rate the loss speaks for, as a line, a picture and numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from maskkit.cli.pictures import check_picture, naming_picture
from maskkit.config import FindLrConfig
from maskkit.errors import UsageError
from maskkit.files import replacing, write_text
from maskkit.plugin.registry import Registry
from maskkit.progress import showing_progress

if TYPE_CHECKING:
    from pathlib import Path

    from maskkit.engine.lr_search import Curve

__all__ = ["search_and_print"]


def search_and_print(config: FindLrConfig, origins: Mapping[str, str], registry: Registry) -> None:
    """Try the learning rates, write the picture and the numbers, and print what to type.

    Raises:
        UsageError: the picture cannot be written there, or the rates do not rise.
    """
    check_picture("plot", config.plot)
    if config.lowest >= config.highest:
        raise UsageError(f"--lowest={config.lowest:g} must be less than --highest={config.highest:g}")
    from maskkit.engine.lr_search import find_lr

    with showing_progress() as progress_of:
        curve = find_lr(config, origins, registry, progress_of("trying", "steps"))
    _write(config.plot, curve)
    print(f"the loss is least at a learning rate of {curve.least:.1e}, and a tenth of it is a good one to begin with")
    print(f"next: maskkit train --lr={curve.suggested:.1e}, with the other flags as they were here")


def _write(plot: "Path", curve: "Curve") -> None:
    from maskkit.reporting.figures import rates_figure

    smooth = curve.smooth
    columns = zip(curve.rates.tolist(), curve.losses.tolist(), smooth.tolist(), strict=True)
    rows = [f"{rate:.6g},{loss:.6g},{mean:.6g}" for rate, loss, mean in columns]
    table = plot.with_suffix(".csv")
    with naming_picture("plot", plot):
        write_text(table, "\n".join(["lr,loss,smooth_loss", *rows]) + "\n")
        with replacing(plot) as temporary:
            rates_figure(curve.rates, curve.losses, smooth, curve.suggested).savefig(temporary, format="png")
    print(f"wrote {plot}\nwrote {table}")
