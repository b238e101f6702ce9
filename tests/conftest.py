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
