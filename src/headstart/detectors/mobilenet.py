"""torchvision's ways of taking MobileNetV3-Large apart, which its COCO weights ask for."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision.models._utils import IntermediateLayerGetter

from headstart.detectors.backbones import Body, classifier, library_names, tensor_names
from headstart.detectors.interface import Stage

FIRSTS = (0, 2, 4, 7, 13)
"""Index in `features` where stem and stages begin: each but the first with stride 2."""


def last_two_maps() -> Body:
    """For Faster R-CNN: layers 13 and 16, both of stride 32."""
    model = classifier("mobilenet_v3_large")
    names = tensor_names(model)
    module = IntermediateLayerGetter(model.get_submodule("features"), {"13": "0", "16": "1"})
    return Body(module, (160, 960), stages("{}", range(17)), library_names(module, names))


def stages(pattern: str, indices: Sequence[int]) -> tuple[Stage, ...]:
    """Stem and stages whose layers' names are `pattern` with each index."""
    bounds = [*FIRSTS, len(indices)]
    return tuple(
        Stage("stem" if i == 0 else f"stage{i}", tuple(pattern.format(k) for k in range(bounds[i], bounds[i + 1])))
        for i in range(len(FIRSTS))
    )
