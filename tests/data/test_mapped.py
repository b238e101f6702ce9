"""Decoded pictures in a file: content-addressed, shared, made once, and made anew where it is damaged."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.config.schema import Resize
from headstart.data.blocks import Unread
from headstart.data.mapped import MappedFile, room_problem, used_bytes
from headstart.data.table import ImageTable
from headstart.data.types import AnnotatedImage, Size
from headstart.errors import UserError

SIZE, CANVAS = Size(24, 32), (32, 32)
LIMIT = 2.0**30
FORK = multiprocessing.get_context("fork")


def picture(number: int, meanwhile: Callable[[int], Any] = lambda number: None) -> AnnotatedImage:
    """Lies where its number is even, and stands where it is odd."""
    shape = (24, 32, 3) if number % 2 == 0 else (40, 30, 3)
    pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)

    def read() -> PIL.Image.Image:
        meanwhile(number)
        return PIL.Image.fromarray(pixels)

    none, no = np.zeros(0), np.zeros(0, bool)
    objects = (none.reshape(0, 4), none.astype(int), no, no, none)
    return AnnotatedImage(str(number), read, (shape[1], shape[0]), *objects, f"{number:032x}")


def table(*numbers: int, meanwhile: Callable[[int], Any] = lambda number: None) -> ImageTable:
    return ImageTable.of([picture(number, meanwhile) for number in numbers or range(5)])


def made(images: ImageTable, folder: Path, limit: float = LIMIT) -> torch.Tensor:
    blocks = MappedFile.of(images, SIZE, folder).made(images, SIZE, "train", limit)
    return blocks.gather(np.arange(len(images)), CANVAS)


def read(images: ImageTable) -> torch.Tensor:
    return Unread(images, SIZE).gather(np.arange(len(images)), CANVAS)


def never(number: int) -> None:
    raise AssertionError("read once more")


def test_a_file_holds_what_reading_gives_and_is_not_made_twice(tmp_path: Path) -> None:
    assert torch.equal(made(table(), tmp_path), read(table()))
    assert torch.equal(made(table(meanwhile=never), tmp_path), read(table()))
    (file,) = tmp_path.glob("*.pixels")
    assert file.stat().st_size == MappedFile.of(table(), SIZE, tmp_path).num_bytes == used_bytes(tmp_path)


def test_its_name_is_of_the_pictures_their_order_and_their_size_alone(tmp_path: Path) -> None:
    def path(images: ImageTable, size: Size = SIZE) -> Path:
        return MappedFile.of(images, size, tmp_path).path

    renamed = ImageTable.of(AnnotatedImage(**{**vars(image), "name": f"x{image.name}"}) for image in table(0, 1, 2))
    assert path(renamed) == path(table(0, 1, 2))
    others = [path(table(0, 1)), path(table(0, 2, 1)), path(table(0, 1, 4)), path(table(0, 1, 2), Size(24, 33))]
    squares = [path(table(0, 1, 2), Size(24, 24)), path(table(0, 1, 2), Size(24, 24, Resize.stretch))]
    assert len({path(table(0, 1, 2)), *others, *squares}) == 7


@pytest.mark.parametrize("damage", ["cut", "changed", "longer", "other"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    made(table(), tmp_path)
    (file,) = tmp_path.glob("*.pixels")
    content = file.read_bytes()
    worse = {
        "cut": content[:-1],
        "changed": content[:500] + bytes([content[500] ^ 1]) + content[501:],
        "longer": content + b"x",
        "other": b"x" * len(content),
    }
    file.write_bytes(worse[damage])
    assert torch.equal(made(table(), tmp_path), read(table()))
    assert file.read_bytes() == content


def test_processes_that_need_it_at_once_make_it_once(tmp_path: Path) -> None:
    both = FORK.Barrier(2)

    def note(number: int) -> None:
        with (tmp_path / "reads").open("a") as file:
            file.write(f"{number}\n")

    def one() -> None:
        both.wait(60)
        assert torch.equal(made(table(meanwhile=note), tmp_path / "cache"), read(table()))

    processes = [FORK.Process(target=one) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted((tmp_path / "reads").read_text().split()) == ["0", "1", "2", "3", "4"]


def test_what_a_killed_process_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    def die(number: int) -> None:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=made, args=(table(meanwhile=die), tmp_path))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [path.name[0] for path in tmp_path.glob("*.pixels*")] == ["."]
    assert torch.equal(made(table(), tmp_path), read(table()))
    assert len([*tmp_path.glob("*.pixels*")]) == 1


def test_an_unreadable_picture_leaves_no_file(tmp_path: Path) -> None:
    def fail(number: int) -> None:
        raise UserError(f"{number} is broken")

    with pytest.raises(UserError, match="is broken"):
        made(table(meanwhile=fail), tmp_path)
    assert not [*tmp_path.glob("*.pixels*")]


def test_the_limit_holds_for_all_files_of_the_folder(tmp_path: Path) -> None:
    one, two = (MappedFile.of(table(*numbers), SIZE, tmp_path).num_bytes for numbers in ((0, 1), (2, 3)))
    with pytest.raises(UserError, match=r"dataset\.cache_limit_gib=.* use dataset\.cache=none"):
        made(table(0, 1), tmp_path, one - 1)
    made(table(0, 1), tmp_path, one)
    with pytest.raises(UserError, match=r"dataset\.cache_limit_gib"):
        made(table(2, 3), tmp_path, one + two - 1)
    made(table(2, 3), tmp_path, one + two)
    made(table(0, 1), tmp_path, 0)  # is there


def test_a_folder_without_room_is_named_with_what_is_free(tmp_path: Path) -> None:
    assert room_problem(tmp_path / "not" / "yet", 1000, LIMIT) is None
    problem = room_problem(tmp_path, 2**60, 2.0**61)
    assert problem is not None
    assert "are free. Make room" in problem


def test_another_process_is_sent_the_files_name_and_not_the_pictures(tmp_path: Path) -> None:
    images = table(*range(40))
    blocks = MappedFile.of(images, SIZE, tmp_path).made(images, SIZE, "train", LIMIT)
    sent = pickle.dumps(blocks)
    assert len(sent) < blocks.layout.num_bytes / 20
    assert torch.equal(pickle.loads(sent).gather(np.array([7, 3]), CANVAS), blocks.gather(np.array([7, 3]), CANVAS))
