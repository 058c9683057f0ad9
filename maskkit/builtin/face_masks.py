"""Masks, wherever on the face they are worn."""

import numpy as np
from numpy.typing import ArrayLike

from maskkit.builtin.face_strokes import DARK, SHADOW, WHITE, Canvas, Points, mix, oval
from maskkit.builtin.face_traits import MaskDesign, Person, WornMask

__all__ = ["draw_mask"]

_ACROSS = np.linspace(-1, 1, 9)
_DOWN = np.linspace(0, 1, 5)
_LIGHT = 600
_DEPTH = 0.4


class _Cloth:
    """A mask as it lies on a face: its points by u, -1 left to 1 right, and v, 0 top to 1 bottom."""

    def __init__(self, person: Person, mask: WornMask, face: Points) -> None:
        right = face[face[:, 0] > 0]
        self._edge = right[np.argsort(right[:, 1])]
        self._narrowest = 0.5 * person.face_width
        self._top, self._bottom = mask.top, mask.bottom
        self._lift = 14 if mask.design.cut == "pleated" else 34

    def at(self, u: ArrayLike, v: ArrayLike) -> Points:
        """Return points [N,2] in face pixels; both edges bend around the face."""
        across, down = np.broadcast_arrays(np.atleast_1d(u).astype(np.float64), v)
        top, bottom = self._top + 16 * across**2, self._bottom - self._lift * across**2
        y = top + (bottom - top) * down
        half = np.maximum(np.interp(y, self._edge[:, 1], self._edge[:, 0]), self._narrowest)
        return np.stack([0.96 * across * half, y], axis=1)

    def band(self, top: float, bottom: float) -> Points:
        """Return the outline of the part between two heights v."""
        sides = top + (bottom - top) * _DOWN[1:-1]
        right, left = self.at(1, sides), self.at(-1, sides[::-1])
        return np.concatenate([self.at(_ACROSS, top), right, self.at(_ACROSS[::-1], bottom), left])


def draw_mask(canvas: Canvas, person: Person, mask: WornMask, face: Points) -> None:
    """Draw the mask and its loops around the ears."""
    cloth, design = _Cloth(person, mask, face), mask.design
    loop = WHITE if sum(person.skin) < _LIGHT else mix(design.colour, DARK, 0.5)
    for side in (-1, 1):
        for v, y in ((0.08, -8), (0.88, 24)):
            start, ear = cloth.at(side, v)[0], np.array([side * (person.face_width + 7), y])
            canvas.stroke(np.stack([start, (start + ear) / 2, ear]), 6, loop)
    whole = cloth.band(0, 1)
    centre = whole.mean(axis=0)
    canvas.fill(whole, mix(design.colour, DARK, 0.45), _DEPTH)
    canvas.fill((whole - centre) * 0.97 + centre, design.colour, _DEPTH)
    _pattern(canvas, cloth, design)
    _seams(canvas, cloth, design)
    tape, wide = WHITE if sum(design.colour) < _LIGHT else (112, 146, 190), 9 / (mask.bottom - mask.top)
    canvas.fill(cloth.band(0, wide), tape, _DEPTH)
    canvas.fill(cloth.band(1 - wide, 1), tape, _DEPTH)
    for side in (-1, 1):
        fall = np.concatenate([cloth.at(side, _DOWN), cloth.at(side * np.array([0.55, 0.7, 0.75]), _DOWN[::-2])])
        canvas.shade(fall, SHADOW, 0.4, _DEPTH)


def _pattern(canvas: Canvas, cloth: _Cloth, design: MaskDesign) -> None:
    if design.pattern == "dots":
        for row in range(1, 6):
            for x, y in cloth.at(np.linspace(-0.8, 0.8, 8 + row % 2), row / 6).tolist():
                canvas.fill(oval(x, y, 4, 4), design.print_colour, _DEPTH)
    if design.pattern == "stripes":
        for u in np.linspace(-0.84, 0.84, 9):
            canvas.stroke(cloth.at(u, _DOWN), 8, design.print_colour, _DEPTH)
    if design.pattern == "bars":
        for v in np.linspace(0.15, 0.85, 5):
            canvas.stroke(cloth.at(_ACROSS, v), 9, design.print_colour, _DEPTH)


def _seams(canvas: Canvas, cloth: _Cloth, design: MaskDesign) -> None:
    line = mix(design.colour, DARK if sum(design.colour) > 200 else WHITE, 0.3)
    if design.cut == "pleated":
        for v in (0.3, 0.5, 0.7):
            canvas.stroke(cloth.at(_ACROSS, v), 3.5, line, _DEPTH)
    if design.cut == "seamed":
        canvas.stroke(cloth.at(0, _DOWN), 4, line, 2 * _DEPTH)
    if design.cut == "folded":
        canvas.stroke(cloth.at(_ACROSS, 0.3 + 0.12 * _ACROSS**2), 4, line, _DEPTH)
