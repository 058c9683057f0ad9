"""Reading images: every mode becomes upright RGB, and whatever is no image is named with its cause."""

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from maskkit.data.images import MAX_PIXELS, check_headers, find_images, first_few, is_image_name, open_image
from maskkit.errors import DataError


def noise(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 14, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG file whose header tells of that many pixels, and which holds none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "1"])
def test_png_of_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = noise(mode)
    image.save(tmp_path / "a.png")
    opened = open_image(tmp_path / "a.png")
    assert (opened.mode, opened.size) == ("RGB", (14, 20))
    assert np.array_equal(np.asarray(opened), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path, transparency: int | bytes) -> None:
    image = noise().quantize(256)
    image.save(tmp_path / "a.png", transparency=transparency)
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK").save(tmp_path / "a.jpg")
    pixels = np.asarray(open_image(tmp_path / "a.jpg")).astype(int)
    assert np.abs(pixels - [200, 30, 30]).max() <= 3


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    opened = np.asarray(open_image(tmp_path / "a.png"))
    assert opened[0].tolist() == [[value] * 3 for value in (0, 0, 1, 1, 128, 255)]


def test_sixteen_bit_ppm_is_scaled_to_eight(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P5 3 1 65535\n" + struct.pack(">HHH", 0, 32768, 65535))
    assert np.asarray(open_image(tmp_path / "a.ppm"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.4, 300.0], [0, 100, 255]), ([float("nan"), -1.0, 1.0], [0, 0, 255])],
)
def test_floats_count_from_zero_to_one_or_to_255(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    (tmp_path / "a.ppm").write_bytes(b"Pf\n3 1\n-1.0\n" + struct.pack("<fff", *values))
    assert np.asarray(open_image(tmp_path / "a.ppm"))[0, :, 0].tolist() == expected


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.n_frames == 3  # type: ignore[attr-defined]
    assert open_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_orientation_is_undone(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise().save(tmp_path / f"a.{ending}", exif=exif)
    opened = open_image(tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as held:
        assert np.array_equal(np.asarray(opened), np.asarray(ImageOps.exif_transpose(held)))
        assert (opened.size == held.size) == (orientation < 5)


def test_a_damaged_exif_block_loses_no_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    held = io.BytesIO()
    noise().save(held, "PNG", exif=exif)
    damaged = held.getvalue().replace(b"MM\x00*", b"XX\x00*")
    start = damaged.index(b"eXIf")
    length = struct.unpack(">I", damaged[start - 4 : start])[0]
    checksum = struct.pack(">I", zlib.crc32(damaged[start : start + 4 + length]))
    (tmp_path / "a.png").write_bytes(damaged[: start + 4 + length] + checksum + damaged[start + 8 + length :])
    assert open_image(tmp_path / "a.png").size == (14, 20)


def broken_files(folder: Path) -> dict[str, str]:
    """Write one file of each kind of damage that a header tells of; return the cause by name."""
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("hello, I am no image")
    (folder / "folder.jpg").mkdir()
    (folder / "bomb.png").write_bytes(png_claiming(10_000, 10_000))
    (folder / "large_bomb.png").write_bytes(png_claiming(60_000, 60_000))
    (folder / "ghost.jpg").symlink_to(folder / "nowhere.jpg")
    return {
        "empty.jpg": "it is empty",
        "text.jpg": "it holds no image; it begins with b'hello, I am '",
        "folder.jpg": "it is a folder",
        "bomb.png": f"it has more than {MAX_PIXELS} pixels",
        "large_bomb.png": f"it has more than {MAX_PIXELS} pixels",
        "ghost.jpg": "there is no such file",
        "missing.jpg": "there is no such file",
    }


def test_what_is_no_image_is_named_with_its_cause(tmp_path: Path) -> None:
    for name, cause in broken_files(tmp_path).items():
        with pytest.raises(DataError) as caught:
            open_image(tmp_path / name)
        assert caught.value.message == f"the image {tmp_path / name} cannot be read: {cause}"


def test_a_bomb_is_refused_where_warnings_are_ignored_too(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_claiming(10_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="it has more than 89478485 pixels"):
            open_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "ppm", "bmp"])
def test_a_file_cut_short_is_refused(tmp_path: Path, ending: str) -> None:
    noise().save(tmp_path / f"a.{ending}")
    whole = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=f"a.{ending} cannot be read: it is damaged"):
        open_image(tmp_path / f"a.{ending}")


@given(
    kind=st.sampled_from(["JPEG", "PNG", "PPM", "BMP"]),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8),
)
def test_damaged_bytes_give_a_picture_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[int, int]]
) -> None:
    buffer = io.BytesIO()
    noise().save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert open_image(path).mode == "RGB"


def test_good_headers_pass_and_progress_is_told(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(100)]
    for path in paths:
        noise().save(path)
    progress: list[tuple[int, int]] = []
    check_headers(paths, on_progress=lambda *numbers: progress.append(numbers))
    assert progress == sorted(progress)
    assert len(progress) > 2
    assert progress[-1] == (100, 100)


def test_one_error_lists_every_broken_header(tmp_path: Path) -> None:
    causes = broken_files(tmp_path)
    noise().save(tmp_path / "good.png")
    with pytest.raises(DataError) as caught:
        check_headers([str(tmp_path / name) for name in [*causes, "good.png"]])
    lines = caught.value.message.splitlines()
    assert lines[0] == "7 of 8 images cannot be read:"
    assert lines[1:] == [f"  {tmp_path / name}: {cause}" for name, cause in causes.items()]


def test_ten_broken_headers_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_headers([str(tmp_path / f"{number}.jpg") for number in range(13)])
    lines = caught.value.message.splitlines()
    assert (len(lines), lines[-1]) == (12, "  and 3 more")


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.b.Jpeg", "a.png", "a.PPM", "a.bmp"])
def test_image_endings_count_in_any_case(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("name", [".a.jpg", "._a.jpg", ".jpg", "a.gif", "a.txt", "jpg", "a.jpg.part", "Thumbs.db"])
def test_hidden_files_and_other_endings_do_not_count(name: str) -> None:
    assert not is_image_name(name)


def test_a_folder_lists_its_images_by_name_and_a_dead_link_among_them(tmp_path: Path) -> None:
    for name in ("b.jpg", "A.PNG", ".c.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "z.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert find_images(tmp_path) == ["A.PNG", "b.jpg", "z.jpg"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing cannot be listed: No such file or directory"):
        find_images(tmp_path / "missing")


def test_first_few_counts_what_it_leaves_out() -> None:
    assert first_few([1, 2]) == "1, 2"
    assert first_few(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more"
