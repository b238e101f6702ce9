"""Pascal VOC xml, in the folder layouts of `layout.py`, with or without lists of the splits.

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
from xml.etree.ElementTree import Element

from headstart import limits
from headstart.config.checks import dataset_folder
from headstart.config.kinds import Action
from headstart.config.schema import VocConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import layout
from headstart.data.readers.common import assemble, check_labelled, check_missing
from headstart.data.readers.inside import fence
from headstart.data.readers.layout import Key, relative_name
from headstart.data.readers.raw import Malformed, RawData, RawImage
from headstart.data.readers.voc_files import VocFiles, named_by
from headstart.data.readers.xml_files import load
from headstart.data.types import DetectionData


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
    lost = [key for key in keys if key not in found.images]
    check_missing(split, found.root, ["/".join(key) for key in lost], len(keys))
    for key in lost:
        if key in found.xml:
            policy.report("label_without_image", relative_name(found.xml[key], found.root))
        else:
            policy.report("missing_image", found.listed.get(key, "/".join(key)), "/".join(key))
    there = [key for key in keys if key in found.images]
    labelled = [key for key in there if key in found.xml]
    without = [found.images[key] for key in there if key not in found.xml]
    check_labelled(split, [found.images[key] for key in there], len(labelled), "an xml of the same name")
    for name, image in ((relative_name(image, found.root), image) for image in without):
        if policy.report("missing_annotation", name, name) is Action.keep:
            yield RawImage(image, name)
    names = {path.name for path in found.images.values()}
    for key in labelled:
        image, where = found.images[key], relative_name(found.xml[key], found.root)
        own, raw = relative_name(image, found.root), RawImage(image, where)
        try:
            top = _parse(found.xml[key])
            raw.size_wh, raw.depth = _size(top), _depth(top)
            _read_objects(top, raw, own, config.one_based, policy)
            _check_filename(top, raw, own, names, policy)
        except Malformed as error:
            raw.take(policy.report("malformed_file", f"{where}: {error}", own))
        yield raw


def _parse(path: Path) -> Element:
    top = load(path, limits.LABEL_BYTES, "the xml file of one picture")
    if top.tag != "annotation":
        cvat = " (CVAT's own: dataset=cvat_folder)" if top.tag == "annotations" else ""
        raise Malformed(f"begins with <{top.tag}>{cvat}, where a Pascal VOC file has <annotation>")
    return top


def _read_objects(top: Element, raw: RawImage, image: str, one_based: bool, policy: Policy) -> None:
    for number, item in enumerate(top.iter("object"), start=1):
        place = f"object {number}"
        try:
            x1, y1, x2, y2 = (_corner(item, name) for name in ("xmin", "ymin", "xmax", "ymax"))
            name = (item.findtext("name") or "").strip()
            if not name:
                raise Malformed("has no <name>; write its class there")
        except Malformed as error:
            raw.take(policy.report("malformed_object", f"{raw.where}: {place}: {error}", image))
            continue
        shift = 1 if one_based else 0
        difficult = (item.findtext("difficult") or "").strip() == "1"
        raw.add((x1 - shift, y1 - shift, x2, y2), name, place, difficult=difficult)


def _corner(item: Element, name: str) -> float:
    text = item.findtext(f"bndbox/{name}")
    try:
        return float(text or "")
    except ValueError:
        said = "is missing" if text is None else f"is {text!r}"
        raise Malformed(f"bndbox/{name} {said}; it must be a number of pixels") from None


def _check_filename(top: Element, raw: RawImage, image: str, names: set[str], policy: Policy) -> None:
    """Many a program writes a path, of its own machine, or a name from before a renaming, which says nothing."""
    said = named_by(top)
    if said in ("", raw.path.name):
        return
    where = f"{raw.where}: <filename> {said} for {raw.path.name}"
    if layout.stem(said) == layout.stem(raw.path.name):
        raw.take(policy.report("wrong_suffix", where, image))
    elif said in names:
        raw.take(policy.report("wrong_filename", where, image))


def _size(top: Element) -> tuple[int, int] | None:
    try:
        return int(float(top.findtext("size/width") or "")), int(float(top.findtext("size/height") or ""))
    except (ValueError, OverflowError):
        return None


def _depth(top: Element) -> int | None:
    """Of one digit: others are no number of channels."""
    text = (top.findtext("size/depth") or "").strip()
    return int(text) if text in "123456789" and text else None
