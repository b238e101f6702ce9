"""Boxes on pictures, and pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from headstart.data.types import Prediction, Target
from headstart.inference.colours import colours_of, ink_on
from headstart.visible import one_line

Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont

MARGIN = 4
TITLE_HEIGHT = 18
"""Of each line of a title."""


@dataclass(frozen=True)
class Mark:
    """A box to be drawn."""

    box_xyxy: tuple[float, ...]
    caption: str
    colour: str


def draw_truth(image: Tensor, target: Target, class_names: Sequence[str], scale: int = 1) -> PIL.Image.Image:
    """The annotated boxes on `image`, (3, H, W) uint8, enlarged `scale` times; those that are ignored are left out."""
    keep = ~target.ignore
    labels: list[int] = target.labels[keep].tolist()
    marks = _marks(scale * target.boxes_xyxy[keep], labels, [class_names[label] for label in labels], class_names)
    return draw_marks(_enlarged(image, scale), marks)


def draw_prediction(
    image: Tensor, prediction: Prediction, class_names: Sequence[str], min_score: float = 0.3, scale: int = 1
) -> PIL.Image.Image:
    """The detections of at least `min_score` on `image`, (3, H, W) uint8, enlarged `scale` times; the best on top."""
    keep = (prediction.scores >= min_score).nonzero().flatten().flip(0)
    labels, scores = prediction.labels[keep].tolist(), prediction.scores[keep].tolist()
    captions = [f"{class_names[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
    marks = _marks(scale * prediction.boxes_xyxy[keep], labels, captions, class_names)
    return draw_marks(_enlarged(image, scale), marks)


def grid(rows: Sequence[Sequence[PIL.Image.Image]], titles: Sequence[str]) -> PIL.Image.Image:
    """Rows of as many pictures as there are `titles`, of a line or more, above the columns; a row is an image."""
    widths = [max(row[column].width for row in rows) for column in range(len(titles))]
    heights = [max(picture.height for picture in row) for row in rows]
    head = TITLE_HEIGHT * max(len(title.splitlines()) for title in titles)
    size = (sum(widths) + MARGIN * (len(widths) - 1), head + sum(heights) + MARGIN * (len(heights) - 1))
    page = PIL.Image.new("RGB", size, "white")
    lefts, tops = _starts(widths, 0), _starts(heights, head)
    for left, title in zip(lefts, titles, strict=True):
        PIL.ImageDraw.Draw(page).text((left, 2), title, fill="black", font=_font(13))
    for top, row in zip(tops, rows, strict=True):
        for left, picture in zip(lefts, row, strict=True):
            page.paste(picture, (left, top))
    return page


def draw_marks(picture: PIL.Image.Image, marks: Iterable[Mark]) -> PIL.Image.Image:
    """On the picture itself, the last on top; lines and letters are as large as the picture asks for."""
    canvas = PIL.ImageDraw.Draw(picture)
    line, font = stroke(picture.size), _font(letters(picture.size))
    for mark in marks:
        left, top, right, bottom = mark.box_xyxy
        canvas.rectangle((left, top, max(left, right), max(top, bottom)), outline=mark.colour, width=line)
        _write(canvas, mark, picture.size, font)
    return picture


def stroke(size_wh: tuple[int, int]) -> int:
    """Pixels of a line: 2 on a picture of up to 800 pixels, and as wide beside a larger one."""
    return max(2, round(max(size_wh) / 400))


def letters(size_wh: tuple[int, int]) -> int:
    """Pixels of the captions: as `stroke`, from 10 on."""
    return max(10, round(max(size_wh) / 60))


def _marks(
    boxes_xyxy: Tensor, labels: Sequence[int], captions: Sequence[str], class_names: Sequence[str]
) -> list[Mark]:
    colours = colours_of(class_names)
    rows = zip(boxes_xyxy.tolist(), labels, captions, strict=True)
    return [Mark(tuple(box), caption, colours[label]) for box, label, caption in rows]


def _enlarged(image: Tensor, scale: int) -> PIL.Image.Image:
    picture = to_pil_image(image)
    return picture.resize((scale * picture.width, scale * picture.height), PIL.Image.Resampling.BICUBIC)


def _write(canvas: PIL.ImageDraw.ImageDraw, mark: Mark, size_wh: tuple[int, int], font: Font) -> None:
    """Above the box where there is room, else inside; never beyond the right edge."""
    text = one_line(mark.caption)
    _, _, width, height = canvas.textbbox((0, 0), text, font=font)
    x = max(0.0, min(mark.box_xyxy[0], size_wh[0] - width - 2))
    y = mark.box_xyxy[1] - height - 2 if mark.box_xyxy[1] > height + 2 else mark.box_xyxy[1]
    canvas.rectangle((x, y, x + width + 2, y + height + 2), fill=mark.colour)
    canvas.text((x + 1, y), text, fill=ink_on(mark.colour), font=font)


def _starts(sizes: Sequence[int], first: int) -> list[int]:
    return [first + sum(sizes[:i]) + MARGIN * i for i in range(len(sizes))]


@cache
def _font(size: int) -> Font:
    return PIL.ImageFont.load_default(size)
