"""A loaded model finds in a picture what evaluation finds there, whatever other pictures are asked for beside it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.config.schema import Resize
from headstart.data.batch import Detections
from headstart.data.canvases import Canvases, Padding
from headstart.data.dataset import DetectionDataset
from headstart.data.types import AnnotatedImage, Prediction, Size
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.inference.export import load_exported
from headstart.inference.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(model_folder) -> Predictor:
    detector, exported = load_exported(model_folder)
    return Predictor.of(detector, exported.size, batch_size=2)


@pytest.fixture(scope="module")
def tensor(picture) -> Callable[..., torch.Tensor]:
    return lambda *seed_hw: torch.from_numpy(np.array(picture(*seed_hw))).permute(2, 0, 1)


def same(one: Prediction, other: Prediction) -> None:
    torch.testing.assert_close(one.boxes_xyxy, other.boxes_xyxy, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(one.scores, other.scores, atol=1e-5, rtol=1e-4)
    assert torch.equal(one.labels, other.labels)


def annotated(number: int, picture: PIL.Image.Image) -> AnnotatedImage:
    none = np.zeros(0, bool)
    empty = np.zeros((0, 4)), np.zeros(0, np.int64), none, none, np.zeros(0)
    return AnnotatedImage(str(number), lambda: picture, picture.size, *empty)


@pytest.mark.parametrize("canvas_hw", [None, (96, 96)])
@pytest.mark.parametrize("resize", [Resize.keep, Resize.stretch])
def test_detections_are_those_that_evaluation_scores(
    predictor: Predictor, tensor, picture, resize: Resize, canvas_hw
) -> None:
    size = Size(64, 64 if resize is Resize.stretch else 96, resize)
    seeds = range(5)
    padding = Padding(predictor.detector.size_divisible, predictor.detector.min_canvas)
    dataset = DetectionDataset([annotated(seed, picture(seed)) for seed in seeds], size)
    dataset.canvases = Canvases((canvas_hw,)) if canvas_hw else Canvases.of(dataset.objects.sizes_hw, padding)
    batch = dataset.__getitems__(list(seeds))
    metric = CocoMeanAveragePrecision(predictor.detector.class_names)
    with torch.inference_mode():
        metric.update(predictor.detector.detect(batch), batch.targets, batch.frames)
    scored = metric.compute().detections
    assert scored is not None
    known = dataset.canvases if canvas_hw else None
    found = replace(predictor, size=size, canvases=known)([tensor(seed) for seed in seeds])
    assert [len(one.scores) for one in found] == [5] * 5
    names = sorted(predictor.detector.class_names)
    for number, one in enumerate(found):
        rows = scored.images == number
        assert [names[n] for n in scored.labels[rows]] == [predictor.detector.class_names[n] for n in one.labels]
        boxes, scores = (torch.from_numpy(column[rows]) for column in (scored.boxes_xyxy, scored.scores))
        same(one, Prediction(boxes, scores, one.labels))


@pytest.mark.parametrize("knows_canvases", [False, True])
def test_a_picture_has_the_same_detections_alone_and_among_others_of_other_shapes(
    predictor: Predictor, tensor, knows_canvases
) -> None:
    pictures = [tensor(0), tensor(1, 300, 100), tensor(2), tensor(3, 33, 500), tensor(4), tensor(5, 1, 1)]
    canvases = Canvases(((64, 96), (96, 64), (96, 96)))
    predictor = replace(predictor, canvases=canvases if knows_canvases else None)
    together = predictor(pictures)
    for one, found in zip(pictures, together, strict=True):
        (alone,) = predictor([one])
        same(found, alone)


def test_boxes_are_in_the_pixels_of_the_picture_given(predictor: Predictor, tensor) -> None:
    """A network that always says the left half."""

    class LeftHalf(torch.nn.Module):
        size_divisible, min_canvas = 32, 1

        def find(self, batch):
            boxes = torch.stack([torch.tensor([0.0, 0.0, width / 2, height]) for height, width in batch.sizes_hw])
            one = torch.ones(len(batch), 1)
            return Detections(one > 0, boxes[:, None], one, one.long())

    found = replace(predictor, detector=LeftHalf())([tensor(0, 200, 400), tensor(1, 64, 64)])  # type: ignore[arg-type]
    assert found[0].boxes_xyxy.tolist() == [[0, 0, 200, 200]]
    assert found[1].boxes_xyxy.tolist() == [[0, 0, 32, 64]]


def test_nothing_asked_nothing_found(predictor: Predictor) -> None:
    assert predictor([]) == []
