"""What a run found and what was to be found survive their processes, and a damaged file is refused by its name."""

import dataclasses
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from headstart import limits
from headstart.errors import UserError
from headstart.records.detections import SplitDetections, read_detections, splits_of, write_detections
from headstart.records.truth import Truth, read_truth, truth_path, write_truth

FINGERPRINT = "0123456789abcdef" * 2


def drawn_detections(seed, images=7, most=9, classes=3):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most, images)
    measured = np.sort(rng.choice(2 * images, images, replace=False)).astype(np.int32)
    total = int(counts.sum())
    corners = rng.uniform(0, 500, (total, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0, 90, (total, 2))]).astype(np.float32)
    scores, labels = rng.random(total).astype(np.float32), rng.integers(0, classes, total).astype(np.int32)
    return SplitDetections(np.repeat(measured, counts), boxes, scores, labels, measured)


def drawn_truth(seed, images=5, objects=12):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 500, (objects, 2))
    return Truth(
        FINGERPRINT,
        ("étoile", "zèbre"),
        tuple(f"a/{number} ö.jpg" for number in range(images)),
        rng.integers(1, 900, (images, 2)).astype(np.int32),
        np.sort(rng.integers(0, images, objects)).astype(np.int32),
        np.hstack([corners, corners + rng.uniform(1, 90, (objects, 2))]),
        rng.integers(0, 2, objects).astype(np.int32),
        *(rng.random((2, objects)) < 0.3),
        rng.uniform(1, 5000, objects),
    )


def equal(one, other):
    pairs = [(getattr(one, item.name), getattr(other, item.name)) for item in dataclasses.fields(one)]
    return all(np.array_equal(a, b) and getattr(a, "dtype", 0) == getattr(b, "dtype", 0) for a, b in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_detections_are_read_as_they_were_written(tmp_path, seed):
    written = {"val": drawn_detections(seed), "test": drawn_detections(seed + 50, images=1 + seed, most=1 + seed)}
    write_detections(tmp_path, written)
    assert splits_of(tmp_path) == ["val", "test"]
    assert all(equal(read_detections(tmp_path, split), one) for split, one in written.items())


@pytest.mark.parametrize("seed", range(5))
def test_truth_is_read_as_it_was_written(tmp_path, seed):
    truth = drawn_truth(seed, objects=4 * seed)
    write_truth(tmp_path / "run", truth)
    assert equal(read_truth(tmp_path / "run", FINGERPRINT), truth)


def test_truth_is_written_once_for_all_runs_beside_each_other_and_by_whoever_comes_first(tmp_path):
    truth = drawn_truth(0)
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda run: write_truth(tmp_path / f"run{run}", truth), range(8)))
    assert paths == {tmp_path / "truth" / f"{FINGERPRINT}.npz"}
    before = paths.pop().stat()
    write_truth(tmp_path / "late", drawn_truth(1))
    assert truth_path(tmp_path / "late", FINGERPRINT).stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in (tmp_path / "truth").iterdir()] == [f"{FINGERPRINT}.npz"]


def test_a_detection_takes_less_than_28_bytes_of_the_disk(tmp_path):
    found = drawn_detections(0, images=100, most=200)
    assert write_detections(tmp_path, {"val": found}).stat().st_size < 28 * len(found.scores) + 4000


def damage_cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_byte(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    path.write_bytes(bytes(whole))


def damage_text(path):
    path.write_text("no archive")


def damage_empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_cut, damage_byte, damage_text, damage_empty])
def test_a_damaged_file_is_refused_by_its_name_and_with_the_remedy(tmp_path, damage):
    write_truth(tmp_path / "run", drawn_truth(0, objects=300))
    (tmp_path / "run").mkdir()
    write_detections(tmp_path / "run", {"val": drawn_detections(0, images=60)})
    for path, read in (
        (tmp_path / "run" / "detections.npz", lambda: read_detections(tmp_path / "run", "val")),
        (truth_path(tmp_path / "run", FINGERPRINT), lambda: read_truth(tmp_path / "run", FINGERPRINT)),
    ):
        damage(path)
        with pytest.raises(UserError, match=f"{path.name} cannot be read: .*headstart evaluate"):
            read()


WRONG = {
    "images": [9, 1] + [0] * 30,
    "scores": 1.5,
    "labels": -1,
    "boxes_xyxy": np.nan,
    "measured": -3,
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_cannot_be_are_refused(tmp_path, name):
    found = drawn_detections(3)
    column = getattr(found, name).copy()
    column[:2] = np.array(WRONG[name][:2]) if name == "images" else WRONG[name]
    write_detections(tmp_path, {"val": dataclasses.replace(found, **{name: column})})
    with pytest.raises(UserError, match=r"detections\.npz cannot be read"):
        read_detections(tmp_path, "val")


def test_columns_of_another_length_or_type_are_refused(tmp_path):
    found = drawn_detections(3)
    write_detections(tmp_path, {"val": dataclasses.replace(found, scores=found.scores[:-1])})
    with pytest.raises(UserError, match="columns are of several lengths"):
        read_detections(tmp_path, "val")
    arrays = {f"val/{name}": value for name, value in vars(found).items()}
    np.savez(tmp_path / "detections.npz", **arrays | {"val/boxes_xyxy": found.boxes_xyxy.astype(np.float64)})
    with pytest.raises(UserError, match="val/boxes_xyxy is float64"):
        read_detections(tmp_path, "val")


def test_nothing_in_the_file_is_unpickled(tmp_path):
    found = drawn_detections(3)
    arrays = {f"val/{name}": value for name, value in vars(found).items()}
    np.savez(tmp_path / "detections.npz", **arrays | {"val/scores": np.array([json.loads], dtype=object)})
    with pytest.raises(UserError, match="cannot be read"):
        read_detections(tmp_path, "val")


def test_a_file_that_says_it_holds_more_than_memory_has_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "DETECTIONS_BYTES", 1000)
    found = drawn_detections(3, images=3000, most=3)
    write_detections(tmp_path, {"val": dataclasses.replace(found, scores=np.zeros_like(found.scores))})
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(UserError, match="it holds 0 MB"):
        read_detections(tmp_path, "val")


def test_what_is_not_there_is_said_with_what_adds_it(tmp_path):
    with pytest.raises(UserError, match=r"detections\.npz cannot be read: it is not there"):
        read_detections(tmp_path, "val")
    assert splits_of(tmp_path) == []
    write_detections(tmp_path, {"val": drawn_detections(0)})
    with pytest.raises(UserError, match=r"no detections of split=test, but of val.*split=test` adds them"):
        read_detections(tmp_path, "test")


def test_what_a_record_calls_a_fingerprint_is_not_a_way_out_of_the_folder(tmp_path):
    with pytest.raises(UserError, match="is no fingerprint"):
        read_truth(tmp_path, "../../etc/passwd")
