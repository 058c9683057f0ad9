"""A picture of some photos of every class, by which people see what the labels mean, and what is wrong with them."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from maskkit.data.doctor import Photo
from maskkit.data.images import open_image
from maskkit.files import replacing
from maskkit.labels import CLASS_NAMES

__all__ = ["write_contact_sheet"]

_PHOTOS_OF_CLASS = 8
_WIDTH, _HEIGHT, _TITLE = 96, 128, 20  # pixels of a photo, and of the line above each class


def write_contact_sheet(path: Path, photos: Sequence[Photo]) -> None:
    """Write a PNG with a row of photos for each of the 18 classes, each of another person where there are so many.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [_chosen([photo for photo in photos if photo.answer == answer]) for answer in range(len(CLASS_NAMES))]
    sheet = Image.new("RGB", (_PHOTOS_OF_CLASS * _WIDTH, len(rows) * (_TITLE + _HEIGHT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TITLE * 3 // 4)
    for answer, chosen in enumerate(rows):
        top = answer * (_TITLE + _HEIGHT)
        count = sum(photo.answer == answer for photo in photos)
        draw.text((2, top), f"{answer}  {CLASS_NAMES[answer]}: {count:,} photos", "black", font)
        for column, photo in enumerate(chosen):
            picture = open_image(photo.path)
            picture.thumbnail((_WIDTH, _HEIGHT))
            sheet.paste(picture, (column * _WIDTH, top + _TITLE))
    with replacing(path) as temporary:
        sheet.save(temporary, format="png")


def _chosen(photos: Sequence[Photo]) -> list[Photo]:
    """Return some photos, spread evenly over the people, of each the first."""
    of_people = list({photo.person: photo for photo in reversed(photos)}.values())[::-1]
    if len(of_people) < _PHOTOS_OF_CLASS:
        of_people += [photo for photo in photos if photo not in of_people]
    step = max(1, len(of_people) // _PHOTOS_OF_CLASS)
    return of_people[::step][:_PHOTOS_OF_CLASS]
