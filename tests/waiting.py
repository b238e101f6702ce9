"""`no_waiting()`: what would make the host wait for a GPU raises, on a machine that has none.

A stand-in for `torch.cuda.set_sync_debug_mode("error")`, which is what counts where there is a GPU. Stricter than it
in `mask[mask] = number`, which CUDA does without waiting (write `masked_fill_`). What it cannot see on a CPU: a copy
between two devices by `.to(device)` or `copy_`, for there is one; what a kernel does inside of itself, beyond those
that are listed; and anything below Python in a C++ thread of its own.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    *("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::allclose"),
    *("aten::nonzero", "aten::nonzero_numpy", "aten::argwhere", "aten::masked_select"),  # a size known by the device
    *(
        "aten::_unique",
        "aten::_unique2",
        "aten::unique_dim",
        "aten::unique_consecutive",
        "aten::unique_dim_consecutive",
    ),
    *("aten::bincount", "torchvision::nms", "torchvision::_nms"),
}
"""Operators that wait, whatever they are given."""
BY_MASK = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
"""Operators that wait where an index is a mask: they look for its true places first."""
LEAVES_DEVICE = {"tolist", "cpu", "numpy", "__array__"}
"""Methods that copy to the host. Those of a tensor on a CPU dispatch nothing."""
MADE_OF_NUMBERS = {"tensor", "as_tensor", "asarray", "new_tensor", "from_numpy"}
"""Functions that copy the host's numbers; onto a GPU, where a device is given, from memory that makes them wait."""
ON_THE_HOST = {"Reading.get", "_get_value"}
"""Functions that read numbers which lie on the host anyway: ours of what came on its way, and torch's optimizers', of
their number of steps."""


class Waited(AssertionError):
    """A step made the host wait for its device."""


@contextmanager
def no_waiting(allow: Mapping[str, int] | None = None) -> Iterator[None]:
    """Raises `Waited` with the operator and the line of ours that called it. `allow`: operator -> how many times."""
    watch = _Watch(Counter(allow or {}))
    with _Functions(watch), _Operators(watch):
        yield


class _Watch:
    def __init__(self, allowed: Counter[str]) -> None:
        self.allowed = allowed

    def saw(self, operator: str) -> None:
        frames = list(_frames(sys._getframe(2)))
        if any(frame.f_code.co_qualname in ON_THE_HOST for frame in frames):
            return
        self.allowed[operator] -= 1
        if self.allowed[operator] < 0:
            raise Waited(f"{operator} waits for the device: {_place(frames)}")


class _Operators(TorchDispatchMode):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in WAITING or (name in BY_MASK and _by_mask(args[1])) or _counts_by_tensor(func):
            self.watch.saw(name)
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in LEAVES_DEVICE or _made_of_numbers(name, args, kwargs):
            self.watch.saw(f"torch.{name}")
        return func(*args, **kwargs)


def _made_of_numbers(name: str, args: Any, kwargs: Any) -> bool:
    """For a device that the caller names: one that says "cpu" means the host."""
    if name == "new_tensor":
        return True
    named = isinstance(kwargs.get("device"), (torch.device, int)) or kwargs.get("device") not in (None, "cpu")
    return name in MADE_OF_NUMBERS and named and not any(isinstance(arg, torch.Tensor) for arg in args)


def _by_mask(indices: Any) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _counts_by_tensor(func: Any) -> bool:
    """Without `output_size`, which says what the sum of the counts is."""
    return func._schema.name == "aten::repeat_interleave" and func._overloadname == "Tensor"


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """From the innermost to the outermost."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frames: list[FrameType]) -> str:
    """The innermost line that belongs to no library: of the package, or of a test."""
    ours = [f for f in frames if "site-packages" not in f.f_code.co_filename and f.f_globals["__name__"] != __name__]
    places = [f"{f.f_code.co_filename}:{f.f_lineno} in {f.f_code.co_qualname}" for f in ours]
    return next((place for place in places if "/headstart/" in place), places[0])
