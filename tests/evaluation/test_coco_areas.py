"""On COCO's own annotations, from the reader to the metric: every number is that of pycocotools, sizes included."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.config.schema import CocoConfig, Engine, Resize
from headstart.data.boxes import scale_boxes
from headstart.data.dataset import DetectionDataset
from headstart.data.readers import coco
from headstart.data.types import Prediction, Size

SEEN = (Size(416, 700), Size(500, 500, Resize.stretch))
"""In which the detector sees the images."""


def detect(image, rng, num_classes):
    """Boxes (N, 4) as (x1, y1, x2, y2), scores and labels: most objects found about where they are, some elsewhere."""
    sides = np.tile(image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2], 2)
    near = image.boxes_xyxy + rng.normal(0, 0.07, sides.shape) * sides
    alarms = np.sort(rng.uniform(0, 1, (3, 2, 2)), axis=1).reshape(3, 4) * np.tile(image.size_wh, 2)
    found = rng.random(len(near)) < 0.8
    labels = np.concatenate([image.labels[found], rng.integers(0, num_classes, 3)])
    return np.vstack([near[found], alarms]), rng.random(len(labels)), labels


class Blank:
    """Pictures that nobody looks at."""

    def gather(self, indices, canvas_hw):
        return torch.zeros(len(indices), 3, *canvas_hw, dtype=torch.uint8)


def as_seen(image, detections, image_hw):
    """The detections as the detector gives them."""
    boxes, scores, labels = map(torch.tensor, detections)
    ratio_wh = (image_hw[1] / image.size_wh[0], image_hw[0] / image.size_wh[1])
    return Prediction(scale_boxes(boxes, ratio_wh).float(), scores.float(), labels)


def by_pycocotools(path, found, class_names):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        image_ids = {image["file_name"]: image["id"] for image in truth.dataset["images"]}
        class_ids = [truth.getCatIds(catNms=[name])[0] for name in class_names]
        rows = [
            [image_ids[Path(image.name).name], *box[:2], *(box[2:] - box[:2]), score, class_ids[label]]
            for image, detections in found
            for box, score, label in zip(*detections, strict=True)
        ]
        evaluation = COCOeval(truth, truth.loadRes(np.array(rows)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
    return dict(zip(names, evaluation.stats, strict=False)) | {"mar": evaluation.stats[8]}


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize(("seen_as", "seed"), [(SEEN[0], 0), (SEEN[0], 1), (SEEN[1], 0)])
def test_on_coco208_every_number_is_that_of_pycocotools(real_data, measure, numbers, engine, seen_as, seed):
    path = real_data / "coco208/annotations/instances_train2017.json"
    data = coco.read(CocoConfig(name="coco", root=str(path.parents[1])))
    images = [image for split in data.splits.values() for image in split]
    rng = np.random.default_rng(seed)
    found = [(image, detect(image, rng, len(data.class_names))) for image in images]
    dataset = DetectionDataset(images, seen_as, Blank())
    seen = [(as_seen(*found[i], dataset[i][1].image_hw), dataset[i][1]) for i in range(len(images))]
    ours = numbers(measure(seen, data.class_names, engine))
    expected = by_pycocotools(path, found, data.class_names)
    assert 0 < expected["map_small"] < 1
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-6)
