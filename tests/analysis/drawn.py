"""Truths and detections for the tests of the analysis: laid by hand, or drawn."""

from collections.abc import Sequence

import numpy as np

from headstart.records.detections import SplitDetections
from headstart.records.truth import Truth

Box = tuple[float, float, float, float]


def truth_of(
    objects: Sequence[tuple[int, Box, int]], pictures: int = 2, classes: int = 3, **flags: Sequence[int]
) -> Truth:
    """Objects as (picture, box, class), sorted by picture; `crowd` and `difficult` name rows."""
    boxes = np.array([box for _, box, _ in objects], dtype=np.float64).reshape(-1, 4)
    marks = {name: np.isin(np.arange(len(objects)), flags.get(name, ())) for name in ("crowd", "difficult")}
    return Truth(
        fingerprint="0123456789abcdef",
        class_names=tuple("abcdefgh"[:classes]),
        image_names=tuple(f"{i}.jpg" for i in range(pictures)),
        sizes_hw=np.full((pictures, 2), 200, dtype=np.int32),
        images=np.array([picture for picture, _, _ in objects], dtype=np.int32),
        boxes_xyxy=boxes,
        labels=np.array([label for _, _, label in objects], dtype=np.int32),
        area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
        **marks,
    )


def found_of(detections: Sequence[tuple[int, Box, int, float]], pictures: int = 2) -> SplitDetections:
    """Detections as (picture, box, class, score), sorted by picture."""
    return SplitDetections(
        images=np.array([picture for picture, *_ in detections], dtype=np.int32),
        boxes_xyxy=np.array([box for _, box, _, _ in detections], dtype=np.float32).reshape(-1, 4),
        scores=np.array([score for *_, score in detections], dtype=np.float32),
        labels=np.array([label for _, _, label, _ in detections], dtype=np.int32),
        measured=np.arange(pictures, dtype=np.int32),
    )


def drawn(seed: int, pictures: int = 12, classes: int = 3) -> tuple[Truth, SplitDetections]:
    """Every kind of error many times over, in whole pixels, with all scores different."""
    random = np.random.default_rng(seed)
    objects, detections = [], []
    for picture in range(pictures):
        for _ in range(random.integers(0, 6)):
            x, y, side = (int(n) for n in random.integers((0, 0, 12), (150, 150, 50)))
            label = int(random.integers(classes))
            objects.append((picture, (x, y, x + side, y + side), label))
            for _ in range(random.integers(0, 4)):
                dx, dy = (int(n) for n in random.integers(-side // 2, side // 2, 2))
                near = (x + dx * random.integers(2), y + dy * random.integers(2))
                said = label if random.random() < 0.7 else int(random.integers(classes))
                detections.append((picture, (*near, near[0] + side, near[1] + side), said, 0.0))
        for _ in range(random.integers(0, 3)):
            x, y = (int(n) for n in random.integers(0, 150, 2))
            detections.append((picture, (x, y, x + 20, y + 20), int(random.integers(classes)), 0.0))
    scores = random.permutation(len(detections)) / len(detections)
    scored = [(*detection[:3], float(score)) for detection, score in zip(detections, scores, strict=True)]
    return truth_of(objects, pictures, classes), found_of(scored, pictures)
