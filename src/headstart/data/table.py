"""The images of a split in a few arrays instead of thousands of objects.

The index of a large set lives in every process for as long as a run. As objects, COCO's 118,000 images are half a
gigabyte, of which each worker of a loader soon has a copy of its own: whoever looks at an object writes its count of
references. Arrays are shared for good.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import PIL.Image

from headstart.data.columns import Digests, Files, Readers, Texts, Windows
from headstart.data.images import FileImage
from headstart.data.types import AnnotatedImage

_PER_OBJECT = {
    "boxes_xyxy": np.float64,
    "labels": np.int64,
    "crowd": np.bool_,
    "difficult": np.bool_,
    "area": np.float64,
}


@dataclass(frozen=True, eq=False, repr=False)
class ImageTable(Sequence[AnnotatedImage]):
    """Images as columns. An element is made when it is asked for, with arrays of its own."""

    names: Texts
    sizes_wh: np.ndarray
    """(N, 2) int64."""
    ends: np.ndarray
    """(N,) int64: where the objects of each image end, in those of all."""
    objects: dict[str, np.ndarray]
    """`boxes_xyxy` (M, 4), `labels`, `crowd`, `difficult`, `area` (M,), as in `AnnotatedImage`."""
    _digests: Digests | Texts
    readers: Files | Readers | Windows
    """What reads each image, by its number."""

    @staticmethod
    def of(images: Iterable[AnnotatedImage]) -> ImageTable:
        """Of images one after another, none of which is kept; a table is itself."""
        if isinstance(images, ImageTable):
            return images
        building = _Building()
        for image in images:
            building.add(image)
        return building.table()

    @staticmethod
    def of_files(
        names: Sequence[str],
        files: Sequence[FileImage],
        digests: Sequence[str],
        sizes_wh: np.ndarray,
        counts: np.ndarray,
        objects: dict[str, np.ndarray],
    ) -> ImageTable:
        """Of columns; `counts` (N,) objects of each image. All files have one limit to their pixels."""
        texts = Texts.of([str(file.path) for file in files])
        orientations = np.array([file.orientation for file in files], dtype=np.uint8)
        limit = files[0].max_pixels if files else FileImage.max_pixels
        ends = counts.cumsum().astype(np.int64)
        readers = Files(texts, orientations, limit)
        return ImageTable(Texts.of(names), sizes_wh, ends, objects, Digests.of(Texts.of(digests)), readers)

    def __repr__(self) -> str:
        return f"<{len(self)} images>"

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> AnnotatedImage: ...
    @overload
    def __getitem__(self, index: slice) -> ImageTable: ...
    def __getitem__(self, index: int | slice) -> AnnotatedImage | ImageTable:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        number = range(len(self))[index]  # negative ones and IndexError as of any sequence
        width, height = self.sizes_wh[number].tolist()
        return AnnotatedImage(
            name=self.names[number],
            read=self.readers[number],
            size_wh=(width, height),
            digest=self._digests[number],
            **{name: column[self.rows(number)].copy() for name, column in self.objects.items()},
        )

    def rows(self, number: int) -> slice:
        """Those of an image's objects."""
        return slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))

    def owners(self) -> np.ndarray:
        """(M,) int64: the number of the image of each object."""
        return np.repeat(np.arange(len(self)), np.diff(self.ends, prepend=0))

    @property
    def digests(self) -> list[str]:
        return [self._digests[number] for number in range(len(self))]

    @property
    def ignore(self) -> np.ndarray:
        """(M,) bool, as in `AnnotatedImage`."""
        return self.objects["crowd"] | self.objects["difficult"]

    def take(self, indices: Iterable[int]) -> ImageTable:
        """The images of these numbers, 0 or more, in this order."""
        chosen = np.fromiter(indices, dtype=np.int64)
        counts = np.diff(self.ends, prepend=0)[chosen]
        ends = counts.cumsum()
        rows = np.arange(int(counts.sum())) + np.repeat(self.ends[chosen] - ends, counts)
        return ImageTable(
            self.names.take(chosen),
            self.sizes_wh[chosen],
            ends,
            {name: column[rows] for name, column in self.objects.items()},
            self._digests.take(chosen),
            self.readers.take(chosen),
        )


class _Building:
    """Columns that grow by an image at a time."""

    def __init__(self) -> None:
        self.texts = {name: (bytearray(), array("q")) for name in ("names", "digests", "paths")}
        self.sizes, self.ends, self.orientations = array("q"), array("q"), array("B")
        self.objects = {name: bytearray() for name in _PER_OBJECT}
        self.max_pixels: list[float] = []
        self.others: list[Callable[[], PIL.Image.Image]] = []
        """The readers of all images, from the first on that is not as those before."""

    def add(self, image: AnnotatedImage) -> None:
        self._add_reader(image.read)
        self._write("names", image.name)
        self._write("digests", image.digest)
        self.sizes.extend(image.size_wh)
        self.ends.append(len(image.labels) + (self.ends[-1] if self.ends else 0))
        for name, kind in _PER_OBJECT.items():
            self.objects[name] += np.ascontiguousarray(getattr(image, name), dtype=kind).tobytes()

    def _add_reader(self, reader: Callable[[], PIL.Image.Image]) -> None:
        if isinstance(reader, FileImage) and not self.others and self._fits(reader):
            self.max_pixels = [reader.max_pixels]
            self._write("paths", str(reader.path))
            self.orientations.append(reader.orientation)
            return
        if not self.others:
            files = self._files()
            self.others = [files[number] for number in range(len(self.ends))]
        self.others.append(reader)

    def _fits(self, reader: FileImage) -> bool:
        return type(reader) is FileImage and self.max_pixels in ([], [reader.max_pixels])

    def _write(self, name: str, text: str) -> None:
        block, ends = self.texts[name]
        block += text.encode("utf-8", "surrogatepass")
        ends.append(len(block))

    def _texts(self, name: str) -> Texts:
        block, ends = self.texts[name]
        return Texts(bytes(block), np.array(ends, dtype=np.int64))

    def _files(self) -> Files:
        limit = self.max_pixels[0] if self.max_pixels else FileImage.max_pixels
        return Files(self._texts("paths"), np.array(self.orientations, dtype=np.uint8), limit)

    def table(self) -> ImageTable:
        columns = {name: np.frombuffer(self.objects.pop(name), kind) for name, kind in _PER_OBJECT.items()}
        return ImageTable(
            self._texts("names"),
            np.array(self.sizes, dtype=np.int64).reshape(-1, 2),
            np.array(self.ends, dtype=np.int64),
            columns | {"boxes_xyxy": columns["boxes_xyxy"].reshape(-1, 4)},
            Digests.of(self._texts("digests")),
            Readers(tuple(self.others)) if self.others else self._files(),
        )
