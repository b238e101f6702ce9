"""Images in memory, and images that cannot be read."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.config.schema import Cache, Resize
from headstart.data import cache
from headstart.data.images import FileImage
from headstart.data.types import AnnotatedImage, Size
from headstart.errors import UserError

SIZE = Size(48, 64)


def picture(path: Path, size_wh: tuple[int, int], seed: int = 0) -> AnnotatedImage:
    noise = np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(path)
    none = np.zeros(0)
    no = none.astype(bool)
    return AnnotatedImage(path.name, FileImage(path), size_wh, none.reshape(0, 4), none.astype(int), no, no, none)


@pytest.fixture
def images(tmp_path: Path) -> list[AnnotatedImage]:
    sizes = [(100, 75), (64, 48), (30, 60), (60, 30)]
    return [picture(tmp_path / f"{i}.png", size, seed=i) for i, size in enumerate(sizes)]


def test_the_cache_holds_in_order_what_reading_gives(images: list[AnnotatedImage]) -> None:
    cached = cache.fill(images, Cache.ram, SIZE, "train")
    assert cached is not None
    for image, pixels in zip(images, cached, strict=True):
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, cache.load(image, SIZE))
    assert torch.equal(cached[1], torch.from_numpy(np.array(images[1].read())).permute(2, 0, 1))  # has the size


@pytest.mark.parametrize("size", [SIZE, Size(48, 48, Resize.stretch)])
def test_the_estimate_is_the_memory_that_the_cache_takes(images: list[AnnotatedImage], size: Size) -> None:
    cached = cache.fill(images, Cache.ram, size, "train")
    assert cached is not None
    assert cache.estimated_bytes(images, size) == sum(pixels.nbytes for pixels in cached)


def test_auto_caches_up_to_the_limit_and_ram_always(
    images: list[AnnotatedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = cache.estimated_bytes(images, SIZE)
    monkeypatch.setattr(cache, "LIMIT_BYTES", needed)
    assert cache.fill(images, Cache.auto, SIZE, "train") is not None
    monkeypatch.setattr(cache, "LIMIT_BYTES", needed - 1)
    assert cache.fill(images, Cache.auto, SIZE, "train") is None
    assert cache.fill(images, Cache.ram, SIZE, "train") is not None
    assert cache.fill(images, Cache.none, SIZE, "train") is None


def test_the_limit_is_one_gib() -> None:
    assert cache.LIMIT_BYTES == 2**30


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_an_unreadable_image_stops_the_run_and_is_named(
    images: list[AnnotatedImage], tmp_path: Path, damage: str
) -> None:
    broken = tmp_path / "2.png"
    if damage == "cut":
        broken.write_bytes(broken.read_bytes()[:500])
    else:
        broken.unlink()
    with pytest.raises(UserError, match=r"2\.png"):
        cache.fill(images, Cache.ram, SIZE, "train")
