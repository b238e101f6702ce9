"""Parquet files as `datasets.push_to_hub` writes them: the data set that COCO's json gives of the same pictures."""

import importlib.util
import json
import logging
import multiprocessing
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart import cli, limits
from headstart.config.schemas import SCHEMAS
from headstart.data import catalog, info
from headstart.data.types import DetectionData
from headstart.errors import UserError
from tests.data import written
from tests.data import written_parquet as parquet

ROWS = [parquet.row(number, items) for number, items in enumerate(written.BOXES.values(), 1)]
TRAIN, VAL = ROWS[:3], ROWS[3:]


def draw(root: Path, **how) -> Path:
    parquet.write(root / "data/train-00000-of-00002.parquet", TRAIN[:2], **how)
    parquet.write(root / "data/train-00001-of-00002.parquet", TRAIN[2:], **how)
    parquet.write(root / "data/validation-00000-of-00001.parquet", VAL, **how)
    return root


def draw_coco(root: Path) -> Path:
    for number, stem in enumerate(written.BOXES, 1):
        path = root / ("train" if stem in written.SPLITS["train"] else "val") / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parquet.png(number))
    written.coco(root)
    for path in root.glob("*.json"):  # with the areas that the rows have
        said = json.loads(path.read_text())
        for item in said["annotations"]:
            item["area"] = item["bbox"][2] * item["bbox"][3]
        path.write_text(json.dumps(said))
    return root


def config(form: str, root: Path, **settings):
    return SCHEMAS["dataset"][form](name="mine", root=str(root), **settings)


def read(root: Path, **settings) -> DetectionData:
    return catalog.read(config("hugging_face", root, **settings), seed=0)


def fingerprints(form: str, root: Path) -> dict[str, str]:
    settings = config(form, root)
    return info.describe(catalog.read(settings, seed=0), settings).fingerprints


def refusal(root: Path, **settings) -> str:
    with pytest.raises(UserError) as refused:
        read(root, **settings)
    return str(refused.value)


def unpacked(root: Path) -> list[Path]:
    return sorted(path for path in root.with_name(f"{root.name}.unpacked").glob("*") if path.is_dir())


FORMS = {
    "sequence": {},
    "list": {"features": {**parquet.FEATURES, "objects": parquet.NEW}},
    "list of objects": {"objects": pa.list_(pa.struct([(f.name, f.type.value_type) for f in parquet.LISTS]))},
    "large, dictionaries, other pages": {
        "objects": pa.struct([(f.name, pa.large_list(f.type.value_type)) for f in parquet.LISTS]),
        "compression": "zstd",
        "data_page_version": "2.0",
    },
    "no statistics, no dictionaries, gzip": {"compression": "gzip", "use_dictionary": False, "write_statistics": False},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_pictures_and_boxes_as_in_coco_are_the_same_data(form, tmp_path, monkeypatch):
    rows = ROWS
    if form == "list of objects":
        each = [
            dict(
                row,
                objects=[
                    dict(zip(row["objects"], values, strict=True))
                    for values in zip(*row["objects"].values(), strict=True)
                ],
            )
            for row in rows
        ]
        monkeypatch.setattr(sys.modules[__name__], "TRAIN", each[:3])
        monkeypatch.setattr(sys.modules[__name__], "VAL", each[3:])
    draw(tmp_path / "hub", **FORMS[form])
    assert fingerprints("hugging_face", tmp_path / "hub") == fingerprints("coco", draw_coco(tmp_path / "coco"))
    data = read(tmp_path / "hub")
    assert data.class_names == ("cat", "dog")
    assert data.defects == ()
    assert data.splits_from == {"train": "found: train", "val": "found: validation"}


def test_the_fingerprint_knows_neither_shards_nor_places_nor_names(tmp_path):
    one = fingerprints("hugging_face", draw(tmp_path / "hub"))
    parquet.write(tmp_path / "other/mine/train/0000.parquet", TRAIN, row_group_size=3)
    parquet.write(tmp_path / "other/mine/validation/0000.parquet", VAL)
    assert fingerprints("hugging_face", tmp_path / "other/mine") == one
    names = [image.name for image in read(tmp_path / "other/mine").splits["train"]]
    assert names == [image.name for image in read(tmp_path / "hub").splits["train"]]


def test_pictures_are_unpacked_once_and_changed_files_anew(tmp_path, capsys):
    root = draw(tmp_path / "hub")
    read(root)
    first = unpacked(root)
    said = capsys.readouterr().out
    assert "5 pictures of 3 parquet files" in said
    assert str(first[0]) in said
    read(root)
    assert unpacked(root) == first
    assert "Unpacked" not in capsys.readouterr().out
    before = fingerprints("hugging_face", root)
    parquet.write(root / "data/validation-00000-of-00001.parquet", [parquet.row(77, [("dog", (1, 2, 30, 40))]), VAL[1]])
    after = fingerprints("hugging_face", root)
    assert len(unpacked(root)) == 2
    assert after["train"] == before["train"]
    assert after["val"] != before["val"]


def _read_in(root: str) -> str:
    logging.disable()
    data = read(Path(root))
    return str([(image.name, image.digest) for image in data.splits["train"]])


def test_two_processes_at_once_unpack_one_whole_folder(tmp_path):
    root = draw(tmp_path / "hub")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(_read_in, [str(root)] * 3)
    assert len(set(found)) == 1
    assert len(unpacked(root)) == 1
    assert len([*unpacked(root)[0].rglob("*.png")]) == 5


def test_nothing_is_left_of_what_cannot_be_unpacked_to_its_end(tmp_path):
    rows = [*TRAIN, parquet.row(9, [("dog", (1, 2, 30, 40))])]
    rows[3]["image"] = {"bytes": None, "path": "../../x.png"}
    parquet.write(tmp_path / "hub/train.parquet", rows)
    assert re.search(r"train\.parquet: row 3: has a path in place of the bytes", refusal(tmp_path / "hub"))
    assert unpacked(tmp_path / "hub") == []


@pytest.mark.parametrize("name", ["../../out.png", "/tmp/out.png", "a\0b.png", "x" * 400, "..", "CON", "a/b.png", None])
def test_no_name_in_the_data_becomes_a_file(name, tmp_path):
    rows = [dict(row, image=dict(row["image"], path=name)) for row in ROWS]
    parquet.write(tmp_path / "in/hub/train.parquet", rows)
    read(tmp_path / "in/hub")
    found = {path.relative_to(unpacked(tmp_path / "in/hub")[0]).as_posix() for path in tmp_path.rglob("*.png")}
    assert found == {f"train/{number:08d}.png" for number in range(5)}


def test_rows_that_only_name_pictures_are_found_beside_the_files(tmp_path):
    rows = []
    for number, row in enumerate(ROWS):
        path = tmp_path / "hub/pictures" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])
        rows.append(dict(row, image={"bytes": None, "path": f"pictures/{number}.png"}))
    parquet.write(tmp_path / "hub/train.parquet", rows)
    data = read(tmp_path / "hub", val_split="none")
    assert unpacked(tmp_path / "hub") == []
    assert sorted(image.name for images in data.splits.values() for image in images) == [
        f"pictures/{number}.png" for number in range(5)
    ]
    rows[1]["image"]["path"] = "../../secret.png"
    (tmp_path.parent / "secret.png").write_bytes(parquet.png(3))
    parquet.write(tmp_path / "hub/train.parquet", rows)
    assert {defect.kind for defect in read(tmp_path / "hub").defects} >= {"missing_image"}


def test_all_objects_that_cannot_be_read_are_named_together(tmp_path):
    rows = [parquet.row(number, [("cat", (1, 2, 30, 40))] * 2) for number in range(6)]
    rows[1]["objects"]["bbox"][1] = [1, 2, 3]
    rows[2]["objects"]["category"] = [0, 7]
    rows[4]["objects"]["bbox"][0] = None
    lists = pa.struct(
        [*((f.name, f.type) for f in parquet.LISTS if f.name != "bbox"), ("bbox", pa.list_(pa.list_(pa.float64())))]
    )
    parquet.write(tmp_path / "train.parquet", rows, objects=lists)
    said = refusal(tmp_path)
    assert "2 malformed_object" in said
    assert "1 unknown_class" in said
    assert "train.parquet: row 1: object 1: bbox is [1.0, 2.0, 3.0]" in said
    assert "train.parquet: row 4: object 0: bbox is null" in said
    assert "train.parquet: row 2: object 1: class 7 is not among the 2 that are named" in said
    data = read(tmp_path, on={"malformed_object": "skip_box", "unknown_class": "skip_image"})
    assert sum(map(len, data.splits.values())) == 5
    assert sum(len(image.labels) for images in data.splits.values() for image in images) == 8


def test_lists_of_other_lengths_are_refused_with_their_row(tmp_path):
    rows = [parquet.row(number, [("cat", (1, 2, 30, 40))]) for number in range(3)]
    rows[2]["objects"]["category"] = []
    parquet.write(tmp_path / "train.parquet", rows)
    assert "train.parquet: row 2: objects has 1 boxes and 0 categories" in refusal(tmp_path)


def test_a_row_without_objects_is_no_negative(tmp_path):
    rows = [*ROWS, parquet.row(8, [], objects=None)]
    parquet.write(tmp_path / "train.parquet", rows)
    data = read(tmp_path)
    assert sum(map(len, data.splits.values())) == 5
    assert [defect.kind for defect in data.defects if defect.kind != "class_in_one_split"] == ["missing_annotation"]


def test_a_row_without_a_picture_is_counted_and_left_out(tmp_path):
    parquet.write(tmp_path / "train.parquet", [parquet.row(8, [], image=None), *ROWS])
    defects = [(defect.kind, defect.image) for defect in read(tmp_path).defects]
    assert ("unreadable_image", "train/00000000.image") in defects


def test_corners_where_sizes_are_due_are_doubted(tmp_path):
    rows = [parquet.row(n, [("cat", (20 + n, 10, 50, 40)), ("dog", (30, 20 + n, 60, 45))]) for n in range(6)]
    for row in rows:
        row["objects"]["bbox"] = [[x, y, x + w, y + h] for x, y, w, h in row["objects"]["bbox"]]
    parquet.write(tmp_path / "train.parquet", rows)
    said = refusal(tmp_path)
    assert "train.parquet: row" in said
    assert "seems to have x1, y1, x2, y2" in said


def test_several_data_sets_in_one_folder_are_asked_about(tmp_path):
    parquet.write(tmp_path / "plain/train-00000-of-00001.parquet", ROWS)
    parquet.write(tmp_path / "rotated/train-00000-of-00001.parquet", ROWS[:2])
    said = refusal(tmp_path)
    assert "plain (plain/train-00000-of-00001.parquet)" in said
    assert "rotated (rotated/" in said
    assert sum(map(len, read(tmp_path, train_file="plain/train-00000-of-00001.parquet").splits.values())) == 5
    assert sum(map(len, read(tmp_path / "plain").splits.values())) == 5


def test_a_missing_shard_is_named(tmp_path):
    (draw(tmp_path) / "data/train-00000-of-00002.parquet").unlink()
    assert "1 of its 2 files are not there, such as number 00000" in refusal(tmp_path)


def test_shards_whose_numbers_mean_other_classes_are_refused(tmp_path):
    draw(tmp_path)
    other = json.loads(json.dumps(parquet.FEATURES).replace('"dog"', '"fox"'))
    parquet.write(tmp_path / "data/train-00001-of-00002.parquet", TRAIN[2:], features=other)
    said = refusal(tmp_path)
    assert "fox" in said
    assert "train-00001-of-00002.parquet and" in said


def test_names_are_of_the_readme_where_the_schema_has_none(tmp_path):
    draw(tmp_path, features=None)
    names = "".join(f"          '{number}': {name}\n" for number, name in enumerate(("kitten", "puppy")))
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: category\n    dtype:\n      class_label:\n        names:\n"
        f"{names}---\n"
    )
    assert read(tmp_path).class_names == ("kitten", "puppy")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    draw(tmp_path)
    found = importlib.util.find_spec
    from headstart.data.readers import parquet_files

    monkeypatch.setattr(parquet_files, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    assert "pip install 'headstart[parquet]'" in refusal(tmp_path)


# ----------------------------------------------------------------------------------------- broken files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (os.urandom(5000), "does not begin as one"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"PAR1" + bytes(100) + (2**31).to_bytes(4, "little") + b"PAR1", "not a readable parquet file"),
        (
            b"PAR1" + b"\x19\xfc\xff\xff\xff\xff\x7f" + (7).to_bytes(4, "little") + b"PAR1",
            "not a readable parquet file",
        ),
    ],
)
def test_what_is_no_parquet_file_is_named(content, why, tmp_path):
    (tmp_path / "train.parquet").write_bytes(content)
    said = refusal(tmp_path)
    assert "train.parquet" in said
    assert why in said


def test_a_file_cut_off_anywhere_is_named(tmp_path):
    parquet.write(tmp_path / "train.parquet", ROWS)
    whole = (tmp_path / "train.parquet").read_bytes()
    for share in np.linspace(0.001, 0.999, 25):
        (tmp_path / "train.parquet").write_bytes(whole[: int(share * len(whole))])
        assert "train.parquet: not a readable parquet file" in refusal(tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_FREE", 1_000_000)
    parquet.write(tmp_path / "train.parquet", [parquet.row(1, [], bytes(3_000_000))], compression="gzip")
    said = refusal(tmp_path)
    assert "claims 3,0" in said
    assert "too much for its size" in said
    assert unpacked(tmp_path) == []


def test_a_page_that_claims_more_than_its_footer_is_refused(tmp_path):
    parquet.write(tmp_path / "train.parquet", ROWS, compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "train.parquet").read_bytes())
    at = pq.ParquetFile(tmp_path / "train.parquet").metadata.row_group(0).column(1).data_page_offset
    assert data[at : at + 3] == b"\x15\x00\x15", "type of the page, then what it claims unpacked"
    end = at + 3
    while data[end] > 127:
        end += 1
    data[at + 3 : end + 1] = b"\xfe\xff\xff\xff\x0f"  # 2 GB
    (tmp_path / "train.parquet").write_bytes(data)
    assert "train.parquet: not a readable parquet file (a page claims more than its footer)" in refusal(tmp_path)


_FUZZ = r"""
import random, sys
from pathlib import Path
from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.policy import Policy
from headstart.errors import UserError

path, whole, draw = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes(), random.Random(int(sys.argv[2]))
config = SCHEMAS["dataset"]["hugging_face"](name="mine", root=str(path.parent))
length = int.from_bytes(whole[-8:-4], "little")
for _ in range(200):
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(len(data) - 8 - length if draw.random() < 0.7 else 4, len(data) - 12)
        odd = (bytes([draw.randrange(256)]), b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff\x0f")
        new = draw.choice(odd)
        data[at : at + len(new)] = new
    path.write_bytes(data)
    try:
        catalog.read(config, 0, Policy())
    except UserError:
        pass
print("all are read or refused")
"""


@pytest.mark.parametrize("how", [{}, {"compression": "none"}])
def test_changed_footers_are_read_or_refused_and_end_no_process(how, tmp_path):
    parquet.write(tmp_path / "hub/train.parquet", ROWS, **how)
    command = [sys.executable, "-c", _FUZZ, str(tmp_path / "hub/train.parquet"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "all are read or refused" in done.stdout, done.stderr[-2000:]


def test_columns_of_pickles_are_not_loaded(tmp_path):
    draw(tmp_path)
    path = tmp_path / "data/validation-00000-of-00001.parquet"
    table = pq.read_table(path)
    said = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": b"cos\nsystem\n(S'touch ran'\ntR.",
    }
    field = pa.field("image_id", pa.int64(), metadata=said)
    pq.write_table(
        table.cast(pa.schema([field, *[f for f in table.schema if f.name != "image_id"]], table.schema.metadata)), path
    )
    read(tmp_path)
    assert not Path("ran").exists()


# ------------------------------------------------------------------------------------------ whole verbs


def test_training_and_the_doctor_read_it(tmp_path, monkeypatch, capsys):
    rows = [
        parquet.row(number, items or [("cat", (3, 4, 30, 40))])
        for number, items in enumerate(written.BOXES.values(), 1)
    ]
    parquet.write(tmp_path / "hub/data/train-00000-of-00001.parquet", rows[:3])
    parquet.write(tmp_path / "hub/data/validation-00000-of-00001.parquet", rows[3:])
    monkeypatch.setattr(sys, "argv", ["headstart"])
    dataset = ["dataset=hugging_face_folder", f"dataset.root={tmp_path / 'hub'}"]
    with suppress(SystemExit):
        cli.main(["doctor", *dataset, f"out={tmp_path / 'doctor'}"])
    assert json.loads((tmp_path / "doctor/doctor.json").read_text())["findings"] == []
    small = ["dataset.min_size=64", "dataset.max_size=96", "dataset.batch_size=2", "trainer.max_epochs=1"]
    brief = ["trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "trainer.accelerator=cpu", "logger=csv"]
    cli.main(
        [
            "train",
            *dataset,
            *small,
            *brief,
            "source=scratch",
            "trainer.precision=32-true",
            f"output_dir={tmp_path / 'runs'}",
        ]
    )
    (record,) = (tmp_path / "runs").rglob("record.json")
    said = json.loads(record.read_text())
    assert said["status"] == "finished"
    assert said["dataset"]["num_images"] == {"train": 3, "val": 2}
    assert said["dataset"]["fingerprints"] == fingerprints("hugging_face", tmp_path / "hub")
