"""Every run keeps what its exported weights found, and its mAP is that of the two files, to the last bit."""

import dataclasses
import hashlib

import numpy as np
import pytest

from headstart.config.compose import compose
from headstart.config.schema import Engine
from headstart.data.table import ImageTable
from headstart.data.truth import truth_of
from headstart.evaluation.coco_map import MapResult
from headstart.evaluation.scoring import score
from headstart.records.detections import SplitDetections, read_detections, splits_of
from headstart.records.record import record_files
from headstart.records.truth import read_truth, truth_path
from headstart.run import prepare, run
from headstart.runs.found import add_found
from headstart.training.checkpoints import packed, unpacked

from .test_keeping import TINY, Killed, killed

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(autouse=True)
def bits_of_all(monkeypatch):
    """In place of a mAP, which is 0 of so tiny a detector: a number that each bit of what is scored changes."""

    def total(images, num_classes, engine, max_detections):
        columns = [column for image in images.values() for column in vars(image).values()]
        value = float(
            int.from_bytes(hashlib.blake2b(repr([c.tolist() for c in columns]).encode(), digest_size=6).digest())
        )
        scalars = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar")
        return {
            "scalars": dict.fromkeys(scalars, value),
            "per_class": [value + label for label in range(num_classes)],
            "per_class_50": [value] * num_classes,
        }

    monkeypatch.setattr("headstart.evaluation.scoring.evaluate", total)


def of_files(folder, record, split):
    """The record's numbers anew: by the files, the run's definition of mAP, and nothing else."""
    truth = read_truth(folder, record.dataset["fingerprints"][split])
    found = score(truth, read_detections(folder, split), Engine.hotcoco, record.config["evaluation"]["max_detections"])
    return found["scalars"] | {name: dict(zip(truth.class_names, found[name], strict=True)) for name in ("per_class",)}


def is_of_files(folder, record, split):
    recorded = record.metrics[split]
    expected = {name: recorded[name] for name in of_files(folder, record, split)}
    return repr(of_files(folder, record, split)) == repr(
        expected | {"per_class": dict(sorted(expected["per_class"].items()))}
    )


def trained(tmp_path, *overrides):
    record = run(compose([*TINY, f"output_dir={tmp_path / 'outputs'}", *overrides]))
    return record_files(tmp_path / "outputs")[0].parent, record


@pytest.mark.parametrize("overrides", [(), ("monitor.name=train/loss", "monitor.mode=min"), ("strategy=wise_ft",)])
def test_the_numbers_of_a_record_are_those_of_its_files_to_the_last_bit(tmp_path, overrides):
    """The best epoch's, which is not measured again; the last's; and a mixture's."""
    folder, record = trained(tmp_path, *overrides)
    assert splits_of(folder) == ["val"]
    found = read_detections(folder, "val")
    assert len(found.scores) > 0
    assert len(found.measured) == record.dataset["num_images"]["val"]
    assert is_of_files(folder, record, "val")


def test_the_detections_of_the_best_epoch_are_not_lost_with_the_process(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("headstart.run.keep_found", killed)
        with pytest.raises(Killed):
            trained(tmp_path)
    folder, record = trained(tmp_path)
    assert is_of_files(folder, record, "val")


def test_truth_is_the_data_sets_own_whatever_size_the_network_sees(tmp_path):
    """Read back through float32 and another size, an object's corner would be a little elsewhere."""
    folder, record = trained(tmp_path)
    truth = read_truth(folder, record.dataset["fingerprints"]["val"])
    data = prepare(compose([*TINY, f"output_dir={tmp_path / 'outputs'}"]), show=False).data.data
    (by_name,) = [{image.name: image for image in data.splits["val"]}]
    assert set(truth.image_names) == set(by_name)
    for row, name in enumerate(truth.image_names):
        image, of_it = by_name[name], truth.images == row
        assert np.array_equal(truth.boxes_xyxy[of_it], image.boxes_xyxy)
        assert np.array_equal(truth.area[of_it], image.area)
        assert [truth.class_names[label] for label in truth.labels[of_it]] == [
            data.class_names[label] for label in image.labels
        ]


def test_truth_is_the_same_whatever_files_are_called_and_in_what_order_they_and_the_classes_come():
    data = prepare(compose([*TINY]), show=False).data.data
    images, names = list(data.splits["val"]), list(data.class_names)
    turned = [len(names) - 1 - number for number in range(len(names))]
    others = [
        dataclasses.replace(image, name=f"other{number}", labels=np.array(turned)[image.labels])
        for number, image in enumerate(reversed(images))
    ]
    one = truth_of(ImageTable.of(images), names, "f" * 32)
    other = truth_of(ImageTable.of(others), [*reversed(names)], "f" * 32)
    for name in ("class_names", "images", "boxes_xyxy", "labels", "area", "sizes_hw"):
        assert np.array_equal(getattr(one.truth, name), getattr(other.truth, name))
    assert one.rows.tolist() == other.rows[::-1].tolist()
    assert sorted(one.rows.tolist()) == [*range(len(images))]


def test_evaluate_gives_a_run_of_before_its_detections_and_leaves_those_that_are_there(tmp_path):
    folder, record = trained(tmp_path)
    data = prepare(compose([*TINY, f"output_dir={tmp_path / 'outputs'}"]), show=False).data
    (one,) = [read_detections(folder, "val")]
    found = MapResult(*[0.5] * 7, per_class={}, per_class_50={}, images=4, detections=one)
    assert add_found(folder, data, "val", found) is None
    before = (folder / "detections.npz").read_bytes()
    (folder / "detections.npz").unlink()
    truth_path(folder, record.dataset["fingerprints"]["val"]).unlink()
    assert add_found(folder, data, "val", found) == folder / "detections.npz"
    assert (folder / "detections.npz").read_bytes() == before
    assert is_of_files(folder, record, "val")


def test_a_checkpoint_of_before_whose_result_has_no_detections_is_measured_again():
    """And one that has them gives them back to the bit."""
    found = SplitDetections(*(np.arange(2, dtype=kind) for kind in ("i4", "f4", "f4", "i4", "i4")))
    result = MapResult(*[0.5] * 7, per_class={"a": 0.5}, per_class_50={"a": 1.0}, images=2, detections=found)
    kept = packed(result)
    again = unpacked(kept)
    assert again == result
    assert all(np.array_equal(vars(again.detections)[name], column) for name, column in vars(found).items())
    del kept["detections"]
    assert unpacked(kept) is None
    assert unpacked(None) is None
