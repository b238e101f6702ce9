"""What is measured of tiles is the mAP of whole pictures."""

import math

import lightning as L
import numpy as np
import PIL.Image
import pytest
import torch
import torch.distributed as dist

from headstart.config.schema import AugmentConfig, DatasetConfig, TileConfig
from headstart.data.batch import Detections
from headstart.data.boxes import box_areas
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.evaluation.module import EvaluationModule

BOXES = [[10, 10, 40, 40], [85, 20, 118, 44], [60, 120, 190, 150], [150, 160, 199, 199], [95, 95, 110, 110]]
"""In pictures of 200 x 200: within a tile, across a border, larger than a tile, at the edge, on the corner of four."""
TILE = TileConfig(size=100, overlap=0.2)


class Oracle(torch.nn.Module):
    """Finds what each view shows, fragments too, and nothing else; the more of it, the surer."""

    def find(self, batch, features=None):
        targets = batch.targets
        sides = targets.boxes_xyxy[..., 2:] - targets.boxes_xyxy[..., :2]
        scores = 0.5 + sides.prod(-1).clamp(max=10_000) / 20_001
        order = torch.where(targets.present, scores, -1).argsort(dim=1, descending=True)
        rows = torch.arange(len(order))[:, None]
        return Detections(*(t[rows, order] for t in (targets.present, targets.boxes_xyxy, scores, targets.labels)))


def picture(number: int) -> AnnotatedImage:
    boxes = np.array(BOXES[: number + 3], dtype=np.float64)
    no = np.zeros(len(boxes), bool)
    blank = PIL.Image.new("RGB", (200, 200))
    return AnnotatedImage(
        f"p{number}", blank.copy, (200, 200), boxes, np.arange(len(boxes)) % 2, no, no, box_areas(boxes), "00" * 16
    )


def module_of(tile: TileConfig, **settings) -> DetectionDataModule:
    images = ImageTable.of(map(picture, range(3)))
    data = DetectionData("d", ("a", "b"), {"train": images, "val": images})
    small = {"min_size": 100, "max_size": 100, "batch_size": 4, "num_workers": 0, "tile": tile}
    config = DatasetConfig(name="d", **(small | settings))
    return DetectionDataModule(data, describe(data, config), config, AugmentConfig(name="none"), 0)


def measured(tile: TileConfig, **limits):
    module = EvaluationModule(Oracle(), CocoMeanAveragePrecision(("a", "b")))  # type: ignore[arg-type]
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **options, **limits)
    trainer.validate(module, datamodule=module_of(tile), verbose=False)
    return module.evaluation


@pytest.mark.parametrize("whole", [True, False])
def test_a_detector_that_sees_all_in_every_view_has_found_every_picture_whole(whole):
    found = measured(TileConfig(size=100, overlap=0.2, whole=whole))
    assert found.map == pytest.approx(1, abs=1e-9)
    assert found.mar == pytest.approx(1, abs=1e-9)
    assert found.images == 3


def test_what_is_kept_of_a_run_are_detections_in_whole_pictures():
    """In the order of the truth that lies beside the runs: all objects of all pictures, once each."""
    kept, known = measured(TILE).detections, module_of(TILE).truth("val")
    assert sorted(known.truth.image_names) == ["p0", "p1", "p2"]
    objects = zip(known.truth.images.tolist(), known.truth.boxes_xyxy.round().tolist(), strict=True)
    found = zip(kept.images.tolist(), kept.boxes_xyxy.round().tolist(), strict=True)
    assert sorted(found) == sorted(objects)


def test_sizes_count_in_pictures_not_in_tiles():
    """1,024 square pixels are the border of medium: an object of 30 x 30 is small, one of 130 x 30 is not."""
    found = measured(TILE)
    assert not math.isnan(found.map_small)
    assert not math.isnan(found.map_medium)
    assert math.isnan(found.map_large)


def test_pictures_of_which_only_some_tiles_were_seen_are_not_measured():
    """Ten views each: three batches of four have all of the first picture."""
    assert measured(TILE, limit_val_batches=3).images == 1


def test_tiles_of_a_picture_on_two_processes_are_one_picture(monkeypatch):
    data = module_of(TILE)
    halves = [CocoMeanAveragePrecision(("a", "b")) for _ in range(2)]
    for number, batch in enumerate(data.val_dataloader()):
        halves[number % 2].update(Oracle().find(batch), batch.targets, batch.frames)
    for half in halves:
        half._read(all_of_them=True)
    images = [half.images for half in halves]
    with monkeypatch.context() as patched:
        patched.setattr(dist, "is_initialized", lambda: True)
        patched.setattr(dist, "get_world_size", lambda: 2)
        patched.setattr(dist, "all_gather_object", lambda parts, _: parts.__setitem__(slice(None), images))
        found = [half.compute(data.truth("val"), data.views["val"]).numbers() for half in halves]
    assert repr(found[0]) == repr(found[1]) == repr(measured(TILE).numbers())
