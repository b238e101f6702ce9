"""COCO json: `annotations/instances_<split>.json`, `<split>/_annotations.coco.json` (Roboflow), or one json alone.

Classes are the json's categories by id, those without objects included, whatever gaps the ids have. Left out is only
what Roboflow writes as category 0: an unused one that is the supercategory of all others. Images without annotations
are negatives. An object with `iscrowd` is a crowd; one with `difficult` or `ignore`, which is where converters put
VOC's `difficult`, is difficult (pycocotools reads neither key). `area` is taken as it is written, if it is one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.config.checks import dataset_folder
from headstart.config.schema import CocoConfig
from headstart.data import splits
from headstart.data.readers import layout
from headstart.data.readers.common import RawData, RawImage, assemble, check_missing, relative_name
from headstart.data.types import Defect, DetectionData
from headstart.errors import UserError

LAYOUTS = (
    "annotations/instances_<split>.json, annotations/*.json, <split>/_annotations.coco.json, or *.json in the root"
)
_NOT_BOXES = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")
_FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
_NUM_TRIED = 50


def read(config: CocoConfig) -> DetectionData:
    """Every split in use; UserError names the json and the object that cannot be read."""
    root = dataset_folder(config)
    chosen, places = _choose(root, config)
    raw = RawData(chosen)
    parts = {split: [_load(path) for path in paths] for split, paths in places.items()}
    raw.class_names = _merge_classes([part for split in ("train", "val", "test") for part in parts.get(split, ())])
    image_folders = _image_folders(root)
    for split, jsons in parts.items():
        raw.splits[split] = [
            image for part in jsons for image in _images(part, split, root, image_folders, raw.defects)
        ]
    return assemble(raw, root, config)


@dataclass
class _Json:
    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[Any, str]
    """Id -> name, in the order of the ids."""


def _choose(root: Path, config: CocoConfig) -> tuple[splits.Chosen, dict[str, list[Path]]]:
    """What the splits are called, and our name of a split -> its json files, without those that have to be drawn."""
    named = {"train": config.train_json, "val": config.val_json, "test": config.test_json}
    if config.train_json is not None:
        places = {split: [_named(root, split, name)] for split, name in named.items() if name is not None}
        return splits.Chosen(config.train_json, config.val_json, config.test_json), places
    for split in ("val", "test"):
        if named[split] is not None:
            raise UserError(f"dataset.{split}_json={named[split]}: give dataset.train_json as well.")
    found = _find(root)
    by_split = _by_split(found, root)
    chosen = splits.choose(by_split, config, lambda name: _labelled(by_split[name]))
    paths = {ours: [by_split[name]] for ours, name in (("val", chosen.val), ("test", chosen.test)) if name is not None}
    rest = [path for path in found if [path] not in paths.values()]
    return chosen, {"train": rest if chosen.train == splits.ALL else [by_split[chosen.train]], **paths}


def _labelled(path: Path) -> bool:
    """What is to be submitted to a server has images alone; what is no json is refused when it is read."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return True
    return not isinstance(content, dict) or bool(content.get("annotations"))


def _by_split(found: list[Path], root: Path) -> dict[str, Path]:
    by_split: dict[str, Path] = {}
    for path in found:
        split = _split_of(path, root)
        if split in by_split:
            raise UserError(
                f"{by_split[split]} and {path} are both of the split {split}: set dataset.{{train,val}}_json=…."
            )
        if split is not None:
            by_split[split] = path
    return by_split


def _named(root: Path, split: str, name: str) -> Path:
    if not (root / name).is_file():
        raise UserError(f"dataset.{split}_json={name}: {root / name} does not exist.")
    return root / name


def _find(root: Path) -> list[Path]:
    """Annotation files by their names: `instances_*` alone where there are any, as in the public COCO."""
    found = [path for path in layout.files(root) if path.suffix.lower() == ".json" and _may_be_coco(path, root)]
    instances = [path for path in found if path.stem.startswith("instances")]
    if not found:
        raise UserError(f"dataset.root={root}: no COCO json found. Looked for {LAYOUTS}; or set dataset.train_json=….")
    return instances or found


def _may_be_coco(path: Path, root: Path) -> bool:
    if path.stem.startswith(_NOT_BOXES):
        return False
    beside_images = path.name == "_annotations.coco.json"
    return beside_images or path.parent.name == "annotations" or path.parent == root


def _split_of(path: Path, root: Path) -> str | None:
    """`instances_train2017` -> `train2017`, `custom_val` -> `val`; else the name of a folder above."""
    words = re.split(r"[^A-Za-z0-9]+", path.stem)
    folders = path.relative_to(root).parts[-2::-1]
    return next((word for word in (*words, *folders) if word.lower() in splits.NAMES), None)


def _load(path: Path) -> _Json:
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable json file ({error}); export it again.") from error
    for part, keys in _FIELDS.items():
        items = content.get(part) if isinstance(content, dict) else None
        if not isinstance(items, list):
            raise UserError(f"{path}: has no list {part!r}, so it is no COCO annotation file for detection.")
        _check_fields(path, part, items, keys)
    if len({image["id"] for image in content["images"]}) < len(content["images"]):
        raise UserError(f"{path}: two images have the same id; export it again.")
    return _Json(path, content["images"], content["annotations"], _categories(path, content))


def _check_fields(path: Path, part: str, items: list[Any], keys: tuple[str, ...]) -> None:
    for number, item in enumerate(items):
        for key in keys:
            if not isinstance(item, dict) or key not in item:
                raise UserError(f"{path}: {part}[{number}] has no {key!r}.")


def _categories(path: Path, content: dict[str, Any]) -> dict[Any, str]:
    categories = sorted(content["categories"], key=lambda category: category["id"])
    used = {annotation["category_id"] for annotation in content["annotations"]}
    names = {
        item["id"]: str(item["name"]) for item in categories if item["id"] in used or not _is_root(item, categories)
    }
    if len(set(names.values())) < len(names) or len({item["id"] for item in categories}) < len(categories):
        raise UserError(f"{path}: two categories have the same id or name; each class needs its own.")
    return names


def _is_root(category: dict[str, Any], categories: list[dict[str, Any]]) -> bool:
    others = [other for other in categories if other is not category]
    return bool(others) and all(other.get("supercategory") == category["name"] for other in others)


def _merge_classes(parts: list[_Json]) -> list[str]:
    """The classes of the first json (train), then those that only the others know."""
    return list(dict.fromkeys(name for part in parts for name in part.categories.values()))


def _image_folders(root: Path) -> list[Path]:
    return sorted({path.parent for path in layout.files(root) if layout.is_image(path)})


def _images(
    part: _Json, split: str, root: Path, image_folders: list[Path], defects: list[Defect]
) -> Iterator[RawImage]:
    base = _base(part, root, image_folders)
    missing = [image["file_name"] for image in part.images if not (base / image["file_name"]).is_file()]
    check_missing(split, part.path, missing, len(part.images))
    where = relative_name(part.path, root)
    defects += [Defect("missing_image", f"{where}: {name}", "skipped image") for name in missing]
    raws = {image["id"]: RawImage(base / image["file_name"], where, size_wh=_size(image)) for image in part.images}
    for number, annotation in enumerate(part.annotations):
        _add(annotation, number, raws, part, defects)
    absent = set(missing)
    return (raws[image["id"]] for image in part.images if image["file_name"] not in absent)


def _base(part: _Json, root: Path, image_folders: list[Path]) -> Path:
    """The folder that `file_name` is relative to: that which holds most of some names; the json's own before others."""
    step = max(1, len(part.images) // _NUM_TRIED)
    names = [image["file_name"] for image in part.images[::step]]
    split = _split_of(part.path, root)
    same_split = [path for path in image_folders if split in path.relative_to(root).parts]
    candidates = [part.path.parent, *same_split, root, root / "images", *image_folders]
    return max(candidates, key=lambda base: sum((base / name).is_file() for name in names))


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    try:
        return int(image["width"]), int(image["height"])
    except (KeyError, TypeError, ValueError):
        return None


def _add(
    annotation: dict[str, Any], number: int, raws: dict[Any, RawImage], part: _Json, defects: list[Defect]
) -> None:
    place = f"annotation id {annotation['id']}" if "id" in annotation else f"annotations[{number}]"
    image = raws.get(annotation["image_id"])
    if image is None:
        where = f"{part.path.name}: {place}: image_id {annotation['image_id']}"
        defects.append(Defect("unknown_image", where, "dropped box"))
        return
    name = part.categories.get(annotation["category_id"])
    if name is None:
        raise UserError(f"{part.path}: {place}: category_id {annotation['category_id']} is not among the categories.")
    try:
        x, y, width, height = (float(value) for value in annotation["bbox"])
    except (TypeError, ValueError):
        raise UserError(
            f"{part.path}: {place}: bbox is {annotation['bbox']!r}; it must be four numbers: x, y, width, height."
        ) from None
    image.add(
        (x, y, x + width, y + height),
        name,
        place,
        crowd=_says(annotation, "iscrowd"),
        difficult=_says(annotation, "difficult") or _says(annotation, "ignore"),
        area=_area(annotation, f"{image.where}: {place}", defects),
    )


def _says(annotation: dict[str, Any], flag: str) -> bool:
    return annotation.get(flag) in (1, "1")  # some exporters write "0", which Python takes for true


def _area(annotation: dict[str, Any], where: str, defects: list[Defect]) -> float | None:
    """As written; None where there is none, or none that could be."""
    area = annotation.get("area")
    if area is None or (isinstance(area, int | float) and 0 < area < math.inf):
        return area
    defects.append(Defect("wrong_area", f"{where}: {area!r}", "used the box's area"))
    return None
