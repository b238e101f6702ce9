"""Pictures whose files were looked at, and all their boxes in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from headstart.data import images
from headstart.data.images import FileImage, ImageFacts, UnreadableImage
from headstart.data.policy import Policy
from headstart.data.readers.layout import relative_name
from headstart.data.readers.raw import RawImage


@dataclass
class Seen:
    """An image whose file was looked at."""

    raw: RawImage
    name: str
    file: FileImage
    size_wh: tuple[int, int]
    digest: str


def see(raws: Sequence[RawImage], root: Path, max_pixels: float, policy: Policy) -> Iterator[Seen]:
    for raw, facts in zip(raws, _inspect_all([raw.path for raw in raws], max_pixels), strict=True):
        name = relative_name(raw.path, root)
        if isinstance(facts, UnreadableImage):
            policy.report("unreadable_image", f"{name}: {facts}", name)
        else:
            orientation = images.choose_orientation(facts, raw.size_wh)
            size_wh = images.upright_size(facts.raw_size_wh, orientation)
            yield Seen(raw, name, FileImage(raw.path, orientation, max_pixels), size_wh, facts.digest)


def _inspect_all(paths: Sequence[Path], max_pixels: float) -> Iterable[ImageFacts | UnreadableImage]:
    with ThreadPoolExecutor(8) as pool:  # mostly waiting for the disk
        yield from pool.map(partial(_inspect, max_pixels=max_pixels), paths)


def _inspect(path: Path, max_pixels: float) -> ImageFacts | UnreadableImage:
    try:
        return images.inspect(path, max_pixels)
    except UnreadableImage as error:
        return error


class Boxes:
    """All boxes of some images, as written, in pixels."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self.seen = seen
        counts = [len(image.raw.boxes_xyxy) for image in seen]
        self.image = np.repeat(np.arange(len(seen)), counts)
        """(N,) number of the image among `seen`."""
        self.start = np.cumsum([0, *counts])
        """(images + 1,) numbers of each image's first box."""
        self.sizes_wh = np.array([image.size_wh for image in seen], dtype=np.float64).reshape(-1, 2)[self.image]
        """(N, 2) of the image of each."""
        written = [box for image in seen for box in image.raw.boxes_xyxy]
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
