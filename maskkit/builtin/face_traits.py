"""Who is drawn and how the photo is taken: every random choice behind a drawn face, before any line is drawn."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskkit.builtin.face_strokes import HEIGHT, WIDTH, Camera, Colour, Pose, mix
from maskkit.labels import age_group

__all__ = ["Gender", "Haircut", "MaskDesign", "Person", "Scene", "State", "WornMask", "draw_person", "draw_scene"]

Gender = Literal["male", "female"]
State = Literal["wear", "incorrect", "normal"]

_AGES = ((18, 29), (30, 59), (60, 75))
_SKINS: tuple[Colour, ...] = (
    (255, 226, 204),
    (247, 208, 178),
    (232, 186, 150),
    (205, 153, 114),
    (166, 115, 80),
    (124, 82, 58),
)
_HAIRS: tuple[Colour, ...] = ((34, 29, 31), (58, 40, 32), (88, 57, 38), (124, 78, 44), (186, 140, 78), (150, 70, 40))
_GREYS: tuple[Colour, ...] = ((196, 196, 200), (222, 221, 218), (176, 178, 184))
_IRISES: tuple[Colour, ...] = ((72, 46, 30), (104, 68, 38), (66, 104, 60), (66, 104, 150), (92, 112, 122))
_LIPSTICKS: tuple[Colour, ...] = ((198, 52, 72), (214, 84, 104), (176, 40, 66), (206, 92, 88), (170, 60, 96))
_CLOTHES: tuple[Colour, ...] = (
    (60, 80, 120), (150, 60, 60), (80, 110, 80), (220, 214, 200), (52, 54, 60),
    (190, 150, 80), (120, 90, 140), (90, 150, 170), (226, 150, 140), (110, 84, 64),
)  # fmt: skip
_MASKS: tuple[Colour, ...] = (
    (244, 246, 248), (244, 246, 248), (148, 196, 226), (148, 196, 226), (48, 50, 56), (48, 50, 56), (150, 156, 164),
    (240, 178, 190), (60, 84, 130), (96, 140, 110), (168, 70, 76), (128, 100, 150), (226, 190, 84),
)  # fmt: skip
_WALLS: tuple[Colour, ...] = (
    (214, 222, 226), (236, 226, 208), (150, 176, 190), (120, 150, 130), (196, 160, 140), (84, 92, 110), (176, 170, 196),
    (226, 200, 120), (120, 110, 100), (240, 240, 240), (60, 70, 66), (160, 90, 80),
)  # fmt: skip


@dataclass(frozen=True)
class Haircut:
    """The shape of the hair: heights and lengths in face pixels.

    `part` is where it parts, `peak` and `temple` are the heights of the hairline there and at the temples, `sides` is
    how far it falls before the ears and `back` behind them.
    """

    volume: float
    part: float
    peak: float
    temple: float
    sides: float
    back: float
    waves: float
    knot: Literal["", "bun", "tail"]
    bald: bool = False


@dataclass(frozen=True)
class Person:
    """Everything that stays the same in the seven photos of one person; `signs` of age run from 0 to 1."""

    gender: Gender
    age: int
    signs: float
    grey: float
    skin: Colour
    hair: Colour
    streaks: Colour
    haircut: Haircut
    face_width: float
    jaw: float
    chin: float
    eye_size: float
    eye_gap: float
    iris: Colour
    brow_weight: float
    brow_arch: float
    nose_width: float
    nose_tip: float
    lips: Colour
    lip_height: float
    beard: Literal["", "stubble", "moustache", "full"]
    glasses: bool
    earrings: bool
    clothes: Colour
    neckline: Literal["round", "pointed", "collar"]


@dataclass(frozen=True)
class MaskDesign:
    """How a mask is made."""

    cut: Literal["pleated", "seamed", "folded"]
    colour: Colour
    print_colour: Colour
    pattern: Literal["", "dots", "stripes", "bars"]


@dataclass(frozen=True)
class WornMask:
    """A mask on a face: from which height to which, in face pixels."""

    design: MaskDesign
    top: float
    bottom: float


@dataclass(frozen=True)
class Scene:
    """One photo: pose, camera, expression, background and the mask, if any."""

    pose: Pose
    camera: Camera
    smile: float
    wall: Colour
    things: Colour
    backdrop: Literal["plain", "window", "stripes", "shelves", "discs", "horizon"]
    mask: WornMask | None


def draw_person(random: np.random.Generator, gender: Gender, group: int) -> Person:
    """Return a random person of the gender and the age group 0..2."""
    first, last = _AGES[group]
    age = int(random.integers(first, last + 1))
    male = gender == "male"
    signs, grey = _signs_of(age, random), _grey_of(age, random)
    skin = _between(_SKINS, random)
    hair = _one(_HAIRS[: 4 if skin[0] < 215 else 6], random)
    pale = _one(_GREYS, random)
    return Person(
        gender=gender,
        age=age,
        signs=signs,
        grey=grey,
        skin=skin,
        hair=mix(hair, pale, grey),
        streaks=pale,
        haircut=_man_cut(age, random) if male else _woman_cut(random),
        face_width=random.uniform(88, 97) if male else random.uniform(83, 92),
        jaw=random.uniform(0.5, 1.0) if male else random.uniform(0.0, 0.4),
        chin=random.uniform(0, 10) if male else random.uniform(-6, 4),
        eye_size=random.uniform(0.9, 1.05) if male else random.uniform(1.02, 1.2),
        eye_gap=random.uniform(37, 43),
        iris=_one(_IRISES, random),
        brow_weight=random.uniform(10, 14) if male else random.uniform(4, 6),
        brow_arch=random.uniform(1, 5) if male else random.uniform(6, 11),
        nose_width=random.uniform(15, 20) if male else random.uniform(12, 16),
        nose_tip=random.uniform(36, 46),
        lips=mix(skin, (168, 70, 70), random.uniform(0.3, 0.5)) if male else _one(_LIPSTICKS, random),
        lip_height=(random.uniform(5, 8) if male else random.uniform(9, 13)) * (1 - 0.25 * signs),
        beard=_beard(random) if male else "",
        glasses=bool(random.random() < 0.15),
        earrings=not male and bool(random.random() < 0.75),
        clothes=_one(_CLOTHES, random),
        neckline=random.choice(["round", "pointed", "collar"]),
    )


def draw_scene(random: np.random.Generator, state: State) -> Scene:
    """Return a random photo in which the mask is worn, worn incorrectly or missing."""
    scale = random.uniform(0.88, 1.1)
    pose = Pose(
        x=WIDTH / 2 + random.uniform(-24, 24),
        y=HEIGHT / 2 + 6 + random.uniform(-22, 22),
        scale=scale,
        tilt=random.uniform(-0.1, 0.1),
        turn=random.uniform(-6, 6),
        nod=random.uniform(-4, 4),
    )
    return Scene(
        pose=pose,
        camera=_draw_camera(random),
        smile=random.uniform(0, 14),
        wall=_jitter(_one(_WALLS, random), random, 20),
        things=_jitter(_one(_WALLS, random), random, 20),
        backdrop=random.choice(["plain", "window", "stripes", "shelves", "discs", "horizon"]),
        mask=None if state == "normal" else _draw_mask(random, worn_right=state == "wear"),
    )


def _draw_camera(random: np.random.Generator) -> Camera:
    brightness = random.uniform(0.95, 1.25)
    red, green, blue = (brightness * random.normal(1, 0.04, 3)).tolist()
    corners: NDArray[np.uint8] = (random.uniform(185, 255, (2, 2, 1)) * np.ones(3)).astype(np.uint8)
    return Camera(
        corners=corners,
        gain=(red, green, blue),
        gamma=random.uniform(0.85, 1.2),
        blur=float(random.choice([0.0, 0.0, 0.8])),
        grain=int(random.integers(3)),
    )


def _draw_mask(random: np.random.Generator, *, worn_right: bool) -> WornMask:
    design = MaskDesign(
        cut=random.choice(["pleated", "seamed", "folded"]),
        colour=_jitter(_one(_MASKS, random), random, 10),
        print_colour=_one(_MASKS, random),
        pattern=random.choice(["", "", "", "dots", "stripes", "bars"]),
    )
    # On nose and mouth; or under the nose, on the chin, over the eyes.
    places = [(14, 140)] if worn_right else [*[(58, 146), (88, 158)] * 3, (-36, 24)]
    top, bottom = places[random.integers(len(places))]
    return WornMask(design, top + random.uniform(-4, 4), bottom + random.uniform(-4, 4))


def _signs_of(age: int, random: np.random.Generator) -> float:
    """Return how much the face shows its age: it grows with the years, and steeply at thirty and at sixty."""
    years = (age - 18) / 57
    return float(np.clip(0.36 * age_group(age) + 0.28 * years + random.normal(0, 0.02), 0, 1))


def _grey_of(age: int, random: np.random.Generator) -> float:
    if age < 30:
        return 0.0
    if age < 60:
        return float(random.uniform(0.16, 0.22) + 0.2 * (age - 30) / 30)
    return float(random.uniform(0.75, 1.0))


def _man_cut(age: int, random: np.random.Generator) -> Haircut:
    kind = random.choice(["crop", "parted", "buzz", "curls", "receding", "bald", "long"], p=_man_chances(age))
    side = float(random.choice([-1, 1]))
    cuts = {
        "crop": Haircut(14, 0, -84, -66, -14, 0, 1, ""),
        "parted": Haircut(22, side * 34, -92, -64, -10, 0, 0, ""),
        "buzz": Haircut(4, 0, -94, -76, -14, 0, 0, ""),
        "curls": Haircut(24, 0, -78, -62, -6, 0, 6, ""),
        "receding": Haircut(8, 0, -104, -98, -12, 0, 0, ""),
        "bald": Haircut(4, 0, -104, -98, -2, 0, 0, "", bald=True),
        "long": Haircut(14, side * 12, -98, -62, 4, 70, 2, ""),
    }
    return cuts[kind]


def _man_chances(age: int) -> list[float]:
    if age < 30:
        return [0.36, 0.3, 0.12, 0.18, 0.0, 0.0, 0.04]
    return [0.22, 0.24, 0.12, 0.14, 0.16, 0.08, 0.04]


def _woman_cut(random: np.random.Generator) -> Haircut:
    kind = random.choice(
        ["straight", "waves", "bob", "fringe", "bun", "tail", "pixie"], p=[0.18, 0.18, 0.16, 0.14, 0.14, 0.14, 0.06]
    )
    side = float(random.choice([-1, 1]))
    cuts = {
        "straight": Haircut(14, side * 10, -108, -50, 140, 190, 0, ""),
        "waves": Haircut(20, side * 26, -106, -52, 130, 180, 7, ""),
        "bob": Haircut(18, side * 18, -104, -50, 78, 96, 0, ""),
        "fringe": Haircut(16, 0, -60, -56, 100, 150, 0, ""),
        "bun": Haircut(10, 0, -98, -66, 4, 0, 0, "bun"),
        "tail": Haircut(10, side * 20, -100, -62, 8, 0, 0, "tail"),
        "pixie": Haircut(16, side * 40, -90, -52, 18, 30, 2, ""),
    }
    return cuts[kind]


def _beard(random: np.random.Generator) -> Literal["", "stubble", "moustache", "full"]:
    kind: Literal["", "stubble", "moustache", "full"] = random.choice(
        ["", "stubble", "moustache", "full"], p=[0.46, 0.34, 0.13, 0.07]
    )
    return kind


def _one(colours: tuple[Colour, ...], random: np.random.Generator) -> Colour:
    return colours[random.integers(len(colours))]


def _between(colours: tuple[Colour, ...], random: np.random.Generator) -> Colour:
    where = random.uniform(0, len(colours) - 1)
    return mix(colours[int(where)], colours[int(where) + 1], where % 1)


def _jitter(colour: Colour, random: np.random.Generator, spread: float) -> Colour:
    red, green, blue = (round(min(max(part + random.normal(0, spread), 0), 255)) for part in colour)
    return red, green, blue
