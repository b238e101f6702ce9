"""A COCO json read by columns is what the plain way gives: object by object, image by image, nothing left out."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from headstart.config.kinds import KINDS, Action
from headstart.config.schema import CocoConfig
from headstart.data import catalog
from headstart.data.boxes import box_areas
from headstart.data.readers import annotate, coco, coco_json, common, json_stream, layout, tree
from headstart.data.readers.coco_packed import Packed
from headstart.data.readers.json_files import show
from headstart.data.readers.raw import Malformed
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.errors import UserError

SIDES = [(60, 40), (48, 48), (33, 70)]
OF_OBJECTS = (
    *("unknown_image", "unknown_class", "malformed_object", "wrong_area", "id_types", "not_finite_box"),
    *("inverted_box", "empty_box", "box_outside", "oversized_box", "clipped_box", "tiny_box", "doubled_box"),
    *("box_of_two_classes", "wrong_size", "zero_size", "equal_images", "equal_images_other_boxes", "listed_twice"),
    *("missing_image", "unreadable_image", "greyscale", "id_gaps"),
)


def _odd_object(kind: int, item: dict[str, Any], random: np.random.Generator) -> list[dict[str, Any]]:
    """`item` with something that is not as COCO has it; with its double, where that is it."""
    x, y, width, height = item["bbox"]
    doubled = [item, {**item, "id": item["id"] + 500}]
    changes: list[list[dict[str, Any]]] = [
        [{**item, "image_id": 999}],
        [{**item, "category_id": 77}],
        [{**item, "bbox": [x, y, width]}],
        [{**item, "bbox": ["1", y, True, height]}],
        [{**item, "area": random.choice([0, -3.5]).item()}],
        [{**item, "area": "12"}],
        [{key: value for key, value in item.items() if key not in ("area", "iscrowd")}],
        [{**item, "image_id": str(item["image_id"])}],
        [{**item, "category_id": float(item["category_id"])}],
        [{key: value for key, value in item.items() if key != "id"}],
        [{**item, "id": "name"}],
        [{**item, "bbox": [x, y, math.nan, height]}],
        [{**item, "bbox": [x, y, math.inf, height]}],
        [{**item, "bbox": [x + width, y, -width, height]}],
        [{**item, "bbox": [x, y, 0, height]}],
        [{**item, "bbox": [x + 500, y, width, height]}],
        [{**item, "bbox": [-5, -5, 200, 200]}],
        [{**item, "bbox": [x - 16, y, width + 16, height]}],
        [{**item, "bbox": [x, y, 0.5, height]}],
        [{**item, "bbox": [x, y, 2**60, height]}],
        [{**item, "iscrowd": 1}],
        [{**item, "iscrowd": "true"}],
        [{**item, "difficult": 1}],
        [{**item, "ignore": "1"}],
        [{**item, "segmentation": {"counts": "a\\u0062", "size": [3, 4]}}],
        [{**item, "attributes": {"id": 3}}],
        doubled,
        [doubled[0], {**doubled[1], "category_id": 1 + item["category_id"] % 2}],
    ]
    return changes[kind % len(changes)]


NUM_KINDS = 28


def draw(root: Path, number: int) -> dict[str, str]:
    """A data set of defects, and `dataset.on`; the first ones have a kind of odd object each."""
    random = np.random.default_rng(number)
    images = []
    for index in range(14):
        width, height = SIDES[index % 3]
        name = f"images/{index}.png"
        twin = {3: 3, 9: 3, 12: 12, 13: 12}.get(index) if number % 2 else None  # those of 12 have no object
        colour = (index if twin is None else twin, number, 7)
        _save(root / name, PIL.Image.new("RGB", SIDES[0] if twin else (width, height), colour))
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
    _spoil(root, images, random)
    items: list[dict[str, Any]] = []
    for index in range(60):
        x, y, width, height = random.uniform(1, 15, 4).round(2).tolist()
        item: dict[str, Any] = {"segmentation": [[1.5, 2, 3]], "area": round(width * height, 3), "iscrowd": 0}
        if index % 3 == 0:
            del item["segmentation"]
        item |= {"image_id": int(random.integers(1, 13)), "bbox": [x, y, width, height], "id": index + 1}
        item |= {"category_id": int(random.integers(1, 3))}
        odd = number if index % 20 == 7 else int(random.integers(0, 10**6))
        items += _odd_object(odd, item, random) if index % 20 == 7 or random.random() < 0.1 else [item]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 5, "name": "bird"}]
    content = {"images": images, "annotations": items, "categories": categories}
    (root / "train.json").write_text(json.dumps(content, indent=[None, 1][number % 2]))
    return {kind: _action(kind, number, random) for kind in random.choice(sorted(KINDS), 45, replace=False).tolist()}


def _action(kind: str, number: int, random: np.random.Generator) -> str:
    """A set of every fourth number may be refused by it."""
    actions = [action.value for action in KINDS[kind].actions if number % 4 == 3 or action is not Action.error]
    return random.choice(actions or ["error"]).item()


def _save(path: Path, picture: PIL.Image.Image) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    picture.save(path)


def _spoil(root: Path, images: list[dict[str, Any]], random: np.random.Generator) -> None:
    images[int(random.integers(14))]["width"] = 0
    images[int(random.integers(14))]["height"] = 7
    images[int(random.integers(14))]["width"] = "wide"
    images[int(random.integers(14))]["file_name"] = "images/nowhere.png"
    images.append({**images[13], "id": 100})
    (root / "images" / "5.png").write_bytes(b"no picture")
    _save(root / "images" / "6.png", PIL.Image.new("L", SIDES[0]))


# ------------------------------------------------------------------------------------------ the plain way


def plain_objects(part, items, images, categories, names) -> tuple[set[int], int]:
    used: set[int] = set()
    strangers = 0
    for number, item in enumerate(items):
        place = f"annotation id {show(item['id'])}" if "id" in item else f"annotations[{number}]"
        image = images.find(part.path, place, "image_id", item["image_id"])
        category = categories.find(part.path, place, "category_id", item["category_id"])
        if category is not None:
            used.add(category)
        if image is None:
            part.report("unknown_image", f"{place}: image_id {show(item['image_id'])}")
            strangers += 1
            continue
        if category is None:
            known = ", ".join(map(show, categories.written[:9]))
            why = f"category_id {show(item['category_id'])} is not among the categories ({known})"
            part.report_of(image, "unknown_class", f"{place}: {why}")
            continue
        try:
            x, y, width, height = coco_json._bbox(item["bbox"])
        except Malformed as error:
            part.report_of(image, "malformed_object", f"{place}: {error}")
            continue
        part.raws[image].add(
            (x, y, x + width, y + height),
            names[category],
            place,
            crowd=coco_json._says(part, place, item, "iscrowd"),
            difficult=any([coco_json._says(part, place, item, flag) for flag in ("difficult", "ignore")]),
            area=coco_json._area(part, place, item.get("area")),
        )
    return used, strangers


def plain_table(split, seen, index, form, policy, min_side) -> ImageTable:
    boxes = annotate.Boxes(seen)
    annotate._check_units(split, boxes, form, policy)
    clipped, keep, left_out = annotate.mend(boxes, policy, min_side)
    left_out |= {n for n in range(len(seen)) if annotate._check_size(boxes, n, policy) is Action.skip_image}
    left_out |= annotate._repeated(seen, left_out, policy)
    images = []
    for number, image in enumerate(seen):
        if number in left_out:
            continue
        own = slice(*boxes.start[number : number + 2])
        images.append(plain_image(image, clipped[own], keep[own], index))
    return ImageTable.of(images)


def plain_image(seen, clipped: np.ndarray, keep: np.ndarray, index: dict[str, int]) -> AnnotatedImage:
    raw = seen.raw
    area = np.array(raw.areas, dtype=np.float64)
    return AnnotatedImage(
        name=seen.name,
        read=seen.file,
        size_wh=seen.size_wh,
        boxes_xyxy=clipped[keep],
        labels=np.array([index[name] for name in raw.classes], dtype=np.int64)[keep],
        crowd=np.array(raw.crowd, dtype=bool)[keep],
        difficult=np.array(raw.difficult, dtype=bool)[keep],
        area=np.where(np.isnan(area), box_areas(clipped), area)[keep],
        digest=seen.digest,
    )


class NotPacked:
    """In the place of `Packed`: a list stays one."""

    of = staticmethod(list)


@pytest.fixture
def plainly(monkeypatch):
    def read(config: CocoConfig) -> DetectionData | str:
        with monkeypatch.context() as patch:
            patch.setattr(coco, "load", lambda path: json.loads(path.read_text()))
            patch.setattr(coco_json, "Packed", NotPacked)
            patch.setattr(coco_json, "_add_objects", plain_objects)
            patch.setattr(common, "annotate", plain_table)
            patch.setattr(tree, "kept", nullcontext)
            return outcome(config)

    return read


def outcome(config: CocoConfig) -> DetectionData | str:
    try:
        return catalog.read(config, seed=0)
    except UserError as error:
        return str(error)


def described(found: DetectionData | str) -> Any:
    """All of it, arrays to the last bit."""
    if isinstance(found, str):
        return found
    splits = {
        split: [[*map(_bits, vars(image).values())] for image in images] for split, images in found.splits.items()
    }
    return found.name, found.class_names, splits, found.defects, found.splits_from, found.unused


def _bits(value: Any) -> Any:
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def test_by_columns_and_plainly_every_set_of_defects_is_the_same(tmp_path, plainly, monkeypatch):
    monkeypatch.setattr(json_stream, "_PIECE", 700)  # a few annotations each: some blocks are as COCO's, some are not
    blocks, kinds, refused = Counter(), Counter(), 0
    take = Packed.extend_from
    monkeypatch.setattr(Packed, "extend_from", lambda self, block: _counted(blocks, take(self, block)))
    for number in range(2 * NUM_KINDS):
        root = tmp_path / str(number)
        on = draw(root, number)
        config = CocoConfig(name="x", root=str(root), val_fraction=0.2, on=on, min_side=1.0)
        expected, found = plainly(config), outcome(config)
        assert described(found) == described(expected)
        refused += isinstance(found, str)
        kinds.update(() if isinstance(found, str) else [defect.kind for defect in found.defects])
    assert min(blocks[True], blocks[False]) > 100
    assert 5 < refused < NUM_KINDS
    assert {kind for kind in OF_OBJECTS if not kinds[kind]} == set()


def _counted(counts: Counter[bool], taken: bool) -> bool:
    counts[taken] += 1
    return taken


@pytest.mark.parametrize(
    ("path", "root"),
    [("/a/b/c.jpg", "/a"), ("/ab/c.jpg", "/a"), ("/a/c.jpg", "/"), ("b/c.jpg", "."), ("/a", "/a"), ("../c", "..")],
)
def test_a_name_is_relative_to_the_folder_as_paths_have_it(path, root):
    one, other = Path(path), Path(root)
    expected = one.relative_to(other).as_posix() if one.is_relative_to(other) else one.as_posix()
    assert layout.relative_name(one, other) == expected
