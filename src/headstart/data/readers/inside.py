"""Which paths may be opened: those that data name, and links among its files, must lead to somewhere inside the root.

What the user typed (`dataset.root`, `train_json`, `data_yaml`, …) is trusted, wherever it is; the root itself may be a
link. A stranger's list with `../../.ssh/id_rsa`, or a link to it, is refused before anything is opened: its text would
stand in messages, its pixels in reports. `dataset.on.outside_root=keep` trusts the data: pictures on another disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headstart.config.schema import FileDatasetConfig
from headstart.data.policy import Policy
from headstart.data.readers.raw import RawImage
from headstart.errors import UserError

KIND = "outside_root"
KEEP = f"dataset.on.{KIND}=keep"


@dataclass(frozen=True)
class Fence:
    """A folder, and whether what is in it may lead out of it."""

    root: Path
    open: bool = False

    @property
    def bound(self) -> Path:
        """The folder that links are followed within."""
        return Path(self.root.anchor or "/") if self.open else self.root

    def holds(self, path: Path) -> bool:
        """Whether what is really at `path` may be opened."""
        return self.open or is_inside(path, self.root)

    def check(self, path: Path, where: str) -> Path:
        """`path`; UserError, which names `where` it is written, where it must not be opened."""
        if not self.holds(path):
            leads = Path(os.path.realpath(path))
            raise UserError(
                f"{where}: leads to {leads}, out of the data set's folder {self.root}: it was not opened. Copy it into "
                f"the folder, set dataset.root to one that holds both, or, if you trust these files, {KEEP}."
            )
        return path


def fence(root: Path, config: FileDatasetConfig) -> Fence:
    return Fence(root, open=config.on.get(KIND) == "keep")


def report(fence: Fence, raws: Iterable[RawImage], policy: Policy) -> None:
    """Of every picture, before any is opened: whichever reader found it, and however."""
    folders: dict[Path, bool] = {}
    for raw in raws:
        folder = raw.path.parent
        if folder not in folders:
            folders[folder] = is_inside(folder, fence.root)
        if not folders[folder] or (raw.path.is_symlink() and not is_inside(raw.path, fence.root)):
            policy.report(KIND, f"{raw.where}: {fence.check(raw.path, raw.where)}")


def is_inside(path: Path, root: Path) -> bool:
    """After every link on the way was followed."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    except (OSError, ValueError):  # a path that no system can have
        return False
