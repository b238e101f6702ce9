"""Pictures whose files were looked at, and all their boxes in one array."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from headstart.config.kinds import Action
from headstart.data import images, pictures
from headstart.data.images import FileImage, ImageFacts, UnreadableImage
from headstart.data.pictures import UndecodableImage
from headstart.data.policy import Policy
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import RawImage

_TOGETHER = 32
"""Files that a thread looks at in one go: handing over each by itself takes longer than looking."""


@dataclass(slots=True)
class Seen:
    """An image whose file was looked at."""

    raw: RawImage
    name: str
    file: FileImage
    size_wh: tuple[int, int]
    digest: str


def see(raws: Sequence[RawImage], root: Path, max_pixels: float, policy: Policy) -> Iterator[Seen]:
    """Pictures are decoded only where those that cannot be are to be left out."""
    decode = policy.action(UndecodableImage.kind) is Action.skip_image
    for raw, facts in zip(raws, _inspect_all([raw.path for raw in raws], max_pixels, decode), strict=True):
        name = relative_name(raw.path, root)
        if isinstance(facts, UnreadableImage):
            policy.report(facts.kind, f"{name}: {facts}", name)
            continue
        found = pictures.odd(facts, name, raw.size_wh, raw.depth)
        odd = [policy.report(kind, f"{name}: {what}", name) for kind, what in found]
        if Action.skip_image not in odd:
            orientation = images.choose_orientation(facts, raw.size_wh)
            size_wh = images.upright_size(facts.raw_size_wh, orientation)
            yield Seen(raw, name, FileImage(raw.path, orientation, max_pixels), size_wh, facts.digest)


def _inspect_all(paths: Sequence[Path], max_pixels: float, decode: bool) -> Iterator[ImageFacts | UnreadableImage]:
    parts = [paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER)]
    with ThreadPoolExecutor(8) as pool:  # mostly waiting for the disk
        for found in pool.map(partial(_inspect, max_pixels=max_pixels, decode=decode), parts):
            yield from found


def _inspect(paths: Sequence[Path], max_pixels: float, decode: bool) -> list[ImageFacts | UnreadableImage]:
    found: list[ImageFacts | UnreadableImage] = []
    for path in paths:
        try:
            facts = images.inspect(path, max_pixels)
            if decode:
                pictures.decoded(FileImage(path, 1, max_pixels))
            found.append(facts)
        except UnreadableImage as error:
            found.append(error)
    return found


class Boxes:
    """All boxes of some images, as written, in pixels."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self.seen = seen
        counts = [len(image.raw.classes) for image in seen]
        self.image = np.repeat(np.arange(len(seen)), counts)
        """(N,) number of the image among `seen`."""
        self.start = np.cumsum([0, *counts])
        """(images + 1,) numbers of each image's first box."""
        self.sizes_wh = np.array([image.size_wh for image in seen], dtype=np.float64).reshape(-1, 2)[self.image]
        """(N, 2) of the image of each."""
        written = array("d")
        for image in seen:
            written += image.raw.corners
        self.xyxy = np.array(written, dtype=np.float64).reshape(-1, 4)
        self.normalised = np.array([image.raw.normalised for image in seen], dtype=bool)[self.image]
        """(N,) whether the file has shares of width and height."""
        self.xyxy *= np.where(self.normalised[:, None], np.tile(self.sizes_wh, 2), 1)

    def image_of(self, number: int) -> Seen:
        return self.seen[self.image[number]]

    def class_of(self, number: int) -> str:
        return self.image_of(number).raw.classes[self._within(number)]

    def place(self, number: int) -> str:
        """File and object."""
        raw = self.image_of(number).raw
        return f"{raw.where}: {raw.places[self._within(number)]}"

    def described(self, number: int) -> str:
        """File, object, class and numbers."""
        box = ", ".join(f"{value:g}" for value in self.xyxy[number])
        return f"{self.place(number)}: {self.class_of(number)} ({box})"

    def _within(self, number: int) -> int:
        return number - int(self.start[self.image[number]])
