"""maskkit explain on a real run, which was trained on noise with planted cues."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SQUARES
from maskkit_gradcam.explainer import Explainer, Explanation
from maskkit_gradcam.maps import Method
from numpy.typing import NDArray
from PIL import Image

from maskkit import open_image
from maskkit.cli.shell import main
from maskkit.testing import Check


def explanations(run: Path, photo: Path, method: Method) -> dict[str, Explanation]:
    explainer = Explainer.of_run(run, device="cpu", method=method)
    pixels = explainer.trained.prepare(open_image(photo))[None].to(torch.float32) / 255
    return {one.question.name: one for one in explainer.explain(pixels)}


def share_of_heat(heat: NDArray[np.float32], square: tuple[slice, slice]) -> float:
    """Return how much of a map lies in a square or up to four fiftieths of the side beside it."""
    place = [slice(max(64 * (edge.start - 4) // 50, 0), 64 * (edge.stop + 4) // 50) for edge in square]
    return float(heat[place[0], place[1]].sum() / heat.sum())


@pytest.mark.parametrize("method", ["hirescam", "occlusion"])
def test_the_map_of_each_head_lies_where_its_cue_was_planted(run: Path, photos: Path, method: Method) -> None:
    found = explanations(run, photos / "a.png", method)
    answers = {name: one.question.classes[one.answer] for name, one in found.items()}
    assert answers == {"mask": "normal", "gender": "female", "age": "old"}
    for name, one in found.items():
        shares = {other: share_of_heat(one.heat, square) for other, square in SQUARES.items()}
        assert max(shares, key=shares.__getitem__) == name
        assert shares[name] > 0.5, shares  # on an eighth of the area


def test_each_photo_of_a_folder_gets_its_picture_and_no_photo_changes(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {photo: photo.read_bytes() for photo in photos.iterdir()}
    out = tmp_path / "maps"
    assert main(["explain", str(run), str(photos), f"--out={out}"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.jpg.png", "b.png.png"]
    assert before == {photo: photo.read_bytes() for photo in photos.iterdir()}
    printed = capsys.readouterr().out
    assert "BaseModel, multihead; explaining mask, gender, age" in printed
    assert "explained 3 of 3 photos" in printed
    assert f"wrote 3 pictures to {out}" in printed


def test_a_picture_shows_the_photo_and_a_map_for_each_head(run: Path, photos: Path) -> None:
    assert main(["explain", str(run), str(photos / "a.png")]) == 0
    picture = run / "explanations" / "a.png"
    with Image.open(picture) as three:
        width = three.width
    assert main(["explain", str(run / "checkpoints" / "best.safetensors"), str(photos / "a.png"), "--head=age"]) == 0
    with Image.open(picture) as one:
        assert one.width < width * 0.65
        assert np.asarray(one.convert("RGB")).std() > 20


def test_photos_that_cannot_be_read_are_named_and_the_others_explained(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_bytes(b"no photo")
    (photos / "empty.png").touch()
    assert main(["explain", str(run), str(photos), f"--out={tmp_path / 'maps'}"]) == 1
    told = capsys.readouterr()
    assert "broken.jpg cannot be read: it holds no image" in told.err
    assert "empty.png cannot be read: it is empty" in told.err
    assert len(list((tmp_path / "maps").iterdir())) == 3


@pytest.mark.parametrize(
    "case",
    [
        (["{run}", "{photos}", "--layer=11x"], 2, "--layer=11x: the network has no such module; did you mean 11"),
        (["{run}", "{photos}", "--layer=14"], 2, "--layer=14: its output, [1, 1152], is no map of features"),
        (["{run}", "{photos}", "--layer=10", "--method=occlusion"], 2, "occlusion looks at no layer"),
        (["{run}", "{photos}", "--target=femal"], 2, "did you mean female?"),
        (["{run}", "{photos}", "--head=race"], 2, "It is one of: mask, gender, age."),
        (["{run}", "{photos}", "--method=lime"], 2, "must be one of: hirescam, gradcam, occlusion"),
        (["{run}", "{photos}", "--out={photos}"], 2, "the pictures would lie among the photos"),
        (["{run}", "{photos}", "--out={photos}/a.png"], 2, "is a file; it must be a folder"),
        (["{run}", "{photos}/absent.png"], 1, "there is no photo or folder"),
        (["{run}", "{run}"], 1, "holds no images"),
        (["{photos}/absent", "{photos}"], 1, "there is no run folder or checkpoint"),
        (["{photos}", "{photos}"], 1, "has no best checkpoint"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_anything_is_written(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str], case: tuple[list[str], int, str]
) -> None:
    words, code, complaint = case
    before = sorted(photos.iterdir())
    assert main(["explain", *(word.format(run=run, photos=photos) for word in words)]) == code
    assert complaint in capsys.readouterr().err
    assert sorted(photos.iterdir()) == before


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    maskkit_check()
