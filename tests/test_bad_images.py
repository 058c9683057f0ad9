"""Real files of every kind of damage are refused with their cause; real files of every odd kind give their picture."""

import io
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Runner
from PIL import Image

from maskkit.data.images import MAX_PIXELS, find_bad_images, open_image
from maskkit.errors import DataError

Write = Callable[[Path], object]
Colour = tuple[int, int, int]

RED, BLUE = (200, 30, 30), (20, 40, 180)
WIDTH, HEIGHT = 64, 48
TOO_MANY_PIXELS = f"it has more than {MAX_PIXELS} pixels"


def picture(mode: str = "RGB", width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image.quantize() if mode == "P" else image.convert(mode)


def other() -> Image.Image:
    """Return a second picture, for files that hold several."""
    return Image.new("RGB", (WIDTH, HEIGHT), "lime")


def see_through(image: Image.Image) -> Image.Image:
    image.putalpha(0)
    return image


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, colours: int, rows: bytes, *extra: bytes) -> bytes:
    """Return a PNG of those rows, each with its filter byte; `extra` chunks stand before the data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def sixteen_bits(colours: int, left: list[int], right: list[int]) -> bytes:
    half = WIDTH // 2
    row = (
        b"\0" + struct.pack(f">{len(left) * half}H", *left * half) + struct.pack(f">{len(left) * half}H", *right * half)
    )
    return png(WIDTH, HEIGHT, 16, colours, row * HEIGHT)


def jpeg_without_segment(content: bytes, marker: int) -> bytes:
    """Return the JPEG without the header segments of a marker."""
    kept, place = bytearray(content[:2]), 2
    while content[place + 1] != 0xDA:  # where the scan starts
        length = 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place + 1] != marker:
            kept += content[place : place + length]
        place += length
    return bytes(kept) + content[place:]


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def grey(colour: Colour) -> Colour:
    """Return the luma of ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B."""
    luma = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
    return luma, luma, luma


def holding(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def cut(content: bytes, length: int) -> Write:
    return holding(content[:length])


def linked(target: str) -> Write:
    return lambda path: path.symlink_to(target)


JPEG, PNG = encoded("JPEG"), encoded("PNG")
BLACK_BITS = b"\0" * (1 + 20_000 // 8)
BOMB_OF_TEXT = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 50_000_000, 9))
BOMB_OF_COLOURS = chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"x" * 50_000_000, 9))
ONE_ROW = b"\0" + bytes(RED)

BAD: dict[str, tuple[Write, str]] = {
    "two_bytes.jpg": (cut(JPEG, 2), "it "),
    "cut_in_header.jpg": (cut(JPEG, 200), "it "),
    "cut_behind_header.jpg": (cut(JPEG, JPEG.index(b"\xff\xda") + 20), "it is damaged (image file is truncated"),
    "cut_in_half.jpg": (cut(JPEG, len(JPEG) - 40), "it is damaged (image file is truncated"),
    "cut_at_end.jpg": (cut(JPEG, len(JPEG) - 6), "it is damaged (image file is truncated"),
    "cut_progressive.jpg": (cut(encoded("JPEG", progressive=True), -30), "it is damaged (image file is truncated"),
    "cut_in_header.png": (cut(PNG, 20), "it "),
    "cut_in_data.png": (cut(PNG, PNG.index(b"IDAT") + 40), "it is damaged (image file is truncated"),
    "cut.bmp": (cut(encoded("BMP"), -500), "it is damaged (image file is truncated"),
    "cut.ppm": (cut(encoded("PPM"), -500), "it is damaged (image file is truncated"),
    "cut_gif.png": (cut(encoded("GIF"), -30), "it is damaged (image file is truncated"),
    "empty.jpg": (holding(b""), "it is empty"),
    "zeros.jpg": (holding(bytes(5000)), "it holds no image; it begins with b'\\x00"),
    "text.jpg": (holding(b"hello, I am no image"), "it holds no image; it begins with b'hello, I am '"),
    "page.jpg": (holding(b"<!DOCTYPE html><p>404</p>"), "it holds no image; it begins with b'<!DOCTYPE ht'"),
    "bomb.png": (holding(png(20_000, 20_000, 1, 0, BLACK_BITS * 20_000)), TOO_MANY_PIXELS),
    "bomb_of_text.png": (holding(png(1, 1, 8, 2, ONE_ROW, BOMB_OF_TEXT)), "it is damaged (Decompressed data too large"),
    "folder.jpg": (Path.mkdir, "it is a folder"),
    "ghost.jpg": (linked("nowhere.jpg"), "there is no such file"),
    "ring.jpg": (lambda path: path.symlink_to(path.name), "the system says: Too many levels of symbolic links"),
    "pipe.jpg": (os.mkfifo, "it is a pipe, a socket or a device, no file"),
    "device.jpg": (linked("/dev/zero"), "it is a pipe, a socket or a device, no file"),
}
if sys.platform == "linux":  # reading the first byte of its own memory fails for every user
    BAD["unreadable.jpg"] = (linked("/proc/self/mem"), "the system says: Input/output error")

UPRIGHT, TURNED = (WIDTH, HEIGHT), (HEIGHT, WIDTH)
COLOURS, GREYS, BITS = (RED, BLUE), (grey(RED), grey(BLUE)), ((255,) * 3, (0,) * 3)
BITS_IMAGE = Image.fromarray(np.repeat([[True] * 32 + [False] * 32], HEIGHT, axis=0))

# What each file shows: its size, and the colours of its first and its last pixel.
ODD: dict[str, tuple[Write, tuple[int, int], tuple[Colour, Colour]]] = {
    "progressive.jpg": (holding(encoded("JPEG", progressive=True)), UPRIGHT, COLOURS),
    "grey.jpg": (holding(encoded("JPEG", picture("L"))), UPRIGHT, GREYS),
    "cmyk.jpg": (holding(encoded("JPEG", picture("CMYK"))), UPRIGHT, COLOURS),  # Pillow inverts it, as Adobe does
    "cmyk_unmarked.jpg": (
        holding(jpeg_without_segment(encoded("JPEG", picture("CMYK")), 0xEE)),
        UPRIGHT,
        COLOURS,
    ),
    "turned.jpg": (holding(encoded("JPEG", exif=turned(6))), TURNED, COLOURS),
    "turned.png": (holding(encoded("PNG", exif=turned(6))), TURNED, COLOURS),
    "two_in_one.jpg": (holding(encoded("MPO", save_all=True, append_images=[other()])), UPRIGHT, COLOURS),
    "bytes_behind.jpg": (holding(JPEG + b"made by a camera"), UPRIGHT, COLOURS),
    "many_bytes_behind.jpg": (holding(JPEG + b"video" * 10_000), UPRIGHT, COLOURS),
    "bytes_behind.png": (holding(PNG + b"video" * 10_000), UPRIGHT, COLOURS),
    "no_last_chunk.png": (cut(PNG, -12), UPRIGHT, COLOURS),
    "grey_of_16_bits.png": (holding(sixteen_bits(0, [200 * 257], [30 * 257])), UPRIGHT, ((200,) * 3, (30,) * 3)),
    "rgb_of_16_bits.png": (
        holding(sixteen_bits(2, [257 * one for one in RED], [257 * one for one in BLUE])),
        UPRIGHT,
        COLOURS,
    ),
    "palette.png": (holding(encoded("PNG", picture("P"))), UPRIGHT, COLOURS),
    "palette_see_through.png": (holding(encoded("PNG", picture("P"), transparency=0)), UPRIGHT, COLOURS),
    "rgba.png": (holding(encoded("PNG", see_through(picture("RGB")))), UPRIGHT, COLOURS),
    "la.png": (holding(encoded("PNG", see_through(picture("L")))), UPRIGHT, GREYS),
    "one_bit.png": (holding(encoded("PNG", BITS_IMAGE)), UPRIGHT, BITS),
    "animated_gif.png": (holding(encoded("GIF", save_all=True, append_images=[other()])), UPRIGHT, COLOURS),
    "animated.png": (holding(encoded("PNG", save_all=True, append_images=[other()])), UPRIGHT, COLOURS),
    "jpeg_inside.png": (holding(JPEG), UPRIGHT, COLOURS),
    "webp_inside.jpg": (holding(encoded("WEBP", lossless=True)), UPRIGHT, COLOURS),
    "whole.bmp": (holding(encoded("BMP")), UPRIGHT, COLOURS),
    "whole.ppm": (holding(encoded("PPM")), UPRIGHT, COLOURS),
    "broad.png": (holding(encoded("PNG", picture(width=20_000, height=100))), (20_000, 100), COLOURS),
    "one_pixel.png": (holding(png(1, 1, 8, 2, ONE_ROW)), (1, 1), (RED, RED)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every file of both tables."""
    place = tmp_path_factory.mktemp("images")
    for name, (write, *_) in (BAD | ODD).items():
        write(place / name)
    return place


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_path_and_cause(folder: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        open_image(folder / name)
    assert caught.value.message.startswith(f"the image {folder / name} cannot be read: {BAD[name][1]}")


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_gives_its_picture(folder: Path, name: str) -> None:
    _, size, colours = ODD[name]
    opened = open_image(folder / name)
    assert (opened.mode, opened.size) == ("RGB", size)
    pixels = np.asarray(opened).astype(int)
    assert np.abs(pixels[[0, -1], [0, -1]] - colours).max() <= 3


@pytest.mark.parametrize("thorough", [False, True])
def test_bad_files_are_found_among_odd_ones_in_their_order(folder: Path, *, thorough: bool) -> None:
    names = [name for pair in zip(ODD, [*BAD, *ODD], strict=False) for name in pair]
    paths = [str(folder / name) for name in names]
    found = find_bad_images(paths, thorough=thorough)
    assert list(found) == [str(folder / name) for name in dict.fromkeys(names) if name in BAD]
    assert all(cause.startswith(BAD[Path(path).name][1]) for path, cause in found.items())


def test_damage_within_a_file_is_found_by_decoding_it(tmp_path: Path) -> None:
    middle = PNG.index(b"IDAT") + 10
    path = tmp_path / "a.png"
    path.write_bytes(PNG[:middle] + bytes([PNG[middle] ^ 255]) + PNG[middle + 1 :])
    assert find_bad_images([str(path)], thorough=False) == {}
    (cause,) = find_bad_images([str(path)], thorough=True).values()
    assert cause.startswith("it is damaged")


def test_every_cut_of_a_file_is_found_without_decoding_whole_ones(tmp_path: Path) -> None:
    preview = encoded("JPEG", picture(width=16, height=12))  # a whole JPEG within the headers, as cameras put one there
    content = encoded("JPEG", comment=preview)
    paths = []
    for length in range(0, len(content) - 1, 7):
        paths.append(str(tmp_path / f"{length}.jpg"))
        Path(paths[-1]).write_bytes(content[:length])
    assert list(find_bad_images(paths, thorough=False)) == paths


def test_an_interrupted_search_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    told = []

    def interrupt(*numbers: int) -> None:
        told.append(numbers)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_bad_images([str(tmp_path / "a.png")] * 20_000, thorough=True, on_progress=interrupt)
    ((done, total),) = told
    assert (done < 100, total) == (True, 20_000)


def write_profiles(place: Path, names: list[str]) -> list[str]:
    """Make each file the only photo of a person of its own; return their paths."""
    paths = [
        place / f"{number:06d}_female_Asian_45" / f"normal{Path(name).suffix}" for number, name in enumerate(names)
    ]
    for path, name in zip(paths, names, strict=True):
        path.parent.mkdir(parents=True)
        (BAD | ODD)[name][0](path)
    return [str(path) for path in paths]


QUICK = ("--epochs=1", "--resize=32", "--num_workers=0", "--batch_size=8")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(BAD), 10))  # as many as a message names
def test_a_training_names_every_bad_file_and_writes_nothing(maskkit: Runner, tmp_path: Path, first: int) -> None:
    names = [name for name in BAD if name != "folder.jpg"][first : first + 10]  # folders are no images, and passed over
    paths = write_profiles(tmp_path / "data", [*names, *ODD])
    outcome = maskkit("train", "--data_dir=data", *QUICK, timeout=120)
    assert (outcome.code, outcome.out) == (1, "")
    first_line, *lines = outcome.err.splitlines()
    assert first_line == f"error: {len(names)} of {len(paths)} images cannot be read:"
    assert lines[-1] == "  Replace these files, or take them out."
    for name, path, line in zip(names, paths, lines[:-1], strict=False):
        assert line.startswith(f"    {path}: {BAD[name][1]}")
    assert len(lines) == len(names) + 1
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


@pytest.mark.slow
def test_a_training_takes_every_odd_file(maskkit: Runner, tmp_path: Path) -> None:
    write_profiles(tmp_path / "data", list(ODD))
    outcome = maskkit("train", "--data_dir=data", *QUICK)
    assert outcome.code == 0, outcome.err
    (warning,) = [line for line in outcome.err.splitlines() if not line.startswith("  ")]
    assert "look like photos trained on, of another id" in warning, "they are one picture in many forms"
    assert (tmp_path / "runs" / "exp" / "predictions" / "valid_soft.csv").is_file()


@pytest.mark.slow
def test_skipped_images_are_left_out_counted_and_listed(maskkit: Runner, tmp_path: Path) -> None:
    """Damage in the middle of a file, which only decoding shows, is among them."""
    bad = [name for name in BAD if name != "folder.jpg"]
    paths = write_profiles(tmp_path / "data", [*bad, *ODD])
    middle = PNG.index(b"IDAT") + 10
    damaged = tmp_path / "data" / "900000_male_Asian_30" / "normal.png"
    damaged.parent.mkdir()
    damaged.write_bytes(PNG[:middle] + bytes([PNG[middle] ^ 255]) + PNG[middle + 1 :])
    outcome = maskkit("train", "--data_dir=data", "--on-bad-image=skip", *QUICK)
    assert outcome.code == 0, outcome.err
    assert f"Note: {len(bad) + 1} images cannot be read and are left out: runs/exp/bad_images.csv" in outcome.out
    run = tmp_path / "runs" / "exp"
    listed = pd.read_csv(run / "bad_images.csv")
    assert listed["path"].tolist() == [*(str(tmp_path / path) for path in paths[: len(bad)]), str(damaged)]
    assert all(cause.startswith(BAD[name][1]) for cause, name in zip(listed["cause"], bad, strict=False))
    assert len(pd.read_csv(run / "samples.csv")) == len(ODD)
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["decisions"]["bad_images"] == len(bad) + 1


@pytest.mark.slow
def test_prediction_leaves_out_and_lists_what_it_cannot_read(maskkit: Runner, tmp_path: Path) -> None:
    write_profiles(tmp_path / "data", list(ODD))
    assert maskkit("train", "--data_dir=data", *QUICK).code == 0
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate([*ODD, *BAD]):
        if name != "folder.jpg":
            (BAD | ODD)[name][0](photos / f"{number:03d}{Path(name).suffix}")
    words = ("predict", "runs/exp", "--images=photos", "--out=answers")
    refused = maskkit(*words)
    assert refused.code == 1
    assert "images cannot be read" in refused.err
    assert not (tmp_path / "answers").exists()
    outcome = maskkit(*words, "--on_bad_image=skip")
    assert outcome.code == 0, outcome.err
    num_bad = len(BAD) - 1
    assert f"Note: {num_bad} images cannot be read and have no prediction: answers/bad_images.csv" in outcome.out
    assert len(pd.read_csv(tmp_path / "answers" / "bad_images.csv")) == num_bad
    assert len(pd.read_csv(tmp_path / "answers" / "eval_hard.csv")) == len(ODD)
