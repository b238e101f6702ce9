"""What a model found in a picture, as its user gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from headstart.data.types import Prediction
from headstart.errors import UserError
from headstart.inference.colours import colours_of
from headstart.inference.draw import Mark, draw_marks


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one picture, best first: `len(found)` of them."""

    boxes_xyxy: np.ndarray
    """(N, 4) float32: left, top, right and bottom, in pixels of the picture."""
    scores: np.ndarray
    """(N,) float32 in 0..1."""
    labels: np.ndarray
    """(N,) int64: index into `class_names`."""
    class_names: tuple[str, ...]
    """Of the model."""
    size_wh: tuple[int, int]
    """Width and height of the picture."""
    picture: Callable[[], PIL.Image.Image]
    """Gives it anew, upright, mode RGB: a file is read again, so that the detections of a thousand files hold none."""

    @property
    def names(self) -> tuple[str, ...]:
        """(N,) the class of each detection."""
        return tuple(self.class_names[label] for label in self.labels.tolist())

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {score:.2f}" for name, score in zip(self.names[:5], self.scores[:5], strict=True))
        more = ", …" if len(self) > 5 else ""
        return f"Found({len(self)} in {self.size_wh[0]} x {self.size_wh[1]}: {shown or 'nothing'}{more})"

    def draw(self, picture: PIL.Image.Image | None = None) -> PIL.Image.Image:
        """The picture with boxes, classes and scores on it, the best on top. Raises `UserError` where its file is gone.

        `picture`: what to draw on, in the place of a copy of the picture; if it is smaller, so are the boxes.
        """
        page = self.picture().copy() if picture is None else picture
        ratio = np.divide(page.size, self.size_wh)
        colours = colours_of(self.class_names)
        rows = zip((self.boxes_xyxy * np.tile(ratio, 2)).tolist(), self.labels.tolist(), self.scores, strict=True)
        marks = [Mark(tuple(box), f"{self.class_names[n]} {score:.2f}", colours[n]) for box, n, score in rows]
        return draw_marks(page, reversed(marks))

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """Rows as `pycocotools.COCO.loadRes` takes them: `category_id` counts the model's classes from 1."""
        return list(self._rows(image_id))

    def _rows(self, image_id: int) -> Iterator[dict[str, Any]]:
        for box, score, label in zip(*(c.tolist() for c in (self.boxes_xyxy, self.scores, self.labels)), strict=True):
            corner, sides = box[:2], [box[2] - box[0], box[3] - box[1]]
            numbers = [round(number, 3) for number in (*corner, *sides)]
            yield {"image_id": image_id, "category_id": label + 1, "bbox": numbers, "score": round(score, 5)}

    def to_supervision(self) -> Any:
        """`supervision.Detections`, with `class_name` in its data. Raises `UserError` where that is not installed."""
        try:
            import supervision
        except ImportError:
            raise UserError("to_supervision() needs a further package: pip install supervision") from None
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            confidence=self.scores.copy(),
            class_id=self.labels.astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
        )


def found_in(
    prediction: Prediction,
    class_names: tuple[str, ...],
    thresholds: Mapping[str, float],
    size_wh: tuple[int, int],
    picture: Callable[[], PIL.Image.Image],
) -> Found:
    """Of what was predicted, that which reaches the threshold of its class."""
    scores, labels = prediction.scores.numpy(), prediction.labels.numpy()
    least = np.array([thresholds[name] for name in class_names], np.float32)
    keep = scores >= least[labels]
    boxes = prediction.boxes_xyxy.numpy()[keep].astype(np.float32)
    return Found(boxes, scores[keep].astype(np.float32), labels[keep].astype(np.int64), class_names, size_wh, picture)
