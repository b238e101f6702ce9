"""Images that are read one by one, and images that cannot be."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.data.images import FileImage, inspect
from headstart.data.reading import load, read_all
from headstart.data.types import AnnotatedImage, Size
from headstart.errors import UserError

SIZE = Size(48, 64)


def picture(path: Path, size_wh: tuple[int, int], seed: int = 0) -> AnnotatedImage:
    noise = np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(path)
    none = np.zeros(0)
    no, digest = none.astype(bool), inspect(path).digest
    return AnnotatedImage(
        path.name, FileImage(path), size_wh, none.reshape(0, 4), none.astype(int), no, no, none, digest
    )


@pytest.fixture
def images(tmp_path: Path) -> list[AnnotatedImage]:
    sizes = [(100, 75), (64, 48), (30, 60), (60, 30)]
    return [picture(tmp_path / f"{i}.png", size, seed=i) for i, size in enumerate(sizes)]


def test_every_image_is_read_once_and_what_has_the_size_stays_as_it_is(images: list[AnnotatedImage]) -> None:
    taken: dict[int, torch.Tensor] = {}
    read_all(images, SIZE, "train", taken.__setitem__)
    assert sorted(taken) == [0, 1, 2, 3]
    assert all(torch.equal(taken[number], load(image, SIZE)) for number, image in enumerate(images))
    assert torch.equal(taken[1], torch.from_numpy(np.array(images[1].read())).permute(2, 0, 1))


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
        read_all(images, SIZE, "train", lambda number, pixels: None)


def test_a_picture_that_is_another_one_than_was_looked_at_is_named(tmp_path: Path) -> None:
    """Of the same size, too; and one that was only touched is the same."""
    image = picture(tmp_path / "a.png", (64, 48))
    (tmp_path / "a.png").touch()
    load(image, SIZE)
    picture(tmp_path / "a.png", (64, 48), seed=1)
    with pytest.raises(UserError, match=r"a\.png: the picture is another one now than when the run began\."):
        load(image, SIZE)
