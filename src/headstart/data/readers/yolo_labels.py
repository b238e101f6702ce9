"""Which label file belongs to which image, and which belong to none."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Sequence
from pathlib import Path

from headstart import limits
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import layout, tree
from headstart.data.readers.inside import Fence
from headstart.data.readers.layout import Key, relative_name
from headstart.errors import UserError

_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
_LABEL_FOLDERS = ("labels", "label")
_FEW = 0.1
"""Of the images without a label; fewer label files than this share have not lost these images."""


class Labels:
    """The label files below a folder, by their images.

    The last folder `images` of the path swapped for `labels`, then beside the image; `x.txt` or `x.jpg.txt`. Letter
    case does not matter where exactly one file fits.
    """

    def __init__(self, paths: Sequence[Path], fence: Fence, policy: Policy) -> None:
        root = fence.root
        self.root, self.fence, self.policy = root, fence, policy
        self._images = {path for path in paths if layout.is_image(path)}
        self._of: dict[Path, Path] = {}
        self._twice: set[Path] = set()
        texts = self._by_key([path for path in paths if path.suffix.lower() == ".txt"])
        self._match(texts)
        self._match_by_case(texts)
        used = {*self._of.values()} | self._twice
        homes = {path.parent for path in used}
        self.left = [
            path
            for path in texts.values()
            if path not in used and _is_label(path, path.parent in homes or _is_home(path.relative_to(root)))
        ]
        """Label files without an image."""
        for path in self.left:
            policy.report("label_without_image", relative_name(path, root))

    def of(self, image: Path) -> Path | None:
        """The label file; None: it has none."""
        if image in self._images:
            return self._of.get(image)
        found = next(
            (place for place in (_text(image, home) for home in _homes(image.parent)) if place.is_file()), None
        )
        return None if found is None else self.fence.check(found, f"{found}: the label file of {image}")

    def check_names(self, split: str, images: Sequence[Path]) -> None:
        """Where most images have no label, and labels have no image, their names have changed."""
        without = [path for path in images if self.of(path) is None]
        homes = {layout.split_of(layout.key(path, self.root)) for path in without if path.is_relative_to(self.root)}
        left = [path for path in self.left if layout.split_of(layout.key(path, self.root)) in {None, *homes}]
        if 2 * len(without) > len(images) and left and len(left) >= _FEW * len(without):
            raise UserError(
                f"{self.root}: {len(without)} of the {len(images)} images of the split {split} have no label file, "
                f"such as {relative_name(without[0], self.root)}, and {len(left)} label files have no image, such as "
                f"{relative_name(left[0], self.root)}. Give both the same names, or remove what does not belong."
            )

    def _by_key(self, texts: Sequence[Path]) -> dict[Key, Path]:
        found: dict[Key, Path] = {}
        for path in texts:
            _check_equal(found.setdefault(_key(path.relative_to(self.root).with_suffix("")), path), path)
        return found

    def _match(self, texts: dict[Key, Path]) -> None:
        for image in self._images:
            fits = [texts[key] for key in self._places(image) if key in texts]
            if fits:
                self._of[image] = fits[0]
                same = [path for path in fits[1:] if _is_label(path, False)]
                self._twice |= {path for path in same if _check_equal(fits[0], path)}

    def _match_by_case(self, texts: dict[Key, Path]) -> None:
        used = {*self._of.values()}
        lost = {key for key, path in texts.items() if path not in used}
        alone = {image: [*self._places(image)] for image in sorted(self._images) if image not in self._of}
        for number in range(4):
            by_place = {places[number]: image for image, places in alone.items() if len(places) > number}
            for key, place in layout.pair_by_case(sorted(lost), by_place).items():
                image = by_place[place]
                self._of.setdefault(image, texts[key])
                names = [relative_name(path, self.root) for path in (texts[key], image)]
                self.policy.report("other_case", " for ".join(names), names[1])
                lost.discard(key)
                alone.pop(image, None)

    def _places(self, image: Path) -> Iterator[Key]:
        relative = image.relative_to(self.root)
        for home in _homes(relative.parent):
            yield _key(home / relative.stem)
            yield _key(home / relative.name)


def place(image: Path) -> Path:
    """Where the label file of an image is looked for first."""
    return _text(image, next(_homes(image.parent)))


def _text(image: Path, home: Path) -> Path:
    return home / f"{image.stem}.txt"


def _homes(folder: Path) -> Iterator[Path]:
    """Where label files of the images in `folder` may be."""
    parts = folder.parts
    for i in reversed(range(len(parts))):
        if parts[i].lower() in _IMAGE_FOLDERS:
            yield Path(*parts[:i], "labels", *parts[i + 1 :])
            break
    yield folder


def _key(path: Path) -> Key:
    """The path, with known folders in small letters."""
    return (*(_known(part) for part in path.parts[:-1]), path.name)


def _known(folder: str) -> str:
    name = folder.lower()
    if name in _LABEL_FOLDERS:
        return "labels"
    return name if name in tree.ROLE_FOLDERS or name in splits.NAMES else folder


def _check_equal(one: Path, other: Path) -> bool:
    if one != other and not filecmp.cmp(one, other, shallow=False):
        raise UserError(f"{one} and {other} are both the label file of one image, and differ: remove one of them.")
    return True


def _is_home(path: Path) -> bool:
    return any(part.lower() in _LABEL_FOLDERS for part in path.parts[:-1])


def _is_label(path: Path, among_labels: bool) -> bool:
    """Five numbers or more in the first line; where there are labels, an empty file is one."""
    line = limits.first_line(path)
    return _is_numbers(line.split()) if line else among_labels


def _is_numbers(words: Sequence[str]) -> bool:
    try:
        return len([float(word) for word in words]) >= 5
    except ValueError:
        return False
