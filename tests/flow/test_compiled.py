"""Whole runs that are compiled: the same folder, the same numbers, resumed and in two processes, too."""

import signal

import pytest
import torch
from safetensors.torch import load_file

from headstart.records.record import RunRecord

from .test_interruption import folder_in, stop_in_the_epoch_after

pytestmark = pytest.mark.slow
SHORT = ("dataset.num_train=10", "dataset.num_val=4", "trainer.max_epochs=3", "training.evaluate_untrained=false")
COMPILED = "training.compile=inductor"


def finished(words, folder, execute):
    folder.mkdir(exist_ok=True)
    result = execute(words, folder, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    found = folder_in(folder / "outputs")
    return RunRecord.read(found / "record.json"), load_file(found / "model.safetensors"), result.stdout


def losses(record):
    return [row["train/loss"] for row in record.metrics["history"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command, execute):
    return finished(command(*SHORT, COMPILED), tmp_path_factory.mktemp("compiled"), execute)


def test_a_compiled_run_is_the_same_run_and_finds_the_same(tmp_path, command, execute, undisturbed):
    record, weights, out = finished(command(*SHORT), tmp_path / "plain", execute)
    ours, our_weights, _ = undisturbed
    assert (ours.environment["compile"], record.environment["compile"]) == ("inductor", "none")
    assert losses(ours) == pytest.approx(losses(record), rel=1e-3)
    assert list(our_weights) == list(weights)
    for name, tensor in weights.items():
        torch.testing.assert_close(our_weights[name], tensor, atol=1e-3, rtol=1e-2)
    again = execute(command(*SHORT, COMPILED), tmp_path / "plain")
    assert again.stdout.count("Already finished") == 1, out


def test_a_compiled_run_that_was_killed_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path, command, execute, undisturbed
):
    words = command(*SHORT, COMPILED)
    stop_in_the_epoch_after(2, words, tmp_path, signal.SIGKILL)
    refused = execute(command(*SHORT), tmp_path)
    assert refused.returncode == 1
    assert "compile inductor -> none" in refused.stderr
    _, weights, _ = finished(words, tmp_path, execute)
    assert all(torch.equal(weights[name], tensor) for name, tensor in undisturbed[1].items())


def test_two_compiled_processes_are_as_good_as_two_plain_ones(tmp_path, command, execute):
    two = ("trainer.strategy=ddp", "trainer.devices=2", "dataset.batch_size=2", "strategy=gradual_unfreeze")
    plain, ours = (
        finished(command(*SHORT, *two, f"training.compile={kind}"), tmp_path / kind, execute)[:2]
        for kind in ("none", "inductor")
    )
    assert losses(ours[0]) == pytest.approx(losses(plain[0]), rel=1e-3)
    for name, tensor in plain[1].items():
        torch.testing.assert_close(ours[1][name], tensor, atol=1e-3, rtol=1e-2)
