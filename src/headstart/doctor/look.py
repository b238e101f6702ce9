"""Every picture decoded, in parallel: which cannot be, and which of two splits are nearly the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations, islice

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headstart.data import alike, pictures
from headstart.data.alike import Look
from headstart.data.pictures import UndecodableImage
from headstart.data.policy import Policy
from headstart.data.types import AnnotatedImage, DetectionData
from headstart.say import console

_AT_ONCE = 256


def examine(data: DetectionData, policy: Policy, progress: bool) -> DetectionData:
    """`data` without the pictures that cannot be decoded; those and near equal ones are reported to `policy`."""
    total = sum(map(len, data.splits.values()))
    columns = (TextColumn("Decoding pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    good: dict[str, list[AnnotatedImage]] = {}
    looks: dict[str, list[Look]] = {}
    with Progress(*columns, console=console, transient=True, disable=not progress) as bar:
        task = bar.add_task("", total=total)
        for split, images in data.splits.items():
            good[split], looks[split] = [], []
            for image, look in _looks(images):
                bar.advance(task)
                if isinstance(look, UndecodableImage):
                    policy.report(look.kind, f"{image.name}: {look}", image.name)
                else:
                    good[split].append(image)
                    looks[split].append(look)
    _report_near_equal(good, looks, policy)
    return replace(data, splits=good)


def _looks(images: Sequence[AnnotatedImage]) -> Iterator[tuple[AnnotatedImage, Look | UndecodableImage]]:
    """In their order; threads do, for decoders let others run meanwhile."""
    remaining = iter(images)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while some := list(islice(remaining, _AT_ONCE)):  # a pool would take them all at once
            yield from zip(some, pool.map(_look, some), strict=True)


def _look(image: AnnotatedImage) -> Look | UndecodableImage:
    try:
        return alike.look(pictures.decoded(image.read))
    except UndecodableImage as error:
        return error


def _report_near_equal(images: dict[str, list[AnnotatedImage]], looks: dict[str, list[Look]], policy: Policy) -> None:
    for one, other in combinations(images, 2):
        for i, j in alike.pairs(looks[one], looks[other]):
            first, second = images[one][i], images[other][j]
            policy.report("near_equal", f"{first.name} ({one}) and {second.name} ({other})", first.name)
