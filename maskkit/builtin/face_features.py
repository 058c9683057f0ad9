"""How a person is drawn, from the wall behind to the mask in front; one short function for each feature."""

import numpy as np
from PIL import Image

from maskkit.builtin.face_strokes import HEIGHT, WIDTH, Canvas, Colour, Points, mirrored, mix, oval, smooth
from maskkit.builtin.face_traits import Person, Scene, WornMask

__all__ = ["draw_photo"]

_DARK: Colour = (38, 28, 30)
_WHITE: Colour = (250, 248, 246)
_SHADOW: Colour = (110, 84, 90)


def draw_photo(person: Person, scene: Scene, random: np.random.Generator) -> Image.Image:
    """Return a photo, RGB 384 x 512, of the person in the scene; `random` lays strands of hair and grain."""
    canvas = Canvas(scene.pose, scene.camera, scene.wall)
    face = _outline(person)
    _backdrop(canvas, scene, random)
    _back_hair(canvas, person)
    _body(canvas, person)
    _head(canvas, person, face)
    _wrinkles(canvas, person)
    for side in (-1, 1):
        _eye(canvas, person, side)
        _brow(canvas, person, side)
    _nose(canvas, person)
    _beard(canvas, person, face)
    _mouth(canvas, person, scene.smile)
    if scene.mask and scene.mask.top < -30:
        _glasses(canvas, person)
    if scene.mask:
        _mask(canvas, person, scene.mask, face)
    _front_hair(canvas, person, random)
    if not scene.mask or scene.mask.top >= -30:
        _glasses(canvas, person)
    return canvas.develop(random)


def _outline(person: Person) -> Points:
    """Return the closed outline of the head."""
    width, jaw, chin = person.face_width, person.jaw, 130 + person.chin
    half = [(0.30, -128), (0.72, -104), (0.97, -52), (1.0, 0), (0.95, 44), (0.78 + 0.1 * jaw, 84)]
    low = [(0.46 + 0.18 * jaw, 116), (0.16 + 0.08 * jaw, chin)]
    return smooth(mirrored([(x * width, y) for x, y in half + low]))


def _backdrop(canvas: Canvas, scene: Scene, random: np.random.Generator) -> None:
    """Draw what stands behind, in photo pixels."""
    if scene.backdrop == "horizon":
        line = random.uniform(200, 380)
        canvas.paint([(0, line), (WIDTH, line + random.uniform(-30, 30)), (WIDTH, HEIGHT), (0, HEIGHT)], scene.things)
    elif scene.backdrop == "stripes":
        step = random.uniform(24, 60)
        for x in np.arange(0, WIDTH, 2 * step):
            canvas.paint(_box(x, 0, step, HEIGHT), mix(scene.wall, scene.things, 0.45))
    elif scene.backdrop == "discs":
        for _ in range(9):
            radius = random.uniform(14, 46)
            share = random.uniform(0.2, 0.8)
            disc = oval(random.uniform(0, WIDTH), random.uniform(0, HEIGHT), radius, radius)
            canvas.paint(disc, mix(scene.wall, scene.things, share))
    elif scene.backdrop == "window":
        x, y, width = random.uniform(-60, 260), random.uniform(-20, 120), random.uniform(90, 170)
        canvas.paint(_box(x, y, width, 220), mix(scene.wall, _WHITE, 0.8))
        canvas.paint(_box(x + 8, y + 8, width - 16, 204), scene.things)
        canvas.paint(_box(x + width / 2 - 4, y, 8, 220), mix(scene.wall, _WHITE, 0.8))
    elif scene.backdrop == "shelves":
        for y in np.arange(random.uniform(30, 90), HEIGHT, 110):
            canvas.paint(_box(0, y, WIDTH, 9), mix(scene.wall, _DARK, 0.5))
            for x in np.arange(random.uniform(0, 30), WIDTH, 34):
                height = random.uniform(30, 80)
                canvas.paint(_box(x, y - height, 24, height), mix(scene.things, _DARK, random.uniform(0, 0.5)))


def _box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _back_hair(canvas: Canvas, person: Person) -> None:
    cut, width = person.haircut, person.face_width
    colour = mix(person.hair, _DARK, 0.3)
    if cut.knot == "bun":
        canvas.fill(oval(0, -150, 40, 34), colour)
        canvas.fill(oval(-6, -154, 26, 20), person.hair)
    if cut.knot == "tail":
        side = np.sign(cut.part)
        tail = [(60, -90), (118, -80), (140, 10), (122, 120), (96, 190), (100, 90), (92, 0)]
        canvas.fill(smooth(np.array(tail) * (side, 1)), colour)
    if cut.back > 0:
        spread = width + 16 + cut.volume
        half = [
            (0.3 * width, -128),
            (0.9 * spread, -70),
            (spread, 20),
            (spread + 4, 0.7 * cut.back),
            (0.7 * spread, cut.back),
        ]
        canvas.fill(smooth(mirrored(half)), colour)


def _body(canvas: Canvas, person: Person) -> None:
    male = person.gender == "male"
    neck, shoulder = (52, 190) if male else (40, 158)
    skin = mix(person.skin, _SHADOW, 0.12)
    body = [(neck, 168), (neck + 40, 184), (shoulder, 214), (shoulder + 36, 300), (shoulder + 50, 480)]
    canvas.fill(smooth(mirrored(body)), person.clothes)
    canvas.fill(smooth(mirrored([(neck, 60), (neck, 150), (neck + 14, 176), (0.5 * neck, 196)])), skin)
    if person.neckline == "pointed":
        canvas.fill(np.array([(-neck - 6, 174), (neck + 6, 174), (0, 250)], dtype=np.float64), skin)
    if person.neckline == "collar":
        for side in (-1, 1):
            flap = np.array([(neck - 4, 158), (neck + 26, 178), (30, 228), (2, 204)]) * (side, 1)
            canvas.fill(flap, mix(person.clothes, _WHITE, 0.35))
    canvas.shade(smooth(mirrored([(neck + 2, 90), (neck + 2, 140), (0.5 * neck, 172)])), _SHADOW, 0.6)


def _head(canvas: Canvas, person: Person, face: Points) -> None:
    edge = person.face_width
    for side in (-1, 1):
        canvas.fill(oval(side * (edge + 3), 4, 13, 25), mix(person.skin, _SHADOW, 0.1))
        canvas.stroke(
            smooth([(side * (edge + 8), -12), (side * (edge + 10), 4), (side * (edge + 4), 20)], closed=False),
            3,
            mix(person.skin, _DARK, 0.3),
        )
        if person.earrings:
            canvas.fill(oval(side * (edge + 5), 35, 5, 6), (236, 204, 110))
    canvas.fill(face, person.skin)
    young = 1 - person.signs
    for side in (-1, 1):
        canvas.shade(
            smooth(
                np.array([(edge, -60), (edge, 40), (0.6 * edge, 112), (0.72 * edge, 40), (0.86 * edge, -10)])
                * (side, 1)
            ),
            _SHADOW,
            0.35,
        )
        canvas.shade(oval(side * 54, 44, 22, 16), (255, 150, 140), 0.15 + 0.25 * young, 1.0)
        canvas.shade(oval(side * person.eye_gap, -22, 26, 14), _SHADOW, 0.22, 1.0)


def _wrinkles(canvas: Canvas, person: Person) -> None:
    """Draw the lines of age: on the forehead, beside and below the eyes, and from nose to mouth."""
    signs = person.signs
    if signs < 0.2:
        return
    line = mix(person.skin, (70, 36, 30), 0.25 + 0.5 * signs)
    wide = 2.0 + 4.0 * signs
    for row in range(2 if signs < 0.55 else 4):
        y = -62 - 13 * row
        reach = 46 - 5 * row
        canvas.stroke(
            smooth([(-reach, y + 4), (-0.4 * reach, y - 2), (0.4 * reach, y - 2), (reach, y + 4)], closed=False),
            wide,
            line,
            0.8,
        )
    for side in (-1, 1):
        gap = person.eye_gap
        fold = [(18, 46), (34, 58), (42, 78), (40, 92)]
        canvas.stroke(smooth(np.array(fold) * (side, 1), closed=False), wide * 1.3, line, 1.2)
        bag = [(gap - 18, 4), (gap - 4, 12), (gap + 12, 10), (gap + 22, 2)]
        canvas.stroke(smooth(np.array(bag) * (side, 1), closed=False), wide, line, 1.0)
        for foot in range(1 if signs < 0.55 else 3):
            ray = [(gap + 25, -10 + 5 * foot), (gap + 34, -14 + 10 * foot), (gap + 42, -18 + 14 * foot)]
            canvas.stroke(smooth(np.array(ray) * (side, 1), closed=False), wide, line, 0.8)
        if signs > 0.55:
            canvas.shade(oval(side * gap, 6, 22, 9), _SHADOW, 0.5, 1.0)
            canvas.shade(smooth(np.array([(56, 30), (64, 60), (50, 92), (44, 60)]) * (side, 1)), _SHADOW, 0.45, 0.8)


def _eye(canvas: Canvas, person: Person, side: int) -> None:
    male = person.gender == "male"
    size, open_ = person.eye_size, 10.5 * person.eye_size * (1 - 0.3 * person.signs)
    x, y = side * person.eye_gap, -14

    def at(*corners: tuple[float, float]) -> Points:
        return np.array(corners) * (side * size, 1) + (x, y)

    canvas.fill(
        smooth(at((-23, 3), (-10, -0.8 * open_), (6, -open_), (24, -2), (10, 0.8 * open_), (-10, 0.8 * open_))),
        _WHITE,
        1.0,
    )
    canvas.fill(oval(x, y - 1, 0.95 * open_ + 0.5, 0.95 * open_), person.iris, 1.2)
    canvas.fill(oval(x, y - 1, 4.6, 4.8), (16, 14, 16), 1.3)
    canvas.fill(oval(x + 3, y - 4, 2.6, 2.6), _WHITE, 1.3)
    lid = smooth(at((-25, 4), (-10, -0.9 * open_), (6, -1.1 * open_), (26, -3)), closed=False)
    canvas.stroke(lid, 4.5 if male else 7.5, _DARK, 1.0)
    crease = smooth(at((-20, -7), (-4, -7 - open_), (12, -7 - open_), (26, -8)), closed=False)
    canvas.stroke(crease, 2.5, mix(person.skin, _DARK, 0.35), 1.0)
    if not male:
        for lash in range(3):
            base = 14 + 5 * lash
            canvas.stroke(
                smooth(
                    at((base, -9 + 2 * lash), (base + 6, -14 + 2 * lash), (base + 10, -20 + 3 * lash)), closed=False
                ),
                3.5,
                _DARK,
                1.0,
            )


def _brow(canvas: Canvas, person: Person, side: int) -> None:
    x, arch = side * person.eye_gap, person.brow_arch
    line = np.array([(-25, -40), (-6, -44 - arch), (12, -43 - arch), (30, -36)]) * (side, 1) + (x, 0)
    colour = mix(mix(person.hair, _DARK, 0.45 * (1 - person.grey)), person.streaks, 0.3 * person.grey)
    canvas.stroke(smooth(line, closed=False), person.brow_weight, colour, 1.0)


def _nose(canvas: Canvas, person: Person) -> None:
    wide, tip = person.nose_width, person.nose_tip
    dark = mix(person.skin, _DARK, 0.45)
    canvas.shade(smooth([(4, -30), (10, 0), (wide, tip - 8), (wide, tip + 4), (6, tip + 6), (3, 0)]), _SHADOW, 0.4, 1.5)
    canvas.stroke(
        smooth([(wide * 0.35, -24), (wide * 0.45, 0), (wide * 0.7, tip - 14)], closed=False),
        3,
        mix(person.skin, _DARK, 0.2),
        1.5,
    )
    canvas.stroke(
        smooth(
            [(-wide, tip - 2), (-wide * 0.5, tip + 6), (0, tip + 9), (wide * 0.5, tip + 6), (wide, tip - 2)],
            closed=False,
        ),
        4.5,
        dark,
        1.8,
    )
    for side in (-1, 1):
        canvas.fill(oval(side * wide * 0.48, tip + 3, 4.5, 2.6), dark, 1.8)
        canvas.stroke(
            smooth([(side * wide, tip - 9), (side * (wide + 3), tip - 2), (side * wide * 0.9, tip + 3)], closed=False),
            3,
            dark,
            1.6,
        )


def _mouth(canvas: Canvas, person: Person, smile: float) -> None:
    half, y, full = 30, 82, person.lip_height
    left, right = (-half, y - smile * 0.6), (half, y - smile * 0.6)
    middle = y + smile * 0.3
    canvas.fill(
        smooth(
            [
                left,
                (-9, middle - full),
                (0, middle - full * 0.7),
                (9, middle - full),
                right,
                (14, middle + 1),
                (-14, middle + 1),
            ]
        ),
        person.lips,
        1.2,
    )
    canvas.fill(
        smooth([left, (-14, middle), (14, middle), right, (13, middle + full), (-13, middle + full)]),
        mix(person.lips, _WHITE, 0.12),
        1.2,
    )
    canvas.stroke(
        smooth([left, (-12, middle + 0.5), (0, middle), (12, middle + 0.5), right], closed=False),
        3.2,
        mix(person.lips, _DARK, 0.6),
        1.2,
    )


def _beard(canvas: Canvas, person: Person, face: Points) -> None:
    colour = mix(person.hair, _DARK, 0.15 * (1 - person.grey))
    if person.beard == "stubble":
        low = face[face[:, 1] > 50]
        canvas.shade(low[np.argsort(np.arctan2(low[:, 1] - 60, low[:, 0]))], (110, 116, 124), 0.5)
    if person.beard in ("moustache", "full"):
        canvas.fill(smooth(mirrored([(6, 60), (24, 64), (38, 82), (24, 74), (6, 72)])), colour, 1.1)
    if person.beard == "full":
        edge, chin = person.face_width, 136 + person.chin
        outer = [(0.98 * edge, 20), (0.97 * edge, 60), (0.84 * edge, 96), (0.52 * edge, chin - 8), (0.2 * edge, chin)]
        inner = [(0.12 * edge, 100), (0.4 * edge, 96), (0.52 * edge, 68), (0.84 * edge, 48)]
        # The chin, then each cheek from the ear to the chin.
        canvas.fill(smooth(mirrored([*reversed(inner), *[]])), colour, 0.4) if False else None
        for side in (-1, 1):
            canvas.fill(smooth(np.array([*outer, (0, chin), (0, 100), *inner]) * (side, 1)), colour, 0.2)


def _front_hair(canvas: Canvas, person: Person, random: np.random.Generator) -> None:
    """Draw the hair before the face: a band between the outline of the head and the hairline, with strands along it."""
    outer, inner = _hair_edges(person)
    cut = person.haircut
    if cut.bald:
        for side in (slice(0, 3), slice(-3, None)):
            canvas.fill(smooth(np.concatenate([outer[side], inner[side][::-1]])), person.hair)
        return
    canvas.fill(np.concatenate([smooth(outer, closed=False), smooth(inner, closed=False)[::-1]]), person.hair)
    for strand in range(7):
        share = (strand + random.uniform(0.2, 0.8)) / 7
        line = smooth(outer * (1 - share) + inner * share, closed=False)
        shade = mix(person.hair, _WHITE, 0.16) if strand % 2 else mix(person.hair, _DARK, 0.22)
        canvas.stroke(line, random.uniform(2, 4), shade)
    if 0 < person.grey < 0.5:
        for share in np.linspace(0.3, 0.9, 4):
            line = smooth(outer * (1 - share) + inner * share, closed=False)
            for temple in (slice(0, 16), slice(-16, None)):
                canvas.stroke(line[temple], 12 * person.grey, person.streaks)


def _hair_edges(person: Person) -> tuple[Points, Points]:
    """Return corner by corner the outline of the hair and its hairline, both from the left ear over the top to the right."""
    cut, width = person.haircut, person.face_width
    wide = width + 4 + 0.45 * cut.volume
    long = cut.sides > 10
    right = [
        (0.45 * width, -124 - cut.volume),
        (0.85 * wide, -92 - 0.6 * cut.volume),
        (wide, -40),
        (wide + (6 if long else 0), 0.5 * cut.sides - 10),
        (wide + (8 if long else -2), cut.sides),
    ]
    line = [
        (0.42 * width, cut.temple * 0.55 + cut.peak * 0.45),
        (0.78 * width, cut.temple),
        (width - 8, -30),
        (width - (6 if long else 3), 0.5 * cut.sides - 10),
        (width - 6, cut.sides),
    ]
    outer = np.array([*[(-x, y) for x, y in reversed(right)], (0, -130 - cut.volume), *right])
    inner = np.array([*[(-x, y) for x, y in reversed(line)], (cut.part, cut.peak), *line])
    if cut.waves:
        outer[::2] += np.sign(outer[::2]) * (cut.waves, cut.waves)
        inner[1::2] += (0, cut.waves)
    return outer, inner


def _glasses(canvas: Canvas, person: Person) -> None:
    if not person.glasses:
        return
    frame = (40, 36, 44)
    for side in (-1, 1):
        ring = oval(side * (person.eye_gap + 1), -12, 31, 25)
        for start in range(0, 20, 5):
            arc = np.concatenate([ring, ring])[start : start + 7]
            canvas.stroke(smooth(arc, closed=False), 6, frame, 1.3)
        edge = person.face_width
        canvas.stroke(
            np.array(
                [
                    (side * (person.eye_gap + 31), -16),
                    (side * 0.5 * (edge + person.eye_gap + 31), -17),
                    (side * edge, -16),
                ]
            ),
            5,
            frame,
            0.6,
        )
    canvas.stroke(smooth([(-10, -14), (0, -18), (10, -14)], closed=False), 6, frame, 1.5)


def _mask(canvas: Canvas, person: Person, mask: WornMask, face: Points) -> None:
    design = mask.design
    right = face[face[:, 0] > 0]
    order = np.argsort(right[:, 1])

    def at(u: float, v: float) -> tuple[float, float]:
        """Return the point of the face at u, -1 left to 1 right, and v, 0 top to 1 bottom of the mask."""
        top = mask.top + 16 * u * u
        bottom = mask.bottom - (14 if design.cut == "pleated" else 34) * u * u
        y = top + (bottom - top) * v
        half = max(float(np.interp(y, right[order, 1], right[order, 0])), 0.5 * person.face_width)
        return u * half * 0.96, y

    us = np.linspace(-1, 1, 9)
    outline = np.array(
        [
            *[at(u, 0) for u in us],
            *[at(1, v) for v in (0.25, 0.5, 0.75)],
            *[at(u, 1) for u in us[::-1]],
            *[at(-1, v) for v in (0.75, 0.5, 0.25)],
        ]
    )
    ear = person.face_width + 7
    for side in (-1, 1):
        for v, y in ((0.08, -8), (0.88, 24)):
            canvas.stroke(
                np.array([at(side, v), ((at(side, v)[0] + side * ear) / 2, (at(side, v)[1] + y) / 2), (side * ear, y)]),
                5,
                mix(design.colour, _WHITE, 0.5),
            )
    canvas.fill(outline, mix(design.colour, _DARK, 0.35), 0.4)
    canvas.fill((outline - outline.mean(0)) * 0.975 + outline.mean(0), design.colour, 0.4)
    dark = mix(design.colour, _DARK if sum(design.colour) > 200 else _WHITE, 0.3)
    if design.pattern == "dots":
        for row in range(1, 6):
            for u in np.linspace(-0.8, 0.8, 8 + row % 2):
                canvas.fill(oval(*at(u, row / 6), 4, 4), design.print_colour, 0.4)
    if design.pattern == "stripes":
        for u in np.linspace(-0.84, 0.84, 9):
            canvas.stroke(np.array([at(u, v) for v in (0.04, 0.35, 0.65, 0.96)]), 8, design.print_colour, 0.4)
    if design.pattern == "bars":
        for v in np.linspace(0.15, 0.85, 5):
            canvas.stroke(np.array([at(u, v) for u in np.linspace(-0.95, 0.95, 7)]), 9, design.print_colour, 0.4)
    if design.cut == "pleated":
        for v in (0.3, 0.5, 0.7):
            canvas.stroke(np.array([at(u, v) for u in np.linspace(-0.97, 0.97, 7)]), 3.5, dark, 0.4)
    if design.cut == "seamed":
        canvas.stroke(np.array([at(0, v) for v in (0, 0.33, 0.66, 1)]), 4, dark, 0.8)
    if design.cut == "folded":
        canvas.stroke(np.array([at(u, 0.42 - 0.12 * (1 - u * u)) for u in np.linspace(-1, 1, 7)]), 4, dark, 0.6)
    for side in (-1, 1):
        canvas.shade(
            np.array(
                [
                    at(side, 0),
                    at(side, 0.5),
                    at(side, 1),
                    at(side * 0.55, 0.95),
                    at(side * 0.7, 0.5),
                    at(side * 0.75, 0),
                ]
            ),
            _SHADOW,
            0.4,
            0.3,
        )
