"""The images of the splits that a file states."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from headstart.data.readers import layout, tree
from headstart.data.readers.inside import Fence
from headstart.data.readers.layout import Tails
from headstart.data.readers.yolo_source import KIND, Source
from headstart.errors import UserError


class Stated:
    """A data set's files, and what a `Source` says of them."""

    def __init__(self, source: Source, fence: Fence, paths: list[Path]) -> None:
        root = fence.root
        self.source, self.fence, self.root, self.paths = source, fence, root, paths
        self._base = source.path.parent if source.path else root
        self._where = source.path or root
        self._known: dict[str, list[Path]] = {}

    def images(self, split: str) -> list[Path]:
        """Of a folder, of a txt file with a path on each line, or of several of these."""
        if split not in self._known:
            values = self.source.splits[split]
            found = [image for value in values for image in self._images(self._place(value, split))]
            if not found:
                raise UserError(f"{self._where}: {split}: {', '.join(values)}: no image there.")
            if self.source.path is None:
                self._check_folders(split, found)
            self._known[split] = found
        return self._known[split]

    def _check_folders(self, split: str, images: list[Path]) -> None:
        """Lists that merely lie there may be older than the folders; `trainval` holds what is in either."""
        for path in images:
            folder = layout.split_of(layout.key(path, self.root)) if path.is_relative_to(self.root) else None
            if folder is not None and "trainval" not in (split, folder) and KIND[folder] != KIND[split]:
                raise UserError(
                    f"{path} lies in a folder {folder}, and {' and '.join(self.source.splits[split])} lists it for "
                    f"{split}: remove the list or correct it, or name the file that counts with dataset.data_yaml=…."
                )

    def _images(self, place: Path) -> Iterator[Path]:
        if place.is_dir():
            yield from (path for path in tree.walk(place, self.fence.bound).files if layout.is_image(path))
        else:
            yield from (self._listed(place, number, line) for number, line in layout.read_lines(place))

    def _place(self, value: str, split: str) -> Path:
        """`path` is often that of another machine, and Roboflow writes `../train/images` for `train/images`."""
        bases = (layout.join(self._base, self.source.base), self._base)
        near = value.replace("../", "")
        places = [layout.beside(value, *bases), layout.beside(near, self._base)]
        there = [place for place in places if place is not None]
        fits = [place for place in there if self.fence.holds(place)][:1]
        fits = fits or [path for path in self._tails.find(value) if path.suffix.lower() == ".txt"] or there[:1]
        if len(fits) > 1:
            raise UserError(f"{self._where}: {split}: {value} fits {fits[0]} and {fits[1]}; write the one it is.")
        if not fits:
            tried = [*(base / value for base in bases), self._base / near]
            names = ", ".join(str(path) for path in dict.fromkeys(tried))
            raise UserError(f"{self._where}: {split}: {value} does not exist (tried {names}); correct it there.")
        return self.fence.check(fits[0], f"{self._where}: {split}: {value}")

    def _listed(self, list_file: Path, number: int, line: str) -> Path:
        """A line is relative to the list's folder, or to the data set's, or the end of it names one file."""
        found = layout.beside(line, list_file.parent, self.root)
        is_file = found is not None and found.is_file()
        if found is not None and is_file and self.fence.holds(found):
            return found
        fits = self._tails.find(line)
        if len(fits) > 1:
            raise UserError(
                f"{list_file}:{number}: {line!r} fits {len(fits)} files, such as {fits[0]} and {fits[1]}; write the "
                "one it is."
            )
        if found is None or fits or not is_file:
            return fits[0] if fits else self.root / line
        return self.fence.check(found, f"{list_file}:{number}: {line!r}")

    @cached_property
    def _tails(self) -> Tails[Path]:
        return Tails((path.relative_to(self.root).parts, path) for path in self.paths)
