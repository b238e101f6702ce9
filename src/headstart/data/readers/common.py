"""What the readers share: from what a file says to an `AnnotatedImage`, with a defect for everything mended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from headstart.config.kinds import DONE, Action
from headstart.config.schema import FileDatasetConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import classes, inside, tree, unused
from headstart.data.readers.annotate import annotate
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import RawData, RawImage
from headstart.data.readers.seen import see
from headstart.data.table import ImageTable
from headstart.data.types import DetectionData
from headstart.errors import UserError


def assemble(raw: RawData, root: Path, config: FileDatasetConfig) -> DetectionData:
    """Looks at every image file, mends the boxes, keeps the splits apart, and draws those that there are not."""
    splits.check_shares(raw.chosen, config)
    policy = raw.policy
    bounds = inside.fence(root, config)
    tree.report(root, policy, bounds.bound)
    inside.report(bounds, [raw for raws in raw.splits.values() for raw in raws], policy)
    policy.check()
    class_names = _class_names(raw, config)
    index = {name: label for label, name in enumerate(class_names)}
    tables: dict[str, ImageTable] = {}
    for split, raws in raw.splits.items():
        seen = list(see(_once(raws, policy, root), root, config.max_pixels, policy))
        tables[split] = annotate(split, seen, index, raw.form, policy, config.min_side)
    if raw.chosen.unlabelled is not None:
        policy.report("unlabelled_test", f"the split {raw.chosen.unlabelled}")
    classes.report_names(class_names, policy)
    policy.check()
    for split in tables:
        _check_left(split, tables, policy, root)
    tables, twice = splits.apart(tables, config.overlap)
    read, origin = splits.complete(tables, raw.chosen, config)
    all_raws = [image for raws in raw.splits.values() for image in raws]
    described = {image.where for image in all_raws} | raw.broken
    has_splits = raw.chosen.train != splits.ALL
    left = unused.find(bounds, [image.path for image in all_raws], described, has_splits)
    return DetectionData(config.name, tuple(class_names), read, (*policy.defects, *twice), origin, left)


def check_missing(split: str, where: Path, missing: Sequence[str], total: int, hint: str = "") -> None:
    """Some images may be missing; when more than half are, the annotations belong to other files."""
    if 2 * len(missing) > total:
        raise UserError(
            f"{where}: {len(missing)} of the {total} images of the split {split} are not there, such as "
            f"{missing[0]}. Put the images where the annotations say, or export the annotations again: images with "
            f"similar names may be other pictures, with other boxes, and are not guessed.{hint}"
        )


_INSTEAD = {
    "train": "",
    "val": f", or draw it from the training images with dataset.val_split={splits.NONE}",
    "test": f", or measure none with dataset.test_split={splits.NONE}",
}


def check_labelled(split: str, images: Sequence[Path], num_labelled: int, looked_for: str) -> None:
    """Where nothing of a split is labelled, its images are no negatives: their labels are missing."""
    if images and not num_labelled:
        raise UserError(
            f"{images[0].parent}: no image of the split {split} has a label file; there are {len(images)} images, and "
            f"{looked_for} was looked for, and so on. Put the label files there, or name another split with "
            f"dataset.{split}_split=<name>{_INSTEAD[split]}."
        )


def _class_names(raw: RawData, config: FileDatasetConfig) -> list[str]:
    """The found ones, or those of the configuration, which must hold every class that occurs."""
    names = list(config.class_names) or raw.class_names
    if len(set(names)) < len(names):
        raise UserError(f"dataset.class_names: a name stands twice in {names}; each class needs a name of its own.")
    known = set(names)
    for image in (image for raws in raw.splits.values() for image in raws if not known.issuperset(image.classes)):
        for name, place in zip(image.classes, image.places, strict=True):
            if name not in known:
                raise UserError(
                    f"{image.where}: {place}: class {name!r} is not in dataset.class_names=[{', '.join(names)}]; "
                    "add it there, or leave dataset.class_names out."
                )
    if not names:
        raw.policy.check()  # why there is none
        raise UserError(f"dataset.root={config.root}: no object in any annotation, so there is no class to learn.")
    return names


def _once(raws: Sequence[RawImage], policy: Policy, root: Path) -> list[RawImage]:
    """Each picture once, without those that are left out."""
    found: dict[Path, list[RawImage]] = defaultdict(list)
    for raw in raws:
        found[raw.path].append(raw)
    return [described[0] for described in found.values() if _is_used(described, policy, root)]


def _is_used(described: Sequence[RawImage], policy: Policy, root: Path) -> bool:
    """Of all descriptions of a picture: where they differ, all but one would be lost."""
    first, *others = described
    name = relative_name(first.path, root)
    if any(raw.left_out for raw in described):
        return False
    if any(raw.objects() != first.objects() for raw in others):
        where = f"{name} in {' and '.join(raw.where for raw in described)}"
        return policy.report("described_twice", where, name) is not Action.skip_image
    for raw in others:
        policy.report("listed_twice", f"{name} in {raw.where}", name)
    return True


def _check_left(split: str, tables: Mapping[str, ImageTable], policy: Policy, root: Path) -> None:
    """UserError where a split has no picture left, which names the settings that emptied it."""
    if len(tables[split]):
        return
    elsewhere = {name for table in tables.values() for name in table.names}
    left_out = DONE[Action.skip_image]
    counts = Counter(one.kind for one in policy.defects if one.action == left_out and one.image not in elsewhere)
    why = ", ".join(f"{count} by dataset.on.{kind}={Action.skip_image.value}" for kind, count in counts.items())
    left = (
        f": left out are {why}. Correct these, choose another action (docs/defects.md)" if why else ". Put some there"
    )
    raise UserError(
        f"{root}: the split {split} holds no image{left}, or name another split with "
        f"dataset.{split}_split=<name>{_INSTEAD[split]}."
    )
