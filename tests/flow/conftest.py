"""Whole runs, so small that one takes seconds: drawn shapes at 96 x 128 pixels, two epochs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from headstart.config.compose import compose
from headstart.records.record import RunRecord
from headstart.run import run

SMALL = (
    "dataset.num_train=10",
    "dataset.num_val=5",
    "dataset.min_size=96",
    "dataset.max_size=128",
    "dataset.batch_size=4",
    "dataset.num_workers=0",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=csv",
    "model.score_threshold=0.001",  # whatever a barely trained network says is evaluated: a mAP above 0
)

Train = Callable[..., Path]


def _train(output_dir: Path, *overrides: str) -> Path:
    """The folder of the finished run."""
    record = run(compose([*SMALL, f"output_dir={output_dir}", *overrides]))
    assert record.status == "finished"
    (folder,) = [path for path in output_dir.iterdir() if (path / "record.json").exists() and _is(path, record)]
    return folder


def _is(folder: Path, record: RunRecord) -> bool:
    return RunRecord.read(folder / "record.json").config == record.config


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`train(*overrides)` or `train(*overrides, into=folder)`: a run in this process."""

    def call(*overrides: str, into: Path | None = None) -> Path:
        return _train(into or tmp_path / "outputs", *overrides)

    return call


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fully fine-tuned from ImageNet; a source for others."""
    return _train(tmp_path_factory.mktemp("full"), "training.keep=best")


@pytest.fixture(scope="session")
def command() -> Callable[..., list[str]]:
    """`headstart train` with the small settings and more, as a user would type it."""
    return lambda *overrides: [sys.executable, "-m", "headstart", "train", *SMALL, *overrides]


@pytest.fixture(scope="session")
def execute() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command to its end, in a folder; one thread a process."""

    def call(words: list[str], folder: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        return subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call


@pytest.fixture(scope="session")
def draw_squares() -> Callable[..., None]:
    """Draws white squares on grey into a folder, as PNG and VOC xml."""

    def draw(root: Path, count: int = 6) -> None:
        root.mkdir()
        for number in range(count):
            left = 10 + 8 * number
            picture = PIL.Image.new("RGB", (120, 90), "grey")
            picture.paste("white", (left, 20, left + 40, 60))
            picture.save(root / f"{number}.png")
            box = f"<xmin>{left}</xmin><ymin>20</ymin><xmax>{left + 40}</xmax><ymax>60</ymax>"
            text = f"<annotation><object><name>square</name><bndbox>{box}</bndbox></object></annotation>"
            (root / f"{number}.xml").write_text(text)

    return draw
