"""What the faces are drawn with: smooth shapes on a fine canvas, and the light, blur and grain of a camera.

Lengths are pixels of a face 256 high whose middle is the origin, x to the right and y down; a pose sets them on the
photo.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

__all__ = [
    "DARK",
    "HEIGHT",
    "SHADOW",
    "WHITE",
    "WIDTH",
    "Camera",
    "Canvas",
    "Colour",
    "Points",
    "Pose",
    "mirrored",
    "mix",
    "oval",
    "smooth",
]

WIDTH, HEIGHT = 384, 512
# Shapes are drawn twice as large and averaged, which smooths their edges; shadows are drawn small and blurred there,
# which costs a sixteenth of a blur of the photo.
_FINE, _COARSE = 2, 4
_GRAINS = (2.0, 5.0, 9.0)

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

DARK: Colour = (38, 28, 30)
WHITE: Colour = (250, 248, 246)
SHADOW: Colour = (110, 84, 90)

_TIMES = np.linspace(0.0, 1.0, 6, endpoint=False)[:, None]
# The Catmull-Rom spline: each row weighs four neighbouring corners.
_SPLINE = np.concatenate([_TIMES**3, _TIMES**2, _TIMES, np.ones_like(_TIMES)], axis=1) @ (
    np.array([[-1, 3, -3, 1], [2, -5, 4, -1], [-1, 0, 1, 0], [0, 2, 0, 0]]) / 2
)
_ANGLES = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def mix(start: Colour, end: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from start to end."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return red, green, blue


def smooth(corners: ArrayLike, *, closed: bool = True) -> Points:
    """Return a curve through the corners [N,2]."""
    given = np.asarray(corners, dtype=np.float64)
    before, after = (given[-1:], given[:2]) if closed else (given[:1], given[-1:])
    padded = np.concatenate([before, given, after])
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    curve: Points = (_SPLINE @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, given[-1:]])


def mirrored(half: ArrayLike) -> Points:
    """Return a whole outline [2N,2] from the corners of its right half, given from the top down."""
    right = np.asarray(half, dtype=np.float64)
    return np.concatenate([right, right[::-1] * (-1.0, 1.0)])


def oval(x: float, y: float, width: float, height: float) -> Points:
    """Return an ellipse with the given half width and half height."""
    return _CIRCLE * (width, height) + (x, y)


@dataclass(frozen=True)
class Pose:
    """Where the face stands in the photo: its middle in pixels, scale, tilt in radians, and how far it looks aside."""

    x: float
    y: float
    scale: float
    tilt: float
    turn: float
    nod: float

    def place(self, points: Points, depth: float) -> Points:
        """Return photo pixels; what stands out of the face (depth above 0) moves when the head turns and nods."""
        cos, sin = np.cos(self.tilt) * self.scale, np.sin(self.tilt) * self.scale
        moved = points + (self.turn * depth, self.nod * depth)
        placed: Points = moved @ np.array([[cos, sin], [-sin, cos]]) + (self.x, self.y)
        return placed


@dataclass(frozen=True)
class Camera:
    """How the photo was taken: light in its corners (2 x 2 colours), brightness, colour cast, blur and grain."""

    corners: NDArray[np.uint8]
    gain: tuple[float, float, float]
    gamma: float
    blur: float
    grain: int


class Canvas:
    """A photo in the making: colours on a fine sheet and shadows on a coarse one."""

    def __init__(self, pose: Pose, camera: Camera, background: Colour) -> None:
        self._pose = pose
        self._camera = camera
        self._photo = Image.new("RGB", (WIDTH * _FINE, HEIGHT * _FINE), background)
        light, middles = Image.fromarray(camera.corners), (0.5, 0.5, 1.5, 1.5)
        self._shadows = light.resize((WIDTH // _COARSE, HEIGHT // _COARSE), Image.Resampling.BILINEAR, middles)
        self._ink = ImageDraw.Draw(self._photo)
        self._shade = ImageDraw.Draw(self._shadows, "RGBA")

    def fill(self, outline: Points, colour: Colour, depth: float = 0.0) -> None:
        """Fill a shape of the face."""
        self._ink.polygon(_flat(self._pose.place(outline, depth) * _FINE), fill=colour)

    def stroke(self, line: Points, width: float, colour: Colour, depth: float = 0.0) -> None:
        """Draw a line that swells to `width` in its middle and ends in points."""
        # By hand, since numpy.gradient takes longer than all the rest of the stroke.
        along = np.empty_like(line)
        along[1:-1], along[0], along[-1] = line[2:] - line[:-2], line[1] - line[0], line[-1] - line[-2]
        scale = 0.5 * width * _swell(len(line)) / np.hypot(along[:, 0], along[:, 1])
        aside = along[:, ::-1] * (-1.0, 1.0) * scale[:, None]
        self.fill(np.concatenate([line + aside, (line - aside)[::-1]]), colour, depth)

    def shade(self, outline: Points, colour: Colour, strength: float, depth: float = 0.0) -> None:
        """Darken or tint a shape softly; `strength` 1 multiplies by the whole colour."""
        self._shade.polygon(_flat(self._pose.place(outline, depth) / _COARSE), fill=(*colour, round(255 * strength)))

    def paint(self, outline: ArrayLike, colour: Colour) -> None:
        """Fill a shape given in photo pixels, as the background is."""
        self._ink.polygon(_flat(np.asarray(outline, dtype=np.float64) * _FINE), fill=colour)

    def develop(self, random: np.random.Generator) -> Image.Image:
        """Return the finished photo, RGB 384 x 512."""
        soft = self._shadows.filter(ImageFilter.GaussianBlur(1.6))
        light = soft.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        photo = ImageChops.multiply(self._photo.reduce(_FINE), light).point(_curve(self._camera))
        if self._camera.blur > 0:
            photo = photo.filter(ImageFilter.BoxBlur(self._camera.blur))
        sheet = _grain(self._camera.grain)
        left, top = int(random.integers(sheet.width - WIDTH)), int(random.integers(sheet.height - HEIGHT))
        # The sheet is grey where it adds nothing.
        return ImageChops.add(photo, sheet.crop((left, top, left + WIDTH, top + HEIGHT)), 1, -128)


@cache
def _swell(number: int) -> NDArray[np.float64]:
    """Return how wide a stroke is at each of its points, between 0 and 1."""
    return np.sin(np.linspace(0.12, np.pi - 0.12, number))


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat


def _curve(camera: Camera) -> list[int]:
    levels = (np.arange(256) / 255) ** camera.gamma
    table: list[int] = np.clip(np.outer(camera.gain, levels) * 255, 0, 255).astype(int).ravel().tolist()
    return table


@cache
def _grain(strength: int) -> Image.Image:
    """Return a sheet of noise, larger than the photo so that each photo takes its own part; made once a process."""
    random = np.random.default_rng(strength)
    noise = random.normal(128, _GRAINS[strength], (HEIGHT + 128, WIDTH + 128, 3))
    return Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
