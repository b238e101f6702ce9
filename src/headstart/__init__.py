"""Transfer learning for object detection, with the comparison as the product.

`headstart.load(path)` gives the model of a finished run; everything else is `headstart <verb>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.inference.model import Model

__version__ = "0.3.0"
__all__ = ["__version__", "load"]


def load(path: Any, device: Any = None, batch_size: int = 8, autocast: Any = None, extension: Any = None) -> Model:
    """The model of a finished run, ready to use: `load(path).predict(pictures)`; as `headstart.inference.model.load`.

    `path`: the run's folder, or its model.safetensors or model.json. `device`: `cuda`, `cpu`, …; None: the GPU where
    there is one. `batch_size`: pictures that are looked at at a time. `autocast`: the type to compute in, such as
    `torch.bfloat16`; None: float32. `extension`: the Python file of a detector of your own, which is run.

    Raises `UserError` (a ValueError) naming the file where there is no model, or a damaged one; nothing in it is run.
    """
    from headstart.inference.model import load  # torch takes seconds to import: when a model is loaded, not before

    return load(path, device, batch_size, autocast, extension=extension)
