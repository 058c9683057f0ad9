"""How a photo is drawn, from the wall behind to the glasses in front; one short function for each feature."""

import numpy as np
from PIL import Image

from maskkit.builtin.face_hair import draw_back_hair, draw_beard, draw_brow, draw_front_hair
from maskkit.builtin.face_masks import draw_mask
from maskkit.builtin.face_strokes import DARK, HEIGHT, SHADOW, WHITE, WIDTH, Canvas, Points, mirrored, mix, oval, smooth
from maskkit.builtin.face_traits import Person, Scene

__all__ = ["draw_photo"]

_SIDES = (-1, 1)
_NO_SIGNS = 0.2
_DEEP_SIGNS = 0.6


def draw_photo(person: Person, scene: Scene, random: np.random.Generator) -> Image.Image:
    """Return a photo, RGB 384 x 512, of the person in the scene; `random` lays out the wall, strands of hair, grain."""
    canvas = Canvas(scene.pose, scene.camera, scene.wall)
    face = _outline(person)
    _backdrop(canvas, scene, random)
    draw_back_hair(canvas, person)
    _body(canvas, person)
    _head(canvas, person, face)
    _wrinkles(canvas, person)
    for side in _SIDES:
        _eye(canvas, person, side)
        draw_brow(canvas, person, side)
    _nose(canvas, person)
    draw_beard(canvas, person, face)
    _mouth(canvas, person, scene.smile)
    over_eyes = scene.mask is not None and scene.mask.top < 0
    if over_eyes:
        _glasses(canvas, person)
    if scene.mask:
        draw_mask(canvas, person, scene.mask, face)
    draw_front_hair(canvas, person, random)
    if not over_eyes:
        _glasses(canvas, person)
    return canvas.develop(random)


def _outline(person: Person) -> Points:
    """Return the closed outline of the head."""
    width, jaw, chin = person.face_width, person.jaw, 130 + person.chin
    high = [(0.30, -128), (0.72, -104), (0.97, -52), (1.0, 0), (0.95, 44)]
    low = [(0.78 + 0.1 * jaw, 84), (0.46 + 0.18 * jaw, 116), (0.16 + 0.08 * jaw, chin)]
    return smooth(mirrored([(x * width, y) for x, y in high + low]))


def _backdrop(canvas: Canvas, scene: Scene, random: np.random.Generator) -> None:
    """Draw what stands behind, in photo pixels."""
    if scene.backdrop == "horizon":
        left, right = random.uniform(200, 380) + np.array([0, random.uniform(-30, 30)])
        canvas.paint([(0, left), (WIDTH, right), (WIDTH, HEIGHT), (0, HEIGHT)], scene.things)
    elif scene.backdrop == "stripes":
        step = random.uniform(24, 60)
        for x in np.arange(0, WIDTH, 2 * step):
            canvas.paint(_box(x, 0, step, HEIGHT), mix(scene.wall, scene.things, 0.45))
    elif scene.backdrop == "discs":
        for _ in range(9):
            radius, colour = random.uniform(14, 46), mix(scene.wall, scene.things, random.uniform(0.2, 0.8))
            canvas.paint(oval(random.uniform(0, WIDTH), random.uniform(0, HEIGHT), radius, radius), colour)
    elif scene.backdrop == "window":
        _window(canvas, scene, random)
    elif scene.backdrop == "shelves":
        _shelves(canvas, scene, random)


def _window(canvas: Canvas, scene: Scene, random: np.random.Generator) -> None:
    x, y, width = random.uniform(-60, 260), random.uniform(-20, 120), random.uniform(90, 170)
    frame = mix(scene.wall, WHITE, 0.8)
    canvas.paint(_box(x, y, width, 220), frame)
    canvas.paint(_box(x + 8, y + 8, width - 16, 204), scene.things)
    canvas.paint(_box(x + width / 2 - 4, y, 8, 220), frame)


def _shelves(canvas: Canvas, scene: Scene, random: np.random.Generator) -> None:
    for y in np.arange(random.uniform(30, 90), HEIGHT, 110):
        canvas.paint(_box(0, y, WIDTH, 9), mix(scene.wall, DARK, 0.5))
        for x in np.arange(random.uniform(0, 30), WIDTH, 34):
            height = random.uniform(30, 80)
            canvas.paint(_box(x, y - height, 24, height), mix(scene.things, DARK, random.uniform(0, 0.5)))


def _box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _body(canvas: Canvas, person: Person) -> None:
    neck, shoulder = (52, 190) if person.gender == "male" else (40, 158)
    skin = mix(person.skin, SHADOW, 0.12)
    body = [(neck, 168), (neck + 40, 184), (shoulder, 214), (shoulder + 36, 300), (shoulder + 50, 480)]
    canvas.fill(smooth(mirrored(body)), person.clothes)
    canvas.fill(smooth(mirrored([(neck, 60), (neck, 150), (neck + 14, 176), (0.5 * neck, 196)])), skin)
    if person.neckline == "pointed":
        canvas.fill(np.array([(-neck - 6.0, 174), (neck + 6, 174), (0, 250)]), skin)
    if person.neckline == "collar":
        for side in _SIDES:
            flap = np.array([(neck - 4.0, 158), (neck + 26, 178), (30, 228), (2, 204)]) * (side, 1)
            canvas.fill(flap, mix(person.clothes, WHITE, 0.35))
    canvas.shade(smooth(mirrored([(neck + 2, 90), (neck + 2, 140), (0.5 * neck, 172)])), SHADOW, 0.6)


def _head(canvas: Canvas, person: Person, face: Points) -> None:
    """Draw the ears and the skin, with shadow at the sides and in the eye sockets and colour on the cheeks."""
    edge = person.face_width
    for side in _SIDES:
        canvas.fill(oval(side * (edge + 3), 4, 13, 25), mix(person.skin, SHADOW, 0.1))
        hollow = np.array([(edge + 8, -12), (edge + 10, 4), (edge + 4, 20)]) * (side, 1)
        canvas.stroke(smooth(hollow, closed=False), 3, mix(person.skin, DARK, 0.3))
        if person.earrings:
            canvas.fill(oval(side * (edge + 5), 35, 5, 6), (236, 204, 110))
    canvas.fill(face, person.skin)
    for side in _SIDES:
        rim = [(edge, -60), (edge, 40), (0.6 * edge, 112), (0.72 * edge, 40), (0.86 * edge, -10)]
        canvas.shade(smooth(np.array(rim) * (side, 1)), SHADOW, 0.35)
        canvas.shade(oval(side * 54, 44, 22, 16), (255, 150, 140), 0.22 - 0.14 * person.signs, 1.0)
        lid = SHADOW if person.gender == "male" else (150, 90, 170)
        canvas.shade(oval(side * person.eye_gap, -24, 26, 14), lid, 0.22 if person.gender == "male" else 0.4, 1.0)


def _wrinkles(canvas: Canvas, person: Person) -> None:
    """Draw the lines of age: on the forehead, beside and below the eyes, and from nose to mouth."""
    signs, gap = person.signs, person.eye_gap
    if signs < _NO_SIGNS:
        return
    wide, deep = 3.4 + 2.0 * signs, signs > _DEEP_SIGNS
    for row in range(4 if deep else 2):
        y, reach = -62 - 13 * row, 46 - 5 * row
        forehead = [(-reach, y + 4), (-0.4 * reach, y - 2), (0.4 * reach, y - 2), (reach, y + 4)]
        _crease(canvas, person, np.array(forehead), wide, 0.8)
    for side in _SIDES:
        fold = np.array([(18, 46), (34, 58), (42, 78), (40, 92)]) * (side, 1)
        _crease(canvas, person, fold, 1.3 * wide, 1.2)
        bag = np.array([(gap - 18, 4), (gap - 4, 12), (gap + 12, 10), (gap + 22, 2)]) * (side, 1)
        _crease(canvas, person, bag, wide, 1.0)
        for foot in range(3 if deep else 1):
            ray = [(gap + 25, -10 + 5 * foot), (gap + 34, -14 + 10 * foot), (gap + 42, -18 + 14 * foot)]
            _crease(canvas, person, np.array(ray) * (side, 1), wide, 0.8)


def _crease(canvas: Canvas, person: Person, corners: Points, width: float, depth: float) -> None:
    """Draw a wrinkle: a dark line with light on its ridge, so that the skin is no darker on the whole."""
    line, share = smooth(corners, closed=False), 0.4 + 0.35 * person.signs
    canvas.stroke(line + (0, 0.9 * width), width, mix(person.skin, WHITE, 0.6 * share), depth)
    canvas.stroke(line, width, mix(person.skin, (44, 16, 10), share), depth)


def _eye(canvas: Canvas, person: Person, side: int) -> None:
    male, size = person.gender == "male", person.eye_size
    height = 10.5 * size * (1 - 0.3 * person.signs)
    x, y = side * person.eye_gap, -14

    def at(*corners: tuple[float, float]) -> Points:
        return np.array(corners) * (side * size, 1) + (x, y)

    almond = at((-23, 3), (-10, -0.8 * height), (6, -height), (24, -2), (10, 0.8 * height), (-10, 0.8 * height))
    canvas.fill(smooth(almond), WHITE, 1.0)
    canvas.fill(oval(x, y - 1, 0.95 * height + 0.5, 0.95 * height), person.iris, 1.2)
    canvas.fill(oval(x, y - 1, 4.6, 4.8), (16, 14, 16), 1.3)
    canvas.fill(oval(x + 3, y - 4, 2.6, 2.6), WHITE, 1.3)
    lid = at((-25, 4), (-10, -0.9 * height), (6, -1.1 * height), (26, -3))
    canvas.stroke(smooth(lid, closed=False), 4.5 if male else 8, DARK, 1.0)
    fold = at((-20, -7), (-4, -7 - height), (12, -7 - height), (26, -8))
    canvas.stroke(smooth(fold, closed=False), 2.5, mix(person.skin, DARK, 0.35), 1.0)
    for lash in range(0 if male else 3):
        root = 14 + 5 * lash
        hair = at((root, -9 + 2 * lash), (root + 6, -14 + 2 * lash), (root + 10, -20 + 3 * lash))
        canvas.stroke(hair, 4, DARK, 1.0)


def _nose(canvas: Canvas, person: Person) -> None:
    wide, tip = person.nose_width, person.nose_tip
    dark = mix(person.skin, DARK, 0.45)
    flank = [(4, -30), (10, 0), (wide, tip - 8), (wide, tip + 4), (6, tip + 6), (3, 0)]
    canvas.shade(smooth(flank), SHADOW, 0.4, 1.5)
    ridge = np.array([(0.35 * wide, -24), (0.45 * wide, 0), (0.7 * wide, tip - 14)])
    canvas.stroke(ridge, 3, mix(person.skin, DARK, 0.2), 1.5)
    base = [(-wide, tip - 2), (-0.5 * wide, tip + 6), (0, tip + 9), (0.5 * wide, tip + 6), (wide, tip - 2)]
    canvas.stroke(smooth(base, closed=False), 4.5, dark, 1.8)
    for side in _SIDES:
        canvas.fill(oval(side * 0.48 * wide, tip + 3, 4.5, 2.6), dark, 1.8)
        wing = np.array([(wide, tip - 9), (wide + 3, tip - 2), (0.9 * wide, tip + 3)]) * (side, 1)
        canvas.stroke(wing, 3, dark, 1.6)


def _mouth(canvas: Canvas, person: Person, smile: float) -> None:
    corner, middle, full = (30, 82 - 0.6 * smile), 82 + 0.3 * smile, person.lip_height
    left = (-corner[0], corner[1])
    upper = [(-9, middle - full), (0, middle - 0.7 * full), (9, middle - full), corner, (14, middle + 1)]
    canvas.fill(smooth([left, *upper, (-14, middle + 1)]), person.lips, 1.2)
    lower = [(-14, middle), (14, middle), corner, (13, middle + full), (-13, middle + full)]
    canvas.fill(smooth([left, *lower]), mix(person.lips, WHITE, 0.12), 1.2)
    between = smooth([left, (-12, middle + 0.5), (0, middle), (12, middle + 0.5), corner], closed=False)
    canvas.stroke(between, 3.2, mix(person.lips, DARK, 0.6), 1.2)


def _glasses(canvas: Canvas, person: Person) -> None:
    if not person.glasses:
        return
    frame, outside = (40, 36, 44), person.eye_gap + 31
    for side in _SIDES:
        ring = oval(side * (person.eye_gap + 1), -12, 31, 25)
        for start in range(0, len(ring), 5):
            canvas.stroke(np.roll(ring, -start, axis=0)[:7], 6, frame, 1.3)
        temple = np.array([(outside, -16), (0.5 * (person.face_width + outside), -17), (person.face_width, -16)])
        canvas.stroke(temple * (side, 1), 5, frame, 0.6)
    canvas.stroke(smooth([(-10, -14), (0, -18), (10, -14)], closed=False), 6, frame, 1.5)
