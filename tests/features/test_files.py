"""A file of features gives what was put into it, or is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headstart.features.files import read, row_bytes, write

ROWS = 5
MAPS = torch.arange(6 * 3 * 4 * 2, dtype=torch.float32).reshape(6, 3, 4, 2).to(memory_format=torch.channels_last)
POOLED = torch.linspace(-1, 1, 12).reshape(6, 2).bfloat16()


def batches() -> Iterator[tuple[Tensor, ...]]:
    """Of two rows, the last of one."""
    for start in (0, 2, 4):
        yield MAPS[:ROWS][start : start + 2], POOLED[:ROWS][start : start + 2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "cache" / "key.features"
    write(found, ROWS, batches())
    return found


def test_rows_come_back_bit_for_bit_in_any_order_laid_out_as_they_were(path):
    file = read(path)
    assert file is not None
    maps, pooled = file.rows(torch.tensor([4, 0, 0, 3]))
    assert torch.equal(maps, MAPS[[4, 0, 0, 3]])
    assert torch.equal(pooled, POOLED[[4, 0, 0, 3]])
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert (maps.dtype, pooled.dtype) == (torch.float32, torch.bfloat16)
    maps.zero_()  # in memory of its own
    assert torch.equal(file.rows(torch.arange(ROWS))[0], MAPS[:ROWS])


def test_the_size_said_beforehand_is_that_of_the_rows(path):
    assert row_bytes((MAPS[:1], POOLED[:1])) == 3 * 4 * 2 * 4 + 2 * 2
    assert 0 < path.stat().st_size - ROWS * row_bytes((MAPS[:1], POOLED[:1])) < 1000


@pytest.mark.parametrize("place", [0, 100, -300, -20, -1])
def test_a_damaged_file_is_none(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert read(path) is None


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_cut_file_is_none(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    assert read(path) is None


def test_no_file_is_none(tmp_path):
    assert read(tmp_path / "none.features") is None


def test_what_fails_midway_leaves_nothing_and_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "key.features"
    (tmp_path / ".key.features.123").write_bytes(b"half")

    def failing() -> Iterator[tuple[Tensor, ...]]:
        yield next(batches())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, ROWS, failing())
    assert [*tmp_path.iterdir()] == []


def test_a_file_whose_name_is_gone_is_read_on(path):
    file = read(path)
    path.unlink()
    assert file is not None
    assert torch.equal(file.rows(torch.arange(ROWS))[0], MAPS[:ROWS])
