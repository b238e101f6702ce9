"""Draws the pictures of the `shapes` data sets: styles, scenes, paint."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw

from headstart.data.outlines import OUTLINES, rotation
from headstart.data.sampling import stable_seed

WIDTH, HEIGHT = 320, 240
_SUPERSAMPLING = 4
_FAINTEST = 48
"""Coverage (of 255) below which a pixel of an object's rim is left unpainted: what is in a box can be seen."""


@dataclass(frozen=True)
class Style:
    """What tells one domain from the other; ranges are (from, to)."""

    class_names: tuple[str, ...]
    diameter: tuple[float, float]
    """Of the circle around an object, pixels."""
    outlined: float
    """Share of objects drawn as an outline; the others are filled."""
    turn: float
    """Largest rotation either way, degrees."""
    ground_value: tuple[float, float]
    """Brightness of the background, 0..1."""
    paint_value: tuple[float, float]
    """Brightness of the objects."""
    paint_saturation: tuple[float, float]
    clouds: float
    """Amplitude of smooth brightness changes of the background, of 255."""
    grain: float
    """Amplitude of noise per pixel, of 255."""
    distractors: tuple[int, int]
    """Number of lines and smears that are no objects."""


STYLES = {
    # Posters: large, mostly filled, dark colours on bright paper.
    "source": Style(
        class_names=("circle", "square", "triangle", "star", "cross", "heart"),
        diameter=(44, 108),
        outlined=0.25,
        turn=30,
        ground_value=(0.75, 1.0),
        paint_value=(0.2, 0.65),
        paint_saturation=(0.6, 1.0),
        clouds=10,
        grain=6,
        distractors=(1, 5),
    ),
    # Blackboards: small, mostly outlined, pale colours on dark and blotchy ground, with more that distracts.
    "target": Style(
        class_names=("circle", "triangle", "star", "pentagon", "crescent"),
        diameter=(28, 76),
        outlined=0.7,
        turn=180,
        ground_value=(0.1, 0.4),
        paint_value=(0.65, 1.0),
        paint_saturation=(0.1, 0.6),
        clouds=26,
        grain=22,
        distractors=(4, 10),
    ),
}


@dataclass(frozen=True)
class Shape:
    """One object as painted."""

    class_name: str
    box_xyxy: tuple[int, int, int, int]
    """Exact bounds of its pixels; the corner x2, y2 is the first that is outside."""
    coverage: np.ndarray
    """(h, w) uint8 of the box: 255 is all paint, 0 all background."""
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """Everything needed to paint a picture."""

    style: Style
    seed: int
    shapes: tuple[Shape, ...]


def make_scene(style: Style, seed: int) -> Scene:
    """One to six objects, each seen whole, boxes barely overlapping; in every twelfth picture none."""
    random = _generator(seed, "objects")
    wanted = 0 if random.random() < 1 / 12 else int(random.integers(1, 7))
    shapes: list[Shape] = []
    for _ in range(wanted * 8):  # tries: a full picture gets fewer objects
        if len(shapes) == wanted:
            break
        shape = _random_shape(style, random)
        if not any(_collide(shape, other) for other in shapes):
            shapes.append(shape)
    return Scene(style, seed, tuple(shapes))


def _collide(a: Shape, b: Shape) -> bool:
    """Whether the two share a painted pixel, or their boxes a tenth of the smaller one."""
    x1, y1 = max(a.box_xyxy[0], b.box_xyxy[0]), max(a.box_xyxy[1], b.box_xyxy[1])
    x2, y2 = min(a.box_xyxy[2], b.box_xyxy[2]), min(a.box_xyxy[3], b.box_xyxy[3])
    if x1 >= x2 or y1 >= y2:
        return False
    in_a, in_b = (
        s.coverage[y1 - s.box_xyxy[1] : y2 - s.box_xyxy[1], x1 - s.box_xyxy[0] : x2 - s.box_xyxy[0]] for s in (a, b)
    )
    shared = (x2 - x1) * (y2 - y1)
    return shared > 0.1 * min(a.coverage.size, b.coverage.size) or bool(((in_a > 0) & (in_b > 0)).any())


def paint(scene: Scene) -> PIL.Image.Image:
    """The picture, 320x240, mode RGB: background, then distractors, then objects, then grain."""
    random = _generator(scene.seed, "background")
    picture = _background(scene.style, random)
    _distract(picture, scene.style, random)
    pixels = np.asarray(picture, dtype=np.float32).copy()
    for shape in scene.shapes:
        x1, y1, x2, y2 = shape.box_xyxy
        share = shape.coverage[..., None] / np.float32(255)
        pixels[y1:y2, x1:x2] += share * (np.array(shape.color, dtype=np.float32) - pixels[y1:y2, x1:x2])
    grain = random.random((HEIGHT, WIDTH, 1), dtype=np.float32) * 2 - 1
    pixels += scene.style.grain * grain
    return PIL.Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(stable_seed(seed, purpose)))


# ------------------------------------------------------------------------------------------------------ objects


def _random_shape(style: Style, random: np.random.Generator) -> Shape:
    name = style.class_names[random.integers(len(style.class_names))]
    low, high = style.diameter
    diameter = low * (high / low) ** random.random()  # as many small as large ones, on a scale of ratios
    outline = OUTLINES[name] * diameter / 2 @ rotation(random.uniform(-style.turn, style.turn))
    stroke = diameter * random.uniform(0.08, 0.14) if random.random() < style.outlined else None
    coverage = _coverage(outline, stroke)
    height, width = coverage.shape
    x, y = int(random.integers(WIDTH - width + 1)), int(random.integers(HEIGHT - height + 1))
    color = _color(random, style.paint_value, style.paint_saturation)
    return Shape(name, (x, y, x + width, y + height), coverage, color)


def _coverage(outline: np.ndarray, stroke: float | None) -> np.ndarray:
    """(h, w) uint8 of the painted pixels, cut to their exact bounds; `stroke` is the line's width, None: filled."""
    margin = 2 + (stroke or 0)
    corner = outline.min(axis=0) - margin
    width, height = np.ceil(outline.max(axis=0) + margin - corner).astype(int).tolist()
    fine = PIL.Image.new("L", (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    draw = PIL.ImageDraw.Draw(fine)
    points = [(float(x), float(y)) for x, y in (outline - corner) * _SUPERSAMPLING]
    if stroke is None:
        draw.polygon(points, fill=255)
    else:
        # The first edge twice, so that its corner is joined as well.
        draw.line([*points, *points[:2]], fill=255, width=round(stroke * _SUPERSAMPLING), joint="curve")
    coverage = np.array(fine.reduce(_SUPERSAMPLING))
    coverage[coverage < _FAINTEST] = 0
    rows, columns = (np.flatnonzero(coverage.max(axis=axis)) for axis in (1, 0))
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


# --------------------------------------------------------------------------------------------------- background


def _color(
    random: np.random.Generator, value: tuple[float, float], saturation: tuple[float, float]
) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(random.random(), random.uniform(*saturation), random.uniform(*value))
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(style: Style, random: np.random.Generator) -> PIL.Image.Image:
    """A gradient between two related colours, with clouds."""
    hue, saturation = random.random(), random.uniform(0.02, 0.35)
    values = random.uniform(*style.ground_value, size=2)
    ends = [np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255 for value in values]
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : HEIGHT * 1j, -0.5 : 0.5 : WIDTH * 1j]
    share = (0.5 + (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2))[..., None]
    pixels = ends[0] * (1 - share) + ends[1] * share + style.clouds * _clouds(random)[..., None]
    return PIL.Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _clouds(random: np.random.Generator) -> np.ndarray:
    """(HEIGHT, WIDTH) smooth noise in -1..1."""
    coarse = PIL.Image.fromarray((random.random((7, 9)) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((WIDTH, HEIGHT), PIL.Image.Resampling.BICUBIC)) / 127.5 - 1


def _distract(picture: PIL.Image.Image, style: Style, random: np.random.Generator) -> None:
    """Scratches and smears, translucent and less bright or dark than objects."""
    for _ in range(random.integers(*style.distractors, endpoint=True)):
        smear = random.random() < 0.4
        points = _walk(random, 2 if smear else 4, length=random.uniform(30, 90))
        fine = PIL.Image.new("L", (WIDTH * 2, HEIGHT * 2))
        width = int(random.integers(14, 26) if smear else random.integers(3, 8))
        PIL.ImageDraw.Draw(fine).line(points, fill=round(random.uniform(60, 150)), width=width, joint="curve")
        color = _color(random, (0.3, 0.7), (0.0, 0.5))
        picture.paste(color, mask=fine.reduce(2))


def _walk(random: np.random.Generator, corners: int, length: float) -> list[tuple[float, float]]:
    """A random path, in pixels of a picture of twice the size."""
    angle = random.uniform(0, 2 * np.pi) + np.append(0, random.uniform(-0.8, 0.8, corners - 2).cumsum())
    steps = length * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    start = random.random((1, 2)) * [WIDTH, HEIGHT]
    return [(float(x), float(y)) for x, y in 2 * np.concatenate([start, start + steps.cumsum(axis=0)])]
