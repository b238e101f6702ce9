"""Fetches the public data sets: checked, resumable, and never half there.

Everything happens in `<root>.download/` beside the data set's folder: archives arrive as `.part` files, are checked,
then unpacked there, and only a complete data set is renamed to `root`. Whatever interrupts it, the next call goes on
where the last one was: an archive from its last byte, unpacking from its start.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import lzma
import os
import shutil
import tarfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headstart import limits
from headstart.errors import UserError

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """A published file, pinned."""

    url: str
    num_bytes: int
    checksum: str
    """`md5:…` or `sha256:…`."""

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"  # its certificate is not for this name; the checksums make up for it

PUBLIC_SETS: dict[str, tuple[Archive, ...]] = {
    "voc2007": (
        Archive(f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", 460_032_000, "md5:c52e279531787c972589f7e41ab4ae64"),
        Archive(f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", 451_020_800, "md5:b6e924de25625d8de591ea690078ad9f"),
    ),
    "voc2012": (
        Archive(f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", 1_999_639_040, "md5:6cd6e144f989b92b3379bac3b3de84fd"),
    ),
    "coco2017": (
        Archive(
            f"{_COCO}/annotations/annotations_trainval2017.zip",
            252_907_541,
            "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
        Archive(
            f"{_COCO}/zips/val2017.zip",
            815_585_330,
            "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ),
        Archive(
            f"{_COCO}/zips/train2017.zip",
            19_336_861_798,
            "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ),
    ),
}
PUBLIC_SETS["voc0712"] = PUBLIC_SETS["voc2007"] + PUBLIC_SETS["voc2012"]  # each unpacks below VOCdevkit/VOC<year>
"""Neither project publishes checksums. VOC's are those of torchvision.datasets.VOCDetection; COCO's, and all sizes,
those of TensorFlow Datasets (url_checksums/coco.txt, voc.txt)."""


def fetch(url_set: str | None, root: Path) -> None:
    """Makes `root` hold the public data set; does nothing where `root` holds files already.

    Raises UserError without network (saying which file to put where), for a wrong checksum, and for a full disk.
    """
    if url_set not in PUBLIC_SETS:
        raise UserError(
            f"dataset.url_set={url_set}: dataset.download=true fetches only {', '.join(sorted(PUBLIC_SETS))}."
        )
    if root.is_dir() and any(root.iterdir()):
        return
    staging = root.with_name(f"{root.name}.download")
    try:
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{staging}: cannot be made ({error}); choose another place with dataset.root=….") from error
    archives = PUBLIC_SETS[url_set]
    _check_space(archives, staging)
    for archive in archives:
        _fetch_archive(archive, staging, root)
    _unpack([staging / archive.filename for archive in archives], staging / "unpacked", root)
    shutil.rmtree(staging)


def _check_space(archives: tuple[Archive, ...], staging: Path) -> None:
    """The archives and what is in them, which is about as large: pictures do not shrink further."""
    here = sum(path.stat().st_size for path in staging.iterdir() if path.is_file())
    needed = 2 * sum(archive.num_bytes for archive in archives) - here
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise UserError(
            f"{staging}: the download needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, "
            "or choose another disk with dataset.root=…."
        )


def _fetch_archive(archive: Archive, staging: Path, root: Path) -> None:
    target = staging / archive.filename
    part = staging / f"{archive.filename}.part"
    if target.exists():  # from an earlier call, or put there by hand
        part = target
    else:
        _transfer(archive, part, target, root)
    problem = _problem(archive, part)
    if problem is not None:
        part.unlink()
        raise UserError(f"{archive.url}: {problem}; the file was removed. Run again to fetch it anew.")
    part.replace(target)


def _transfer(archive: Archive, part: Path, target: Path, root: Path) -> None:
    failures = 0
    while (before := _num_bytes(part)) < archive.num_bytes:
        reason: Exception = ConnectionError("the connection closed early")
        try:
            _receive(archive, part)
        except (OSError, http.client.HTTPException) as error:
            reason = error
        failures = 0 if _num_bytes(part) > before else failures + 1
        if failures == _ATTEMPTS:
            raise UserError(
                f"{archive.url} cannot be fetched ({reason}). Run again to go on from byte {_num_bytes(part)}; or "
                f"fetch it on another machine ({archive.num_bytes} bytes, {archive.checksum}) and put it at {target}; "
                f"or unpack the data set to {root} yourself."
            ) from reason
        time.sleep(failures)


def _receive(archive: Archive, part: Path) -> None:
    """Appends what is missing; a server that cannot continue sends everything, and the file starts anew."""
    have = _num_bytes(part)
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
        with part.open("ab" if continues else "wb") as file:
            _copy(response, file, archive)


def _copy(response: http.client.HTTPResponse, file: BinaryIO, archive: Archive) -> None:
    steps = file.tell() * 20 // archive.num_bytes
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        if file.tell() * 20 // archive.num_bytes > steps:
            steps = file.tell() * 20 // archive.num_bytes
            _log.info("%s: %d %% of %.0f MB", archive.filename, 5 * steps, archive.num_bytes / 1e6)


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _problem(archive: Archive, path: Path) -> str | None:
    if _num_bytes(path) != archive.num_bytes:
        return f"has {_num_bytes(path)} bytes instead of {archive.num_bytes}"
    algorithm, _, expected = archive.checksum.partition(":")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    return None if actual == expected else f"has the {algorithm} {actual} instead of {expected}"


def _unpack(archives: list[Path], folder: Path, root: Path) -> None:
    """Into `folder`, and from there in one step to `root`."""
    if folder.exists():  # an earlier call was interrupted
        shutil.rmtree(folder)
    folder.mkdir()
    for archive in archives:
        _log.info("unpacking %s", archive.name)
        _unpack_one(archive, folder)
    if root.is_dir():  # empty, or `fetch` had returned
        root.rmdir()
    os.replace(folder, root)


def _unpack_one(archive: Path, folder: Path) -> None:
    """All or nothing of it: what each member claims is looked at before the first one is written."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _check_members(archive, folder, ((item.filename, item.file_size) for item in zipped.infolist()))
                zipped.extractall(folder)  # links are written as files
            return
        with tarfile.open(archive) as file:
            _check_members(archive, folder, map(_claimed, file))
            file.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{archive}: {error}; the data set was not unpacked.") from error


def _claimed(member: tarfile.TarInfo) -> tuple[str, int]:
    """(name, bytes); no public set has anything but files and folders."""
    if not (member.isfile() or member.isdir()):
        raise ValueError(f"{member.name} is a link or a device")
    return member.name, member.size


def _check_members(archive: Path, folder: Path, members: Iterable[tuple[str, int]]) -> None:
    """One by one, so that what is packed a thousandfold is not unpacked to be counted."""
    most = max(limits.ARCHIVE_FREE, limits.ARCHIVE_GROWTH * archive.stat().st_size)
    num_bytes = 0
    for count, (name, size) in enumerate(members, start=1):
        num_bytes += size
        if count > limits.ARCHIVE_MEMBERS or num_bytes > most:
            raise ValueError(f"holds {count:,} files of {num_bytes:,} bytes or more, too much for what it is")
        parts = Path(name.replace("\\", "/")).parts
        if ".." in parts or "\0" in name or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{name} would be unpacked outside of {folder}")
