"""Pascal VOC xml, in the folder layouts of `layout.py`, with or without the lists of `ImageSets/Main`.

An xml file belongs to the image of the same name, with or without the image's suffix (`x.xml`, `x.jpg.xml`), or to the
one whose name differs in letter case alone. An image without one is skipped: whether it shows nothing or was not
annotated yet, nobody can tell; an xml file without objects makes a negative. Objects marked `difficult` are neither
learnt nor to be found.
Corners are read as written, 0-based, which is what labelImg and its like write; `one_based` is for the genuine
Pascal VOC sets, whose pixels count from 1 and whose last pixel belongs to the box (VOC development kit, 2.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from headstart import limits
from headstart.config.checks import dataset_folder
from headstart.config.schema import VocConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers.common import assemble, check_labelled, check_missing
from headstart.data.readers.inside import fence
from headstart.data.readers.layout import Key, relative_name
from headstart.data.readers.raw import RawData, RawImage
from headstart.data.readers.voc_files import VocFiles
from headstart.data.types import DetectionData
from headstart.errors import UserError


def read(config: VocConfig, policy: Policy | None = None) -> DetectionData:
    """Every split in use; UserError names the file and the object that cannot be read."""
    root, policy = dataset_folder(config), policy or Policy(config.on)
    found = VocFiles(fence(root, config), policy)
    raw = RawData(splits.choose(found.splits, config, found.labelled), policy=policy)
    for split, keys in found.keys_of(raw.chosen).items():
        raw.splits[split] = list(_read_split(split, keys, found, config, policy))
    raw.class_names = sorted({name for raws in raw.splits.values() for image in raws for name in image.classes})
    return assemble(raw, root, config)


def _read_split(split: str, keys: list[Key], found: VocFiles, config: VocConfig, policy: Policy) -> Iterator[RawImage]:
    missing = ["/".join(key) for key in keys if key not in found.images]
    check_missing(split, found.root, missing, len(keys))
    for name in missing:
        policy.report("missing_image", f"{name} ({split})", name)
    there = [key for key in keys if key in found.images]
    labelled = [key for key in there if key in found.xml]
    check_labelled(split, [found.images[key] for key in there], len(labelled), "an xml of the same name")
    for name in (relative_name(found.images[key], found.root) for key in there if key not in found.xml):
        policy.report("missing_annotation", name, name)
    strangers: list[str] = []
    for key in labelled:
        path, where = found.xml[key], relative_name(found.xml[key], found.root)
        top = _parse(path)
        if top.tag == "annotation":
            yield _read_xml(top, path, found.images[key], where, config.one_based)
        else:
            strangers.append(f"{path} begins with <{top.tag}>")
    if strangers:
        raise UserError(
            f"{strangers[0]}, where a Pascal VOC file has <annotation>, as do {len(strangers)} of the {len(labelled)} "
            f"xml files of the split {split}. Get them anew, or remove each together with its image."
        )


def _parse(path: Path) -> Element:
    """The root, with all names in small letters and without their namespaces."""
    try:
        content = limits.read_bytes(path, limits.LABEL_BYTES, "the xml file of one picture")
        top = defusedxml.ElementTree.fromstring(content, forbid_dtd=False)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # an encoding that there is not
        raise UserError(
            f"{path}: not a readable xml file ({error}); correct it, or remove it and its image."
        ) from error
    for element in top.iter():
        element.tag = str(element.tag).rpartition("}")[2].lower()
    return top


def _read_xml(top: Element, path: Path, image: Path, where: str, one_based: bool) -> RawImage:
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
    except (ValueError, OverflowError):
        return None
