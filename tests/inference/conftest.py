"""A model as a run leaves it, and pictures that it finds something on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.config import schema as s
from headstart.data.types import DatasetInfo
from headstart.detectors.factory import build_detector
from headstart.inference.export import save_exported

NAMES = ("cat", "red dog", "étoile")
INFO = DatasetInfo("toys", NAMES, "0", {"train": 1, "val": 1}, {}, "0", min_size=64, max_size=96)
BACKBONE = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=32)
MODEL = s.RetinaNetConfig(s.Architecture.retinanet, score_threshold=0.0, detections_per_image=5)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every picture has five detections of some score; the three classes come in many of them."""
    torch.manual_seed(0)
    detector = build_detector(MODEL, BACKBONE, NAMES)
    with torch.no_grad():
        for name, tensor in detector.state_dict().items():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand_like(tensor))
            if name.endswith("cls_logits.weight"):
                tensor.mul_(40)
    folder = tmp_path_factory.mktemp("runs") / "toys-retinanet"
    folder.mkdir()
    save_exported(folder, detector.eval(), MODEL, BACKBONE, INFO, None, ["imagenet", "toys"])
    return folder


@pytest.fixture(scope="session")
def picture() -> Callable[..., PIL.Image.Image]:
    """`picture(seed, height, width)`: blocks of colour, no two alike."""
    return _picture


def _picture(seed: int, height: int = 90, width: int = 120) -> PIL.Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return PIL.Image.fromarray(blocks).resize((width, height), PIL.Image.Resampling.NEAREST)
