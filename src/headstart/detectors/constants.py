"""Tensors that follow from settings and shapes alone: made once, not in each step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

MOST = 64
"""Kept at a time, the last used: predictions may see a canvas of its own for every picture."""


def may_ask(device: torch.device) -> bool:
    """Whether shapes may follow from a tensor's values: on a CPU there is nothing to wait for, but a graph that is
    exported has the same shapes whatever the values."""
    return device.type == "cpu" and not torch.compiler.is_exporting()


class Constants:
    """Beside a module, and no part of its state: a copy, or what a process is sent, begins with none."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, Tensor] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """`make()`, of the first time. The key names what it depends on: device and type, too."""
        if torch.compiler.is_exporting():  # shapes are symbols there, and what follows from them is part of the graph
            return make()
        if key not in self._made:
            # What is made in inference mode cannot be used in training.
            with torch.inference_mode(False), torch.no_grad():
                self._made[key] = make()
            if len(self._made) > MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def __reduce__(self) -> tuple[type[Constants], tuple[()]]:
        return Constants, ()


def anchors_xyxy(
    generator: Any,
    canvas_hw: tuple[int, int],
    cells_hw: tuple[tuple[int, int], ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """(A, 4), as one of torchvision's generators, or one that is called so, makes them for maps of so many cells."""
    nothing = torch.empty((), dtype=dtype, device=device)
    maps = [nothing.expand(1, 1, *cells) for cells in cells_hw]
    return generator(ImageList(nothing.expand(1, 3, *canvas_hw), [canvas_hw]), maps)[0]
