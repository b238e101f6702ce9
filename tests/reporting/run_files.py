"""Folders of finished runs with all that a report reads: record, detections, truth, small pictures."""

import io
from pathlib import Path

import numpy as np
import PIL.Image

from headstart.records.detections import SplitDetections, write_detections
from headstart.records.pictures import write_pictures
from headstart.records.record import RunRecord
from headstart.records.truth import Truth, write_truth

from .study_records import CLASSES, make_record

FINGERPRINT = "0123456789abcdef"
SIDE = 100
PICTURES = 6


def truth(target: str = "fruit") -> Truth:
    """Two objects of different classes in each picture but the last."""
    names = tuple(sorted(CLASSES[target]))
    rows = np.repeat(np.arange(PICTURES - 1), 2).astype(np.int32)
    left = np.tile([10.0, 60.0], PICTURES - 1)
    boxes = np.stack([left, left, left + 30, left + 30], axis=1)
    none = np.zeros(len(rows), dtype=bool)
    labels = (np.arange(len(rows)) % len(names)).astype(np.int32)
    pictures = tuple(f"<i>{i}</i>.jpg" for i in range(PICTURES))
    sizes = np.full((PICTURES, 2), SIDE, dtype=np.int32)
    area = np.full(len(rows), 900.0)
    return Truth(FINGERPRINT, names, pictures, sizes, rows, boxes, labels, none, none, area)


def detections(known: Truth, wrong_in: tuple[int, ...] = ()) -> SplitDetections:
    """All objects, but in `wrong_in` the first of a picture is called something else; the second where it is named
    twice."""
    labels = known.labels.copy()
    for number, picture in enumerate(wrong_in):
        first = int(np.flatnonzero(known.images == picture)[wrong_in[:number].count(picture)])
        labels[first] = (labels[first] + 1) % len(known.class_names)
    scores = np.linspace(0.9, 0.5, len(labels)).astype(np.float32)
    measured = np.arange(PICTURES, dtype=np.int32)
    return SplitDetections(known.images, known.boxes_xyxy.astype(np.float32), scores, labels, measured)


def jpeg(shade: int) -> bytes:
    written = io.BytesIO()
    PIL.Image.new("RGB", (SIDE, SIDE), (shade, shade, shade)).save(written, "JPEG")
    return written.getvalue()


def make_run(folder: Path, wrong_in: tuple[int, ...] = (), source: str = "imagenet", seed: int = 0) -> Path:
    """The folder of a run below `folder`, measured on validation images."""
    name, record = make_record("fruit", source, "full", seed)
    known = truth()
    trained = {"train": dict.fromkeys(CLASSES["fruit"], 40)}
    record.dataset |= {"fingerprints": {"val": FINGERPRINT}, "num_boxes": trained}
    record.plan = [plan_row("stage1", 4), plan_row("head", 0)]
    (folder / name).mkdir(parents=True)
    record.write(folder / name / "record.json")
    write_truth(folder / name, known)
    write_detections(folder / name, {"val": detections(known, wrong_in)})
    write_pictures(folder / name, FINGERPRINT, ((row, jpeg(40 * row)) for row in range(PICTURES)))
    return folder / name


def plan_row(stage: str, start_epoch: int) -> dict[str, object]:
    trained = {"stage": stage, "parameters": 1000, "trainable": 1000, "lr": 0.01, "norm": "-"}
    return trained | {"start_epoch": start_epoch, "frozen_digest_before": None, "frozen_digest_after": None}


def record_of(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "record.json")
