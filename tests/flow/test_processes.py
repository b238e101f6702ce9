"""Two processes are as good as one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.config.schema import EvaluateConfig
from headstart.evaluate import evaluate
from headstart.records.record import RunRecord
from tests.transfer.test_every_strategy import MODELS, OWN_BACKBONE

TWO = ("trainer.strategy=ddp", "trainer.devices=2", "dataset.batch_size=2")
SETTINGS = ("dataset.num_train=8", "dataset.num_val=5", "strategy=partial_freeze", "trainer.max_epochs=2")


def read(outputs: Path) -> tuple[RunRecord, dict[str, torch.Tensor]]:
    (path,) = outputs.glob("*/record.json")
    return RunRecord.read(path), load_file(path.parent / "model.safetensors")


@pytest.fixture(scope="module")
def results(tmp_path_factory, command, execute, full_run):
    """Of one process with batches of four, and of two with batches of two; five images to validate on."""
    found = []
    for extra in ((), TWO):
        folder = tmp_path_factory.mktemp("processes")
        result = execute(command(*SETTINGS, "source=checkpoint", f"source.path={full_run}", *extra), folder)
        assert result.returncode == 0, result.stdout + result.stderr
        found.append((*read(folder / "outputs"), result.stdout))
    return found


def test_the_map_of_the_same_weights_is_the_same_to_the_last_digit(results):
    untrained = [record.metrics["history"][0] for record, _, _ in results]
    assert untrained[0] == untrained[1]
    assert untrained[0]["val/map"] > 0


def test_training_gives_the_same_weights_but_for_rounding(results):
    (one, one_weights, _), (two, two_weights, _) = results
    for name, tensor in one_weights.items():
        torch.testing.assert_close(two_weights[name], tensor, atol=2e-4, rtol=1e-3)
    losses = [[row["train/loss"] for row in record.metrics["history"][1:]] for record in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    moved = [name for name in one_weights if not torch.equal(one_weights[name], two_weights[name])]
    assert moved  # the two really were apart


def test_both_processes_share_one_folder_and_one_word_to_the_user(results):
    _, (record, _, out) = results
    assert out.count("Plan: partial_freeze") == 1
    assert out.count("Finished: ") == 1
    assert record.status == "finished"
    assert record.cost["train_images_per_second"] > 0


@pytest.mark.slow
def test_in_tiles_two_processes_record_the_map_of_one(tmp_path, command, execute, full_run):
    """Of five pictures, each of seven views, which lie on both. Where no weight changes, numbers are equal to the last
    digit."""
    still = ("strategy=head_only", "optimizer.lr=1e-30", "optimizer.weight_decay=0")
    tiles = ("dataset.num_train=8", "dataset.num_val=5", "dataset.tile.size=160", "trainer.max_epochs=1")
    found = []
    for extra in ((), TWO):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        words = command(*tiles, *still, "source=checkpoint", f"source.path={full_run}", *extra)
        result = execute(words, folder, timeout=600)
        assert result.returncode == 0, result.stdout + result.stderr
        found.append(read(folder / "outputs")[0].metrics)
    assert found[0]["val"] == found[1]["val"]
    assert found[0]["val"]["map"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_in_two_processes_and_one_finds_the_map_they_recorded(model, tmp_path, command, execute):
    if model in ("d_fine", "rt_detr"):
        pytest.importorskip("transformers")
    network = (f"model={model}", *OWN_BACKBONE.get(model, ()), "source=scratch", "strategy=full")
    words = command(*network, "dataset.num_train=8", "optimizer.lr=1e-3", "trainer.max_epochs=2", *TWO)
    result = execute(words, tmp_path, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("Finished: ") == 1
    record, _ = read(tmp_path / "outputs")
    assert record.metrics["val"]["images"] == 5
    (path,) = tmp_path.glob("outputs/*/record.json")
    alone = evaluate(EvaluateConfig(run=str(path.parent), enable_progress_bar=False))
    assert alone.map == record.metrics["val"]["map"]
