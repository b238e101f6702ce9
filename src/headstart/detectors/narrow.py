"""Feature maps one pixel wide, in bfloat16 on a CPU: P6 of RetinaNet and FCOS where a picture has 64 pixels or fewer.

oneDNN leaves those weights' gradients of a strided convolution unwritten whose pixels are all padding: they are what
the memory held, 1e27 or NaN, or a small number that nobody notices (torch 2.14, AVX512). A second column of zeros,
which the padding has anyway, changes no output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def widen_narrow_maps(network: nn.Module) -> None:
    """In front of every convolution that may meet one. A subclass of Conv2d may pad by itself, and is left alone."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.stride == (2, 2) and module.groups == 1 and _same_output(module):
            module.register_forward_pre_hook(_two_columns)


def _same_output(convolution: nn.Conv2d) -> bool:
    """Of one column and of two, the second of which is zeros."""
    padded = isinstance(convolution.padding, tuple) and convolution.padding[1] > 0
    return padded and (1 + 2 * int(convolution.padding[1]) - convolution.kernel_size[1]) % 2 == 0


def _two_columns(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    (maps,) = inputs
    in_bfloat16 = maps.dtype is torch.bfloat16 or torch.is_autocast_enabled("cpu")
    return (F.pad(maps, (0, 1)),) if maps.is_cpu and in_bfloat16 and maps.shape[-1] == 1 else inputs
