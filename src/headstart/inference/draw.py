"""Boxes on pictures, and pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from headstart.data.types import Prediction, Target

COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
"""By class, in order, then again; distinct for the colour-blind, too (Okabe and Ito, 2008)."""

MARGIN = 4
TITLE_HEIGHT = 18
"""Of each line of a title."""


def draw_truth(image: Tensor, target: Target, class_names: Sequence[str], scale: int = 1) -> PIL.Image.Image:
    """The annotated boxes on `image`, (3, H, W) uint8, enlarged `scale` times; those that are ignored are left out."""
    keep = ~target.ignore
    captions = [class_names[int(label)] for label in target.labels[keep].tolist()]
    return _draw(image, scale * target.boxes_xyxy[keep], target.labels[keep].tolist(), captions, scale)


def draw_prediction(
    image: Tensor, prediction: Prediction, class_names: Sequence[str], min_score: float = 0.3, scale: int = 1
) -> PIL.Image.Image:
    """The detections of at least `min_score` on `image`, (3, H, W) uint8, enlarged `scale` times; the best on top."""
    keep = (prediction.scores >= min_score).nonzero().flatten().flip(0)
    labels, scores = prediction.labels[keep].tolist(), prediction.scores[keep].tolist()
    captions = [f"{class_names[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
    return _draw(image, scale * prediction.boxes_xyxy[keep], labels, captions, scale)


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


def _draw(
    image: Tensor, boxes_xyxy: Tensor, labels: Sequence[int], captions: Sequence[str], scale: int
) -> PIL.Image.Image:
    picture = to_pil_image(image)
    picture = picture.resize((scale * picture.width, scale * picture.height), PIL.Image.Resampling.BICUBIC)
    canvas = PIL.ImageDraw.Draw(picture)
    for box, label, caption in zip(boxes_xyxy.tolist(), labels, captions, strict=True):
        colour = COLOURS[label % len(COLOURS)]
        canvas.rectangle(tuple(box), outline=colour, width=2)
        _write(canvas, caption, (box[0], box[1]), picture.size, colour)
    return picture


def _write(
    canvas: PIL.ImageDraw.ImageDraw, text: str, at_xy: tuple[float, float], size_wh: tuple[int, int], colour: str
) -> None:
    """Above the point where there is room, else below; never beyond the right edge."""
    _, _, width, height = canvas.textbbox((0, 0), text, font=_font(10))
    x = max(0.0, min(at_xy[0], size_wh[0] - width - 2))
    y = at_xy[1] - height - 2 if at_xy[1] > height + 2 else at_xy[1]
    canvas.rectangle((x, y, x + width + 2, y + height + 2), fill=colour)
    canvas.text((x + 1, y), text, fill="black", font=_font(10))


def _starts(sizes: Sequence[int], first: int) -> list[int]:
    return [first + sum(sizes[:i]) + MARGIN * i for i in range(len(sizes))]


def _font(size: int) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(size)
