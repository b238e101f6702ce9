"""Batches: right, and the same however they are read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from headstart.config.schema import AugmentConfig, Cache, DatasetConfig, ShapesConfig
from headstart.data import shapes
from headstart.data.batch import Batch
from headstart.data.datamodule import DetectionDataModule
from headstart.data.dataset import DetectionDataset, rendered
from headstart.data.info import describe
from headstart.data.keeping import Place
from headstart.data.reading import load
from headstart.data.types import Size
from headstart.errors import UserError

STRONG = AugmentConfig(name="strong", hflip=0.5, brightness=0.4, hue=0.05, scale_min=0.6, scale_max=1.6, crop=0.3)
NONE = AugmentConfig(name="none")
MIN_SIZE, MAX_SIZE = 60, 80


def module(
    augment: AugmentConfig = STRONG, seed: int = 0, num_train: int = 10, place: Place | None = None, **settings: Any
) -> DetectionDataModule:
    data = shapes.draw(ShapesConfig(name="s", domain="target", num_train=num_train, num_val=5))
    small = {"min_size": MIN_SIZE, "max_size": MAX_SIZE, "batch_size": 4, "num_workers": 0}
    config = DatasetConfig(name="s", **{**small, **settings})
    return DetectionDataModule(data, describe(data, config), config, augment, seed, place)


def epoch(data: DetectionDataModule, number: int) -> list[Batch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)  # type: ignore[attr-defined]
    return [rendered(batch) for batch in loader]


def flat(batches: list[Batch]) -> list[Tensor]:
    return [
        tensor
        for batch in batches
        for tensor in (batch.images, batch.sizes_hw, *vars(batch.targets).values(), torch.tensor(image_ids(batch)))
    ]


def image_ids(batch: Batch) -> list[int]:
    return [frame.image_id for frame in batch.frames]


def equal(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(flat(a), flat(b), strict=True))


@pytest.fixture(scope="module")
def epochs() -> list[list[Batch]]:
    data = module()
    return [epoch(data, number) for number in range(3)]


def test_validation_is_in_order_and_not_augmented() -> None:
    data = module()
    (first, second), plain = list(data.val_dataloader()), module(NONE)
    assert image_ids(first) + image_ids(second) == [0, 1, 2, 3, 4]
    assert equal([first, second], list(plain.val_dataloader()))
    for (_, target), image in zip(first.per_image(), data.data.splits["val"], strict=False):
        assert target.labels.tolist() == image.labels.tolist()


def test_a_split_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"`test`. It has: train \(10 images\), val \(5 images\)"):
        module().test_dataloader()


# -------------------------------------------------------------------------------------------------- repeatability


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(epochs: list[list[Batch]], num_workers: int) -> None:
    """The workers live on from epoch to epoch."""
    loader = module(num_workers=num_workers, cache=Cache.none).train_dataloader()
    for number, expected in enumerate(epochs):
        loader.sampler.set_epoch(number)  # type: ignore[attr-defined]
        assert equal([rendered(batch) for batch in loader], expected)


def test_a_loader_made_anew_goes_on_at_its_epoch(epochs: list[list[Batch]]) -> None:
    torch.manual_seed(99)  # whatever happened before
    assert equal(epoch(module(), 2), epochs[2])


def test_images_that_are_not_cached_are_the_same(epochs: list[list[Batch]]) -> None:
    assert equal(epoch(module(cache=Cache.none), 1), epochs[1])


def test_every_epoch_and_every_seed_augments_anew(epochs: list[list[Batch]]) -> None:
    def image_zero(batches: list[Batch]) -> Tensor:
        return next(image for batch in batches for image, target in batch.per_image() if target.image_id == 0)

    versions = [image_zero(batches) for batches in [*epochs, epoch(module(seed=1), 0)]]
    assert len({(tuple(version.shape), version.numpy().tobytes()) for version in versions}) == 4


def test_reading_leaves_torchs_generator_alone() -> None:
    data = module().train_dataloader().dataset
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    data[0]
    assert torch.equal(torch.rand(1), expected)


def test_the_cache_is_not_written_to() -> None:
    data = module()
    epoch(data, 0)
    for pixels, target in (sample for batch in data.plain_batches("train", 8) for sample in batch.per_image()):
        assert torch.equal(pixels, load(data.data.splits["train"][target.image_id], Size(MIN_SIZE, MAX_SIZE)))


# ---------------------------------------------------------------------------------------------------- batch sizes


@pytest.mark.parametrize(
    ("num_train", "batch_size", "sizes"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 4]),  # one image left: batch normalisation could not train on it
        (3, 4, [3]),  # never an empty loader
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_training_batches_have_these_sizes(num_train: int, batch_size: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in epoch(module(num_train=num_train, batch_size=batch_size), 0)] == sizes


def test_validation_keeps_a_last_batch_of_one() -> None:
    assert [len(batch) for batch in module().val_dataloader()] == [4, 1]


def test_workers_compute_with_one_thread() -> None:
    class Threads(DetectionDataset):
        def __getitems__(self, keys: Any) -> Any:
            return [(torch.zeros(1), torch.get_num_threads()) for _ in keys]

    loader = module(num_workers=1, cache=Cache.none).train_dataloader()
    threads = Threads(module().data.splits["train"], Size(MIN_SIZE, MAX_SIZE))
    one = torch.utils.data.DataLoader(threads, num_workers=1, multiprocessing_context=loader.multiprocessing_context)
    assert {int(count) for _, count in one} == {1}


# ------------------------------------------------------------------------------------------------- with Lightning


class Recorder(L.LightningModule):
    """Trains nothing; notes which images came in which epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[Batch]] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch)
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # As training proper does: workers begin to read before a resumed run knows its epoch.
        assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, max_epochs: int, **settings: Any) -> L.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    ours: dict[str, Any] = {"accelerator": "cpu", "default_root_dir": folder, "use_distributed_sampler": False}
    return L.Trainer(max_epochs=max_epochs, **quiet, **ours, **settings)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_lightning_gives_each_epoch_its_own_batches_and_a_resumed_run_the_same(
    epochs: list[list[Batch]], tmp_path: Path, num_workers: int
) -> None:
    first = Recorder()
    started = trainer(tmp_path, 2)
    started.fit(first, datamodule=module(num_workers=num_workers, cache=Cache.none))
    started.save_checkpoint(tmp_path / "last.ckpt")
    assert equal(first.seen[0], epochs[0])
    assert equal(first.seen[1], epochs[1])

    resumed = Recorder()
    trainer(tmp_path, 3).fit(
        resumed, datamodule=module(num_workers=num_workers, cache=Cache.none), ckpt_path=tmp_path / "last.ckpt"
    )
    assert list(resumed.seen) == [2]
    assert equal(resumed.seen[2], epochs[2])


def test_overfit_batches_repeats_the_first_images(tmp_path: Path) -> None:
    """Lightning then puts a sampler of its own in place of ours, which gives plain indices."""
    recorder = Recorder()
    trainer(tmp_path, 2, overfit_batches=1, enable_checkpointing=False).fit(recorder, datamodule=module())
    assert equal(recorder.seen[0], recorder.seen[1])
    assert image_ids(recorder.seen[0][0]) == [0, 1, 2, 3]


def test_each_rank_reads_its_share() -> None:
    """Batches of two on each of two ranks are the batches of four of one process."""
    whole, shares = module(NONE, num_train=12), [module(NONE, num_train=12, batch_size=2) for _ in range(2)]
    for rank, share in enumerate(shares):
        share.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank, world_size=2, current_epoch=3, state=SimpleNamespace(fn="fit")
        )
    together = zip(*(share.train_dataloader() for share in shares), strict=True)
    found = [{image_id for batch in batches for image_id in image_ids(batch)} for batches in together]
    assert found == [set(image_ids(batch)) for batch in epoch(whole, 3)]
