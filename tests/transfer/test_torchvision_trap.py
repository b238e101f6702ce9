"""torchvision's detectors built without weights have live BatchNorm2d: freezing their parameters does not hold them."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from headstart.config.schema import AdamWConfig, StrategyConfig
from headstart.data.batch import Batch, Detections
from headstart.detectors.interface import ClassAxis, Detector, Features, Preprocessing, Stage
from headstart.transfer.freezing import apply_phase, set_train_mode
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.proof import moved, tensor_digests
from headstart.transfer.strategy import make_plan


class Wrapped(Detector):
    """torchvision's Faster R-CNN on MobileNetV3: body.0 is the stem, body.1 to body.16 are blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.class_names = ("a", "b")
        self.preprocessing = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.net = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3)

    def losses(self, batch: Batch, features: Features | None = None) -> dict[str, Tensor]:
        raise NotImplementedError

    def detect(self, batch: Batch, features: Features | None = None) -> Detections:
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        body = [Stage("stem", ("net.backbone.body.0",))]
        body += [Stage(f"stage{i}", (f"net.backbone.body.{i}",)) for i in range(1, 17)]
        return [*body, Stage("neck", ("net.backbone.fpn",)), Stage("head", ("net.rpn", "net.roi_heads"))]

    def library_names(self) -> dict[str, str]:
        return {}

    def class_axes(self) -> list[ClassAxis]:
        score, box = "net.roi_heads.box_predictor.cls_score", "net.roi_heads.box_predictor.bbox_pred"
        return [ClassAxis(f"{score}.{part}", 1, 1) for part in ("weight", "bias")] + [
            ClassAxis(f"{box}.{part}", 1, 1, 4) for part in ("weight", "bias")
        ]


@pytest.fixture
def wrapped() -> Wrapped:
    torch.manual_seed(0)
    return Wrapped()


def test_a_forward_pass_moves_a_frozen_torchvision_backbone_but_not_a_planned_one(wrapped, weights_of, batch):
    report = apply_source(wrapped, weights_of(wrapped))
    strategy = StrategyConfig(name="head_only", freeze_through="neck", lr={"adamw": 1e-3})
    plan = make_plan(strategy, AdamWConfig(name="adamw", weight_decay=0.1), wrapped, report)
    buffers = [name for name, _ in wrapped.named_buffers()]
    images = torch.stack(batch[0])

    before = tensor_digests(wrapped, buffers)
    wrapped.requires_grad_(False).train()
    wrapped.net.backbone(images)
    assert len(moved(before, tensor_digests(wrapped, buffers))) > 90  # the trap

    apply_phase(wrapped, plan.phases[0])
    set_train_mode(wrapped, plan.phases[0])
    before = tensor_digests(wrapped, plan.frozen)
    training = wrapped.net.backbone(images)
    assert moved(before, tensor_digests(wrapped, plan.frozen)) == []
    wrapped.eval()
    evaluation = wrapped.net.backbone(images)
    assert all(torch.equal(training[level], evaluation[level]) for level in training)
