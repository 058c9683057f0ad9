"""The figures of a validation: every number is right and readable, and a picture that is gone does no harm."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase
from numpy.typing import NDArray
from PIL import Image

from maskkit import Mistake, confusion_figure, mistakes_figure, open_image
from maskkit.labels import VIEWS

THREE = np.array([[648, 36, 48], [7, 97, 0], [0, 0, 0]])


def competition(num_classes: int) -> NDArray[np.int64]:
    """Return counts as large as the competition's classes are, nearly all wrong ones too."""
    draws = np.random.default_rng(num_classes)
    counts = draws.integers(0, 900, (num_classes, num_classes))
    counts[np.diag_indices(num_classes)] = draws.integers(1000, 4086, num_classes)
    return counts


def drawn(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return canvas


def texts_of(figure: Figure) -> list[Text]:
    return [text for axes in figure.axes for text in texts_in(axes) if text.get_text()]


def texts_in(axes: Axes) -> list[Text]:
    around = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    return [*axes.texts, *around]


def cells_of(figure: Figure) -> dict[tuple[int, int], Text]:
    """Return the texts in the cells by row and column."""
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text for text in figure.axes[0].texts}


def brightness(colour: Sequence[float]) -> float:
    return float(np.dot(colour[:3], (0.299, 0.587, 0.114)))


def is_within(inner: BboxBase, outer: BboxBase, slack: float = 0.5) -> bool:
    is_in_height = outer.y0 - slack <= inner.y0 and inner.y1 <= outer.y1 + slack
    return is_in_height and outer.x0 - slack <= inner.x0 and inner.x1 <= outer.x1 + slack


def test_a_cell_holds_its_count_and_its_colour_the_share_of_the_true_class() -> None:
    figure = confusion_figure(THREE, ("wear", "incorrect", "normal"))
    drawn(figure)
    texts = [[cells_of(figure)[row, column].get_text() for column in range(3)] for row in range(3)]
    assert texts == [["648\n89%", "36\n5%", "48\n7%"], ["7\n7%", "97\n93%", ""], ["", "", ""]]
    shares = figure.axes[0].images[0].get_array()
    assert shares is not None
    by_hand = [[648 / 732, 36 / 732, 48 / 732], [7 / 104, 97 / 104, 0], [0, 0, 0]]
    assert np.asarray(shares) == pytest.approx(np.array(by_hand))
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_the_truth_is_on_the_rows_and_the_first_class_on_top() -> None:
    axes = confusion_figure(THREE, ("wear", "incorrect", "normal")).axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("truth", "predicted")
    for labels in (axes.get_yticklabels(), axes.get_xticklabels()):
        assert [label.get_text() for label in labels] == ["wear", "incorrect", "normal"]
    bottom, top = axes.get_ylim()
    assert bottom > top, "rows are numbered downwards, as those of the table"


@pytest.mark.parametrize("view", ["gender", "mask", "multi"])
def test_numbers_and_names_are_readable_for_any_number_of_classes(view: str) -> None:
    classes = VIEWS[view].classes
    figure = confusion_figure(competition(len(classes)), classes)
    canvas = drawn(figure)
    axes, renderer = figure.axes[0], canvas.get_renderer()  # type: ignore[no-untyped-call]
    colours = axes.images[0]
    shares = np.asarray(colours.get_array())
    for (row, column), text in cells_of(figure).items():
        corners = axes.transData.transform([(column - 0.5, row - 0.5), (column + 0.5, row + 0.5)])
        cell = Bbox([corners.min(axis=0), corners.max(axis=0)])
        assert is_within(text.get_window_extent(renderer), cell), f"{text.get_text()} leaves its cell"
        assert float(text.get_fontsize()) >= 8
        paper, ink = colours.to_rgba(shares[row : row + 1, column : column + 1])[0, 0], to_rgb(text.get_color())
        assert abs(brightness(paper) - brightness(ink)) > 0.4, f"{text.get_text()} is hard to see"
    for one, other in pairwise(axes.get_yticklabels()):
        assert not one.get_window_extent(renderer).overlaps(other.get_window_extent(renderer))
    for text in texts_of(figure):
        assert is_within(text.get_window_extent(renderer), figure.bbox), f"{text.get_text()} leaves the figure"


def test_a_figure_is_saved_by_the_ending_of_its_name(tmp_path: Path) -> None:
    for name in ("x.png", "x.pdf", "x.svg"):
        confusion_figure(THREE, ("wear", "incorrect", "normal")).savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Photos of one colour each, in folders of people."""
    paths = []
    for number, colour in enumerate(("red", "lime", "blue", "yellow", "cyan")):
        path = tmp_path / f"00000{number}_male_Asian_25" / "mask1.png"
        path.parent.mkdir()
        Image.new("RGB", (384, 512), colour).save(path)
        paths.append(str(path))
    return paths


def mistakes_on(paths: Sequence[str]) -> list[Mistake]:
    return [Mistake(path, number % 3, (number + 1) % 3, 0.99 - number / 100) for number, path in enumerate(paths)]


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_each_mistake_has_its_picture_its_answers_and_its_file(pictures: list[str], count: int) -> None:
    figure = mistakes_figure(mistakes_on(pictures[:count]), ("wear", "incorrect", "normal"), open_image)
    canvas = drawn(figure)
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == count
    assert len(figure.axes) <= 4 or count > 4
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    for number, axes in enumerate(shown):
        x, y = axes.bbox.get_points().mean(axis=0).astype(int)
        assert tuple(pixels[len(pixels) - y, x]) == colours[number]
        truth, answer = (("wear", "incorrect", "normal")[(number + more) % 3] for more in (0, 1))
        assert axes.get_title() == f"{truth}\n→ {answer} {0.99 - number / 100:.2f}"
        assert axes.get_xlabel() == f"00000{number}_male_Asian_25\nmask1.png"


def test_longest_names_leave_neither_their_column_nor_the_figure(pictures: list[str]) -> None:
    classes = VIEWS["multi"].classes
    longest = max(range(18), key=lambda number: len(classes[number]))
    figure = mistakes_figure([Mistake(path, longest, longest, 0.97) for path in pictures], classes, open_image)
    renderer = drawn(figure).get_renderer()  # type: ignore[no-untyped-call]
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes[:5]]
    assert not any(one.overlaps(other) for one, other in pairwise(titles))
    assert all(is_within(title, figure.bbox) for title in titles)


def test_a_picture_that_is_gone_leaves_its_cell_with_its_name(pictures: list[str]) -> None:
    """Whatever letters and signs a path has, none of them is a warning or a formula."""
    Path(pictures[0]).unlink()
    damaged = Path(pictures[1]).with_name("얼굴 $^$ 100%.png")
    damaged.write_bytes(Path(pictures[1]).read_bytes()[:60])
    paths = [pictures[0], str(damaged), pictures[2]]
    figure = mistakes_figure(mistakes_on(paths), ("wear", "incorrect", "normal"), open_image)
    drawn(figure)
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert said == [["cannot be read"], ["cannot be read"], []]
    names = [axes.get_xlabel().splitlines()[1] for axes in figure.axes]
    assert names == ["mask1.png", "?? $^$ 100%.png", "mask1.png"]


def test_figures_are_drawn_without_a_display_or_the_state_of_one(environment: dict[str, str], tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from maskkit import confusion_figure
assert "matplotlib" not in sys.modules
confusion_figure(np.eye(2, dtype=np.int64), ("one", "two")).savefig("x.png")
assert "matplotlib.pyplot" not in sys.modules
"""
    screen = {"MPLBACKEND": "TkAgg", "DISPLAY": ":77"}
    done = run(sys.executable, "-c", code, env=environment | screen, cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "x.png").exists()
