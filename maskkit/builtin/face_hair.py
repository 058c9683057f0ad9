"""Hair, brows and beards."""

import numpy as np

from maskkit.builtin.face_strokes import DARK, WHITE, Canvas, Points, mirrored, mix, oval, smooth
from maskkit.builtin.face_traits import Person

__all__ = ["draw_back_hair", "draw_beard", "draw_brow", "draw_front_hair"]

_LONG = 10
_GREY = 0.5


def draw_back_hair(canvas: Canvas, person: Person) -> None:
    """Draw the hair that falls behind the neck, or the knot in which it is gathered."""
    cut, width = person.haircut, person.face_width
    colour = mix(person.hair, DARK, 0.3)
    if cut.knot == "bun":
        canvas.fill(oval(0, -150, 40, 34), colour)
        canvas.fill(oval(-6, -154, 26, 20), person.hair)
    if cut.knot == "tail":
        tail = np.array([(60, -90), (118, -80), (140, 10), (122, 120), (96, 190), (100, 90), (92, 0)])
        canvas.fill(smooth(tail * (np.sign(cut.part), 1)), colour)
    if cut.back > 0:
        wide = width + 16 + cut.volume
        low = [(wide + 4, 0.7 * cut.back), (0.7 * wide, cut.back)]
        canvas.fill(smooth(mirrored([(0.3 * width, -128), (0.9 * wide, -70), (wide, 20), *low])), colour)


def draw_front_hair(canvas: Canvas, person: Person, random: np.random.Generator) -> None:
    """Draw the hair before the face: a band between the outline of the head and the hairline, with strands in it."""
    outer, inner = _edges(person)
    if person.haircut.bald:
        for side in (slice(0, 3), slice(-3, None)):
            canvas.fill(smooth(np.concatenate([outer[side], inner[side][::-1]])), person.hair)
        return
    outer, inner = smooth(outer, closed=False), smooth(inner, closed=False)
    canvas.fill(np.concatenate([outer, inner[::-1]]), person.hair)
    light, dark = mix(person.hair, WHITE, 0.16), mix(person.hair, DARK, 0.25)
    for number in range(7 if person.haircut.sides > _LONG else 12):
        if person.haircut.sides > _LONG:
            share = (number + random.uniform(0.2, 0.8)) / 7
            strand = outer * (1 - share) + inner * share
        else:
            strand = _lock(outer, inner, (number + random.uniform(0.2, 0.8)) / 12)
        canvas.stroke(strand, random.uniform(2, 4), light if number % 2 else dark)
    if 0 < person.grey < _GREY:
        _grey_temples(canvas, person, outer, inner)


def _edges(person: Person) -> tuple[Points, Points]:
    """Return the outline of the hair and the hairline, corner by corner from the left ear over the top to the right."""
    cut, width = person.haircut, person.face_width
    wide, half_way = width + 4 + 0.45 * cut.volume, 0.5 * cut.sides - 10
    flare, inset = (7, 6) if cut.sides > _LONG else (-1, 3)
    top = [(0.45 * width, -124 - cut.volume), (0.85 * wide, -92 - 0.6 * cut.volume), (wide, -40)]
    right = [*top, (wide + flare, half_way), (wide + flare, cut.sides)]
    brow = [(0.42 * width, 0.55 * cut.temple + 0.45 * cut.peak), (0.78 * width, cut.temple), (width - 8, -30)]
    line = [*brow, (width - inset, half_way), (width - 6, cut.sides)]
    outer = np.array([*[(-x, y) for x, y in reversed(right)], (0, -130 - cut.volume), *right])
    inner = np.array([*[(-x, y) for x, y in reversed(line)], (cut.part, cut.peak), *line])
    outer[::2] += np.sign(outer[::2]) * cut.waves
    inner[1::2] += (0, cut.waves)
    return outer, inner


def _lock(outer: Points, inner: Points, place: float) -> Points:
    """Return a strand of short hair, from the hairline up and aside to the outline."""
    root = 8 + round(place * (len(inner) - 17))
    tip = np.clip(root + np.array([0, 2, 4]), 0, len(inner) - 1)
    share = np.array([0.08, 0.5, 0.9])[:, None]
    return smooth(inner[tip] * (1 - share) + outer[tip] * share, closed=False)


def _grey_temples(canvas: Canvas, person: Person, outer: Points, inner: Points) -> None:
    """Draw grey strands beside dark ones, so that the hair is no lighter on the whole."""
    for share in np.linspace(0.15, 0.9, 4):
        line = outer * (1 - share) + inner * share
        for temple in (line[:22], line[-22:]):
            canvas.stroke(temple + (0, 4), 14 * person.grey, mix(person.hair, DARK, 0.6))
            canvas.stroke(temple, 16 * person.grey, person.streaks)


def draw_brow(canvas: Canvas, person: Person, side: int) -> None:
    """Draw one eyebrow, -1 the left of the photo."""
    arch = person.brow_arch
    line = np.array([(-25, -40), (-6, -44 - arch), (12, -43 - arch), (30, -36)]) * (side, 1)
    colour = mix(mix(person.hair, DARK, 0.45 * (1 - person.grey)), person.streaks, 0.3 * person.grey)
    canvas.stroke(smooth(line + (side * person.eye_gap, 0), closed=False), person.brow_weight, colour, 1.0)


def draw_beard(canvas: Canvas, person: Person, face: Points) -> None:
    """Draw stubble as a shadow, a moustache or a full beard as hair."""
    colour = mix(person.hair, DARK, 0.15 * (1 - person.grey))
    if person.beard == "stubble":
        low = face[face[:, 1] > 50]
        around = np.argsort(np.arctan2(low[:, 1] - 60, low[:, 0]))
        canvas.shade(low[around], (110, 116, 124), 0.5)
    if person.beard in ("moustache", "full"):
        canvas.fill(smooth(mirrored([(6, 60), (24, 64), (38, 82), (24, 74), (6, 72)])), colour, 1.1)
    if person.beard == "full":
        edge, chin = person.face_width, 136 + person.chin
        outer = [(0.98 * edge, 20), (0.97 * edge, 60), (0.84 * edge, 96), (0.52 * edge, chin - 8), (0.2 * edge, chin)]
        inner = [(0.12 * edge, 100), (0.4 * edge, 96), (0.52 * edge, 68), (0.84 * edge, 48)]
        for side in (-1, 1):
            canvas.fill(smooth(np.array([*outer, (0, chin), (0, 100), *inner]) * (side, 1)), colour, 0.2)
