"""Fixtures that several test folders share."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as headstart/cli.py, before torch is imported
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a processor: more threads would wait for each other

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where they are absent."""
    folder = Path(os.environ.get("HEADSTART_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "bccd").is_dir():
        pytest.skip(f"real data sets not found in {folder}: set HEADSTART_DATA to their folder")
    return folder


def _tiny_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_detector", Path(__file__).with_name("tiny_detector.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """Builds a `TinyDetector` with random BatchNorm statistics, so that an untouched tensor cannot be mistaken."""
    import torch  # not above: the tests of the configuration do without

    module = _tiny_module()

    def build(class_names: tuple[str, ...] = ("a", "b", "c"), seed: int = 0, **settings: Any) -> Any:
        torch.manual_seed(seed)
        detector = module.TinyDetector(class_names, **settings)
        for name, buffer in detector.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
        return detector

    return build


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as a run leaves it, of the classes cat, red dog and étoile; every picture has five detections."""
    import torch

    from headstart.config import schema as s
    from headstart.data.types import DatasetInfo
    from headstart.detectors.factory import build_detector
    from headstart.inference.export import save_exported

    names = ("cat", "red dog", "étoile")
    info = DatasetInfo("toys", names, "0", {"train": 1, "val": 1}, {}, "0", min_size=64, max_size=96)
    backbone = s.BackboneConfig("lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=32)
    model = s.RetinaNetConfig(s.Architecture.retinanet, score_threshold=0.0, detections_per_image=5)
    torch.manual_seed(0)
    detector = build_detector(model, backbone, names)
    with torch.no_grad():
        for name, tensor in detector.state_dict().items():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand_like(tensor))
            if name.endswith("cls_logits.weight"):
                tensor.mul_(40)
    folder = tmp_path_factory.mktemp("runs") / "toys-retinanet"
    folder.mkdir()
    save_exported(folder, detector.eval(), model, backbone, info, None, ["imagenet", "toys"])
    return folder


@pytest.fixture(scope="session")
def picture() -> Callable[..., Any]:
    """`picture(seed, height, width)`: a PIL image of blocks of colour, no two alike."""
    import numpy as np
    import PIL.Image

    def draw(seed: int, height: int = 90, width: int = 120) -> PIL.Image.Image:
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        return PIL.Image.fromarray(blocks).resize((width, height), PIL.Image.Resampling.NEAREST)

    return draw
