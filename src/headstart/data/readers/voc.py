"""Pascal VOC xml, in the folder layouts of `layout.py`, with or without the lists of `ImageSets/Main`.

An image without an xml file is skipped: whether it shows nothing or was not annotated yet, nobody can tell; an xml
file without objects makes a negative. Objects marked `difficult` are neither learnt nor to be found.
Corners are read as written, 0-based, which is what labelImg and its like write; `one_based` is for the genuine
Pascal VOC sets, whose pixels count from 1 and whose last pixel belongs to the box (VOC development kit, 2.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from headstart.config.checks import dataset_folder
from headstart.config.schema import VocConfig
from headstart.data import images, splits
from headstart.data.readers import layout
from headstart.data.readers.common import RawData, RawImage, assemble, check_missing, relative_name
from headstart.data.readers.layout import Key
from headstart.data.types import Defect, DetectionData
from headstart.errors import UserError

LAYOUTS = (
    "JPEGImages/ + Annotations/ (+ ImageSets/Main/*.txt), images/ + annots/, images/<split>/ + annotations/<split>/, "
    "<split>/images/ + <split>/annotations/, or xml files beside the images"
)


def read(config: VocConfig) -> DetectionData:
    """Every split in use; UserError names the file and the object that cannot be read."""
    root = dataset_folder(config)
    found = _Files(root)
    raw = RawData(splits.choose(found.splits, config, found.labelled))
    for split, keys in found.keys_of(raw.chosen).items():
        raw.splits[split] = list(_read_split(split, keys, found, config, raw.defects))
    raw.class_names = sorted({name for raws in raw.splits.values() for image in raws for name in image.classes})
    return assemble(raw, root, config)


class _Files:
    """The images and xml files below a folder, and the splits they form."""

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = layout.files(root)
        self.xml = {layout.key(path, root): path for path in paths if path.suffix.lower() == ".xml"}
        self.images = self._images([path for path in paths if layout.is_image(path)])
        if not any(key in self.images for key in self.xml):
            raise UserError(
                f"dataset.root={root}: no image with an xml file of the same name ({len(self.xml)} xml files found). "
                f"Looked for {LAYOUTS}."
            )
        self.splits = self._lists(paths) or self._folders()

    def labelled(self, split: str) -> bool:
        return any(key in self.xml and key in self.images for key in self.splits[split])

    def keys_of(self, chosen: splits.Chosen) -> dict[str, list[Key]]:
        """Our name of a split -> what is in it; without those that have to be drawn."""
        names = {"val": chosen.val, "test": chosen.test}
        keys = {ours: self.splits[name] for ours, name in names.items() if name is not None}
        elsewhere = {key for part in keys.values() for key in part}
        everything = [key for key in self._everything() if key not in elsewhere]
        return {"train": everything if chosen.train == splits.ALL else self.splits[chosen.train], **keys}

    def _images(self, paths: list[Path]) -> dict[Key, Path]:
        found: dict[Key, Path] = {}
        for path in paths:
            key = layout.key(path, self.root)
            if key in found and key in self.xml:
                raise UserError(f"{self.xml[key]} belongs to two images, {found[key]} and {path}: remove one of them.")
            found[key] = path
        return found

    def _everything(self) -> list[Key]:
        """Annotations, and images in folders where there are annotations: others hold masks, icons and the like."""
        annotated = {key[:-1] for key in self.xml}
        return sorted({*self.xml, *(key for key in self.images if key[:-1] in annotated)})

    def _lists(self, paths: list[Path]) -> dict[str, list[Key]]:
        """ImageSets/Main/<split>.txt; lists of single classes (`cat_train.txt`) are no splits."""
        found: dict[str, list[Key]] = defaultdict(list)
        for path in paths:
            if path.suffix == ".txt" and path.parts[-3:-1] == ("ImageSets", "Main") and path.stem in splits.NAMES:
                base = layout.key(path.parents[2] / "any", self.root)[:-1]
                found[path.stem] += [self._listed(base, line) for _, line in layout.read_lines(path)]
        return {name: keys for name, keys in found.items() if keys}

    def _listed(self, base: Key, line: str) -> Key:
        """A line is a name, perhaps with blanks in it, and perhaps with a flag (-1, 0, 1) behind it."""
        whole = (*base, _stem(line))
        return whole if whole in self.images or whole in self.xml else (*base, _stem(line.split()[0]))

    def _folders(self) -> dict[str, list[Key]]:
        found: dict[str, list[Key]] = defaultdict(list)
        for key in self._everything():
            split = layout.split_of(key)
            if split is not None:
                found[split].append(key)
        return found


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in images.SUFFIXES else name


def _read_split(
    split: str, keys: list[Key], found: _Files, config: VocConfig, defects: list[Defect]
) -> Iterator[RawImage]:
    missing = ["/".join(key) for key in keys if key not in found.images]
    check_missing(split, found.root, missing, len(keys))
    defects += [Defect("missing_image", f"{name} ({split})", "skipped image") for name in missing]
    for key in (key for key in keys if key in found.images):
        if key in found.xml:
            where = relative_name(found.xml[key], found.root)
            yield _read_xml(found.xml[key], found.images[key], where, config.one_based)
        else:
            name = relative_name(found.images[key], found.root)
            defects.append(Defect("missing_annotation", name, "skipped image"))


def _read_xml(path: Path, image: Path, where: str, one_based: bool) -> RawImage:
    try:
        top = defusedxml.ElementTree.fromstring(path.read_bytes())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise UserError(
            f"{path}: not a readable xml file ({error}); correct it, or remove it and its image."
        ) from error
    raw = RawImage(image, where, size_wh=_size(top))
    for number, item in enumerate(top.iter("object"), start=1):
        place = f"object {number}"
        x1, y1, x2, y2 = (_corner(item, name, path, place) for name in ("xmin", "ymin", "xmax", "ymax"))
        name = (item.findtext("name") or "").strip()
        if not name:
            raise UserError(f"{path}: {place}: has no <name>; write its class there.")
        shift = 1 if one_based else 0
        difficult = (item.findtext("difficult") or "").strip() == "1"
        raw.add((x1 - shift, y1 - shift, x2, y2), name, place, difficult=difficult)
    return raw


def _corner(item: Element, name: str, path: Path, place: str) -> float:
    text = item.findtext(f"bndbox/{name}")
    try:
        return float(text or "")
    except ValueError:
        said = "is missing" if text is None else f"is {text!r}"
        raise UserError(f"{path}: {place}: bndbox/{name} {said}; it must be a number of pixels.") from None


def _size(top: Element) -> tuple[int, int] | None:
    try:
        return int(float(top.findtext("size/width") or "")), int(float(top.findtext("size/height") or ""))
    except ValueError:
        return None
