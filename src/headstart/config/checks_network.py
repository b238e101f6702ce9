"""Networks that cannot be. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.config.schema import BackboneLibrary, FasterRCNNConfig, Neck, RunConfig


def network_problems(config: RunConfig) -> Iterator[str]:
    """A neck that goes from stride to stride, where a body has two maps of one."""
    model, backbone = config.model, config.backbone
    one_stride = (backbone.library, backbone.architecture) == (BackboneLibrary.torchvision, "mobilenet_v3_large")
    if isinstance(model, FasterRCNNConfig) and model.neck is not Neck.fpn and one_stride:
        yield (
            f"model.neck={model.neck.value} with model=faster_rcnn backbone={backbone.name}: torchvision's detector of "
            "it has two maps of stride 32, and this neck fuses maps of half the stride each. Use model.neck=fpn, "
            "another backbone, or model=retinanet or fcos."
        )
