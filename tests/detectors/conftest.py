"""What the tests of detectors share: networks without the cost of initialising them, a photo, and one thread."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks on a busy machine: threads would wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class _WithoutInitialising(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="session")
def without_initialising() -> type[TorchFunctionMode]:
    """Context in which new layers keep whatever is in their memory: for networks that are filled afterwards."""
    return _WithoutInitialising


@pytest.fixture(scope="session")
def photo(real_data: Path) -> Callable[[int, int], Tensor]:
    """`photo(width, height)`: a real picture, (3, height, width) uint8."""
    path = min((real_data / "voc2007_1000" / "JPEGImages").glob("*.jpg"))

    def resized(width: int, height: int) -> Tensor:
        with PIL.Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB").resize((width, height)))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    return resized
