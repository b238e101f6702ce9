"""Every run keeps what its exported weights found, and its mAP is that of the two files, to the last bit."""

import dataclasses

import numpy as np
import pytest

from headstart.config.compose import compose
from headstart.config.schema import Engine
from headstart.data.table import ImageTable
from headstart.data.truth import truth_of
from headstart.evaluation.scoring import score
from headstart.records.detections import read_detections, splits_of
from headstart.records.record import record_files
from headstart.records.truth import read_truth
from headstart.run import prepare, run

from .test_keeping import TINY, Killed, killed

pytestmark = pytest.mark.usefixtures("tiny_network")


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
