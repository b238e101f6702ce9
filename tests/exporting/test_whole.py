"""From a trained run to files: their mAP is the run's, int8's loss is said, and the examples of docs/export.md run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from headstart.config.compose import compose
from headstart.config.schema import EvaluateConfig, ExportConfig, ExportTo, Quantize, Resize
from headstart.data.recorded import recorded_dataset
from headstart.evaluate import evaluate
from headstart.exporting.verb import export
from headstart.inference.export import load_exported
from headstart.records.record import RunRecord
from headstart.run import run

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"
SETTINGS = (
    "dataset=shapes",
    "dataset.num_train=96",
    "dataset.num_val=24",
    "dataset.batch_size=8",
    "dataset.min_size=192",
    "dataset.max_size=256",
    "trainer.max_epochs=6",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=csv",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RetinaNet on EfficientNet-Lite0, which finds most of the drawn shapes."""
    outputs = tmp_path_factory.mktemp("trained")
    record = run(compose([*SETTINGS, f"output_dir={outputs}"]))
    assert record.metrics["val"]["map"] > 0.1
    (folder,) = [path.parent for path in outputs.glob("*/record.json")]
    return folder


def measure(file: Path, folder: Path) -> float:
    dataset = recorded_dataset(RunRecord.read(folder / "record.json"), folder)
    return evaluate(EvaluateConfig(file=str(file), dataset=dataset, enable_progress_bar=False)).map


def test_the_file_of_a_run_has_the_runs_map(trained: Path) -> None:
    expected = RunRecord.read(trained / "record.json").metrics["val"]["map"]
    assert measure(export(ExportConfig(run=str(trained))), trained) == pytest.approx(expected, abs=1e-3)


def test_int8_says_what_it_costs(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = export(ExportConfig(run=str(trained), quantize=Quantize.int8, calibration=32, enable_progress_bar=False))
    said = re.search(
        r"mAP on val of \w+: ([\d.]+) in float32, ([\d.]+) in int8 \(([+-][\d.]+)\)", capsys.readouterr().out
    )
    assert said is not None
    before, after, loss = map(float, said.groups())
    assert before == pytest.approx(RunRecord.read(trained / "record.json").metrics["val"]["map"], abs=1e-3)
    assert after == pytest.approx(measure(file, trained), abs=1e-4)
    assert loss == pytest.approx(after - before, abs=2e-4)
    assert after > 0.5 * before
    assert file.stat().st_size < 0.5 * (trained / "model.safetensors").stat().st_size


def test_the_examples_of_the_docs_run_and_find_what_predict_finds(trained: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    record = RunRecord.read(trained / "record.json")
    export(ExportConfig(run=str(trained), output=str(tmp_path / "model.onnx")))
    export(ExportConfig(run=str(trained), nms=False, size=[240, 320], output=str(tmp_path / "model_raw.onnx")))
    export(ExportConfig(run=str(trained), to=ExportTo.torch_export, output=str(tmp_path / "model.pt2")))
    detector, described = load_exported(trained)
    assert described.size.resize is Resize.keep
    assert record.config["dataset"]["min_size"] == described.size.min_size
    from headstart.data import catalog

    picture = catalog.read(recorded_dataset(record, trained), 0).splits["val"][0].read()
    picture.resize((480, 360)).save(tmp_path / "photo.jpg", quality=95)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) == 3
    said = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=True
        )
        for code in blocks
    ]
    photo = PIL.Image.open(tmp_path / "photo.jpg")
    small = np.asarray(photo.resize((256, 192), PIL.Image.Resampling.BILINEAR))
    shrunk = cv2.resize(np.asarray(photo)[:, :, ::-1].copy(), (320, 240), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    for number, pixels, names in ((0, small, detector.class_names), (1, shrunk, None)):
        with torch.inference_mode():
            (found,) = detector.predict([torch.from_numpy(pixels.transpose(2, 0, 1).copy())])
        lines = said[number].stdout.splitlines()
        assert len(lines) == pytest.approx(len(found.scores), abs=2)
        name, score, box = re.fullmatch(r"(.+?) ([\d.]+) \[(.*)\]", lines[0]).groups()  # type: ignore[union-attr]
        label = int(found.labels[0])
        assert name == (names[label] if names else str(label))
        assert float(score) == pytest.approx(float(found.scores[0]), abs=1e-3)
        scale = 480 / pixels.shape[1]
        expected = (scale * found.boxes_xyxy[0]).tolist()
        assert [float(side) for side in box.split(",")] == pytest.approx(expected, abs=0.5 * scale + 0.1)
