"""Where a run's pictures are kept: the same batches from everywhere, and what `auto` stands for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from headstart.config.schema import AugmentConfig, Cache, DatasetConfig
from headstart.data import keeping
from headstart.data.batch import Batch
from headstart.data.canvases import Canvases, Padding
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.keeping import Keeping, Place, keep
from headstart.data.mapped import MappedFile
from headstart.data.objects import padded_rows
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, DetectionData, Size
from headstart.errors import UserError
from tests.data.test_blocks import target
from tests.data.test_mapped import picture

SIZE = Size(32, 40)
CANVASES = Canvases(((40, 40),))


def shown(number: int) -> AnnotatedImage:
    """With `number` objects."""
    image = picture(number)
    boxes = torch.rand(number, 2, generator=torch.Generator().manual_seed(number)).double() * 20
    objects = {"labels": boxes.new_zeros(number).long(), "area": boxes.new_ones(number)}
    no = {name: boxes.new_zeros(number).bool() for name in ("crowd", "difficult")}
    columns = {"boxes_xyxy": torch.cat([boxes, boxes + 3], dim=1), **objects, **no}
    return AnnotatedImage(**{**vars(image), **{name: column.numpy() for name, column in columns.items()}})


def splits(num_train: int = 10) -> dict[str, ImageTable]:
    return {"train": ImageTable.of(map(shown, range(num_train))), "val": ImageTable.of(map(shown, (3, 11, 5)))}


def module(kind: Cache, folder: Path | None = None, **settings: Any) -> DetectionDataModule:
    data = DetectionData("d", ("a",), {**splits()})
    given = {"min_size": 32, "max_size": 40, "batch_size": 4, "num_workers": 0, "cache": kind, **settings}
    config = DatasetConfig(name="d", **given)
    place = Place(folder=folder, padding=Padding(16))
    return DetectionDataModule(data, describe(data, config), config, AugmentConfig(name="none"), 0, place)


def epoch(data: DetectionDataModule) -> list[Batch]:
    return [*data.train_dataloader(), *data.val_dataloader()]


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.images, batch.sizes_hw, *vars(batch.targets).values()]


@pytest.fixture(scope="module")
def expected() -> list[Batch]:
    return epoch(module(Cache.none))


@pytest.mark.parametrize("kind", ["auto", "memory", "disk", "disk, two workers", "none, two workers", "device"])
def test_batches_of_every_cache_are_those_of_none_bit_for_bit(expected: list[Batch], tmp_path: Path, kind: str) -> None:
    name, _, workers = kind.partition(", ")
    data = module(Cache.auto if name == "device" else Cache(name), tmp_path, num_workers=2 if workers else 0)
    if name == "device":  # on a CPU for want of a GPU
        data.keeping = Keeping(**{**vars(data.keeping), "kind": Cache.device})
    for batch, same in zip(epoch(data), expected, strict=True):
        assert [*batch.frames] == [*same.frames]
        assert all(torch.equal(a, b) for a, b in zip(tensors(batch), tensors(same), strict=True))
    assert len([*tmp_path.glob("*.pixels")]) == 2 * (name == "disk")


def test_batches_hold_what_their_images_alone_show(expected: list[Batch]) -> None:
    """No order by aspect: a batch of lying and standing pictures lies on the canvas that holds both."""
    assert {tuple(batch.images.shape[-2:]) for batch in expected} <= {(32, 48), (48, 32), (48, 48)}
    assert any(tuple(batch.images.shape[-2:]) == (48, 48) for batch in expected)
    for batch in expected[-1:]:
        for (pixels, found), image in zip(batch.per_image(), splits()["val"], strict=True):
            alone = target(image, found.image_id, SIZE)
            assert tuple(pixels.shape[-2:]) == alone.image_hw == found.image_hw
            assert torch.equal(found.boxes_xyxy, alone.boxes_xyxy)


def test_rows_are_those_of_train_unless_another_split_has_more(expected: list[Batch]) -> None:
    """Train has nine objects at most, val eleven; a run of fewer pictures has as many rows throughout."""
    assert padded_rows(splits()["train"]) == padded_rows(splits()["val"]) == 16
    assert {batch.targets.present.shape[1] for batch in expected} == {16}
    data = DetectionData("d", ("a",), splits(8))
    config = DatasetConfig(name="d", min_size=32, max_size=40, batch_size=4)
    fewer = DetectionDataModule(data, describe(data, config), config, AugmentConfig(name="none"), 0)
    rows = [
        next(iter(loader)).targets.present.shape[1] for loader in (fewer.train_dataloader(), fewer.val_dataloader())
    ]
    assert rows == [8, 16]


@pytest.mark.parametrize(
    ("kind", "workers", "effect"),
    [(Cache.memory, 2, False), (Cache.auto, 2, False), (Cache.none, 2, True), (Cache.disk, 2, True)],
)
def test_workers_that_would_have_nothing_to_read_are_not_started_and_that_is_said(
    tmp_path: Path, kind: Cache, workers: int, effect: bool
) -> None:
    """So what lies in memory is there once."""
    data = module(kind, tmp_path, num_workers=workers)
    assert data.train_dataloader().num_workers == workers * effect
    said = [line for line in data.report() if "dataset.num_workers=2 has no effect" in line]
    assert len(said) == (not effect)


def test_what_it_came_to_is_said_and_recorded(tmp_path: Path) -> None:
    data = module(Cache.auto, tmp_path)
    assert data.report()[0] == "Canvases: 32 x 48, 48 x 32, 48 x 48"
    assert data.report()[1].startswith("Cache: memory, ")
    assert data.resolved() == {"cache": "memory", "canvases": "32 x 48, 48 x 32, 48 x 48"}


# ----------------------------------------------------------------------------------------------- what auto is


def kept(kind: Cache, place: Place, limit_gib: float = 20.0, cache_dir: Path | None = None) -> Keeping:
    folder = str(cache_dir) if cache_dir else None
    config = DatasetConfig(name="d", cache=kind, cache_limit_gib=limit_gib, cache_dir=folder)
    return keep(splits(), SIZE, CANVASES, config, place)


IN_MEMORY = 13 * 3 * 40 * 40


def test_auto_is_memory_up_to_a_gib_then_disk_up_to_its_limit_then_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keeping.LIMIT_BYTES == 2**30
    place = Place(folder=tmp_path)
    monkeypatch.setattr(keeping, "LIMIT_BYTES", IN_MEMORY)
    assert kept(Cache.auto, place).kind is Cache.memory
    monkeypatch.setattr(keeping, "LIMIT_BYTES", IN_MEMORY - 1)
    assert kept(Cache.auto, place).kind is Cache.disk
    assert kept(Cache.auto, Place()).kind is Cache.none  # without a folder
    assert kept(Cache.memory, place).kind is Cache.memory
    files = [MappedFile.of(images, SIZE, tmp_path) for images in splits().values()]
    on_disk = sum(file.num_bytes for file in files) / 2**30
    assert kept(Cache.auto, place, on_disk).kind is Cache.disk
    none = kept(Cache.auto, place, on_disk * 0.99)
    assert none.kind is Cache.none
    assert "dataset.cache_limit_gib" in none.words


def test_what_lies_on_disk_already_needs_no_room(tmp_path: Path) -> None:
    before = kept(Cache.disk, Place(folder=tmp_path))
    assert before.words.endswith("of it to be written")
    for split, images in splits().items():
        before.pictures(images, split)
    assert kept(Cache.disk, Place(folder=tmp_path), limit_gib=0).words.endswith(str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    assert kept(Cache.disk, Place(folder=tmp_path), cache_dir=elsewhere).folder == elsewhere


@pytest.mark.parametrize(
    ("kind", "place", "limit", "words"),
    [
        (Cache.device, Place(), 20, "dataset.cache=device: no CUDA device trains. Use dataset.cache=memory"),
        (Cache.disk, Place(), 20, "dataset.cache=disk: there is no folder for it: name one with dataset.cache_dir"),
        (
            Cache.disk,
            Place(folder=Path("x")),
            0,
            r"more than dataset.cache_limit_gib=0. Raise it, .* dataset.cache=none",
        ),
    ],
)
def test_what_cannot_be_obeyed_is_refused_with_a_remedy(kind: Cache, place: Place, limit: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        kept(kind, place, limit)


@pytest.mark.parametrize(("free", "kind"), [(3 * IN_MEMORY, Cache.device), (3 * IN_MEMORY - 3, Cache.memory)])
def test_auto_is_a_gpu_where_a_third_of_what_is_free_holds_them(
    monkeypatch: pytest.MonkeyPatch, free: int, kind: Cache
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))
    assert kept(Cache.auto, Place(torch.device("cuda", 0))).kind is kind


def test_each_rank_takes_every_other_picture_whatever_the_cache(tmp_path: Path) -> None:
    found = []
    for rank in range(2):
        data = module(Cache.disk, tmp_path, batch_size=5)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, current_epoch=1, state=SimpleNamespace(fn=None))  # type: ignore[assignment]
        found.append([frame.image_id for batch in data.train_dataloader() for frame in batch.frames])
    whole = module(Cache.none)
    whole.first_epoch = 1
    whole.trainer = SimpleNamespace(global_rank=0, world_size=1, current_epoch=0, state=SimpleNamespace(fn=None))  # type: ignore[assignment]
    order = [frame.image_id for batch in whole.train_dataloader() for frame in batch.frames]
    assert found == [order[::2], order[1::2]]
