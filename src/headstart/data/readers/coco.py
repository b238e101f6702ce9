"""COCO json: `annotations/instances_<split>.json`, `<split>/_annotations.coco.json` (Roboflow), or one json alone.

Classes are the json's categories by id, those without objects included, whatever gaps the ids have. Left out, and
said, is what has no object and is no class: the background, and what Roboflow writes as category 0, the supercategory
of all others. Images without annotations are negatives. An object with `iscrowd` is a crowd; one with `difficult` or
`ignore`, which is where converters put VOC's `difficult`, is difficult (pycocotools reads neither key). `area` is taken
as it is written, if it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.config.checks import dataset_folder
from headstart.config.schema import CocoConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.coco_folders import Files, Search, index, kind_of, locate, why_missing
from headstart.data.readers.coco_json import CocoJson, is_coco, load, parse
from headstart.data.readers.common import assemble, check_missing
from headstart.data.readers.inside import Fence, fence
from headstart.data.readers.json_files import looks_like
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import RawData, RawImage
from headstart.data.readers.units import Form
from headstart.data.types import DetectionData
from headstart.errors import UserError

LAYOUTS = (
    "annotations/instances_<split>.json, annotations/*.json, <split>/_annotations.coco.json, or *.json in the root"
)
_NOT_BOXES = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")


class _Contents:
    """Each json read once, and only where it is needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[Path, Any] = {}

    def __getitem__(self, path: Path) -> Any:
        if path not in self._read:
            self._read[path] = load(path)
        return self._read[path]

    def may_be_coco(self, path: Path) -> bool:
        """What is no json at all may be a broken one of COCO: it is refused when it is read."""
        try:
            return is_coco(self[path])
        except UserError:
            return True

    def has_objects(self, path: Path) -> bool:
        """What is to be submitted to a server has images alone."""
        try:
            content = self[path]
        except UserError:
            return True
        return not isinstance(content, dict) or bool(content.get("annotations"))


def read(config: CocoConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the json and the object that cannot be read."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    contents = _Contents(root)
    raw = RawData(splits.Chosen("train"), policy=policy, form=Form.xywh)
    raw.chosen, places = _choose(root, config, contents, policy)
    parts = {split: [parse(path, contents[path], root, policy) for path in paths] for split, paths in places.items()}
    del contents  # hundreds of megabytes, perhaps
    _refuse_folders_without_effect(config, places)
    raw.class_names = _merge_classes([part for split in ("train", "val", "test") for part in parts.get(split, ())])
    raw.splits = _find_images(parts, fence(root, config), raw.chosen, config, policy)
    del parts
    _refuse_contradictions(raw.splits)
    return assemble(raw, root, config)


def _find_images(
    parts: dict[str, list[CocoJson]], bounds: Fence, chosen: splits.Chosen, config: CocoConfig, policy: Policy
) -> dict[str, list[RawImage]]:
    files = index(bounds)
    found: dict[str, list[RawImage]] = {}
    for split, jsons in parts.items():
        searches = [_search(part, split, bounds, files, chosen, config) for part in jsons]
        found[split] = [image for search in searches for image in _images(search, split, bounds.root, policy)]
    return found


def _choose(
    root: Path, config: CocoConfig, contents: _Contents, policy: Policy
) -> tuple[splits.Chosen, dict[str, list[Path]]]:
    """What the splits are called, and our name of a split -> its json files, without those that have to be drawn."""
    named = {"train": config.train_json, "val": config.val_json, "test": config.test_json}
    if config.train_json is not None:
        places = {split: [_named(root, split, name)] for split, name in named.items() if name is not None}
        return splits.Chosen(config.train_json, config.val_json, config.test_json), places
    for split in ("val", "test"):
        if named[split] is not None:
            raise UserError(f"dataset.{split}_json={named[split]}: give dataset.train_json as well.")
    found = _find(root, contents)
    by_split = _by_split(found, root)
    chosen = splits.choose(by_split, config, lambda name: contents.has_objects(by_split[name]))
    paths = {ours: [by_split[name]] for ours, name in (("val", chosen.val), ("test", chosen.test)) if name is not None}
    rest = [path for path in found if [path] not in paths.values()]
    if chosen.train != splits.ALL:
        for path in found:
            if path not in by_split.values():
                policy.report("unused_json", relative_name(path, root))
        return chosen, {"train": [by_split[chosen.train]], **paths}
    if len(rest) > 1 and config.train_split is None:
        raise UserError(_which_json(root, rest))
    return chosen, {"train": rest, **paths}


def _refuse_folders_without_effect(config: CocoConfig, places: dict[str, list[Path]]) -> None:
    for split in ("train", "val", "test"):
        name = getattr(config, f"{split}_images")
        if name is not None and split not in places:
            raise UserError(
                f"dataset.{split}_images={name}: no json of the data set is read as {split}, so the folder has no "
                f"effect. Name the json (dataset.train_json, {split}_json), or leave {split}_images out."
            )


def _which_json(root: Path, paths: list[Path]) -> str:
    listed = ", ".join(relative_name(path, root) for path in paths[:9])
    return (
        f"dataset.root={root}: {len(paths)} json files may be the annotations, and none has the name of a split: "
        f"{listed}. Say which: dataset.train_json=…, and dataset.val_json=…; or take all of them with "
        f"dataset.train_split={splits.ALL}."
    )


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


def _find(root: Path, contents: _Contents) -> list[Path]:
    """Annotation files by their names: `instances_*` alone where there are any, as in the public COCO."""
    named = [path for path in layout.files(root) if path.suffix.lower() == ".json" and _may_be_coco(path, root)]
    instances = [path for path in named if path.stem.startswith("instances")]
    found = [path for path in instances or named if contents.may_be_coco(path)]
    if not found:
        like = "".join(f" {relative_name(path, root)}: {looks_like(contents[path])}." for path in named[:3])
        raise UserError(
            f"dataset.root={root}: no COCO json found. Looked for {LAYOUTS}; or set dataset.train_json=….{like}"
            f"{formats.hint(layout.files(root), CocoConfig)}"
        )
    return found


def _may_be_coco(path: Path, root: Path) -> bool:
    if path.stem.startswith(_NOT_BOXES):
        return False
    beside_images = path.name == "_annotations.coco.json"
    return beside_images or path.parent.name.lower() == "annotations" or path.parent == root


def _split_of(path: Path, root: Path) -> str | None:
    """`instances_train2017` -> `train2017`, `custom_val` -> `val`; else the name of a folder above."""
    words = re.split(r"[^A-Za-z0-9]+", path.stem)
    folders = path.relative_to(root).parts[-2::-1] if path.is_relative_to(root) else ()
    return next((word for word in (*words, *folders) if word.lower() in splits.NAMES), None)


def _merge_classes(parts: list[CocoJson]) -> list[str]:
    """The classes of the first json (train), then those that only the others know."""
    return list(dict.fromkeys(name for part in parts for name in part.categories))


def _search(
    part: CocoJson, split: str, bounds: Fence, files: Files, chosen: splits.Chosen, config: CocoConfig
) -> Search:
    """In the folder that the setting names, or everywhere below the root."""
    root = bounds.root
    setting = f"dataset.{split}_images"
    ours = split if chosen.train != splits.ALL else None
    kind = kind_of(_split_of(part.path, root)) or ours
    name = getattr(config, f"{split}_images")
    if name is None:
        return Search(part, kind, root, files, setting, bounds, named=False)
    folder = root / name
    if not folder.is_dir():
        raise UserError(f"{setting}={name}: {folder} is no folder; name the one with the images of {part.where}.")
    own = Fence(folder, bounds.open)
    return Search(part, kind, folder, index(own), setting, own, named=True)


def _images(search: Search, split: str, root: Path, policy: Policy) -> Iterator[RawImage]:
    part = search.part
    paths, by_end = locate(search)
    pairs = [*zip(search.part.images, paths, strict=True)]
    missing = [image.file_name for image, path in pairs if path is None]
    if missing:
        check_missing(split, part.path, missing, len(part.images), why_missing(search, missing[0]))
    for name in missing:
        policy.report("missing_image", f"{part.where}: {name}", name)
    for number in by_end:
        found = relative_name(paths[number] or root, root)
        name = part.images[number].file_name
        policy.report(_how_it_differs(name, found), f"{part.where}: {name} is {found}", found)
    for raw, image, path in zip(part.raws, part.images, paths, strict=True):
        if path is not None:
            raw.path, raw.left_out = path, image.left_out
            yield raw


def _how_it_differs(name: str, found: str) -> str:
    same = layout.folded(Path(found).name) == layout.folded(Path(name.replace("\\", "/")).name)
    return "other_case" if same and Path(found).name not in name else "other_path"


def _refuse_contradictions(found: dict[str, list[RawImage]]) -> None:
    """One file with other objects in another split is another picture: its name alone is the same."""
    seen: dict[Path, tuple[str, RawImage]] = {}
    for split, raws in found.items():
        for raw in raws:
            other, first = seen.setdefault(raw.path, (split, raw))
            if other != split and first.objects() != raw.objects():
                raise UserError(
                    f"{raw.path}: described twice, in {first.where} ({other}) and {raw.where} ({split}), with "
                    f"different objects. If {split} has pictures of its own, name their folder, "
                    f"dataset.{split}_images=<folder>; else remove one of the two descriptions."
                )
