"""Processes that train together stay together when what trains changes.

DDP knows the parameters that were trainable when it was made; those that open later were each rank's own in the tools
that people use for it (Lightning-AI/pytorch-lightning#20340). This file is also the program that the tests start.
"""

import json
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback

EPOCHS = 3
SETTINGS = ("dataset.num_train=8", "dataset.num_val=2", f"trainer.max_epochs={EPOCHS}", "trainer.limit_val_batches=1")
STRATEGIES = {
    "lp_ft": ("strategy=lp_ft", "strategy.phases.everything.start=1"),
    "gradual_unfreeze": ("strategy=gradual_unfreeze", "strategy.gradual.first=1", "strategy.gradual.last=2"),
}


class Distance(Callback):
    """After each epoch: the largest difference of any tensor between the ranks, and how many parameters trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        distance = torch.zeros(())
        if dist.is_initialized():
            for tensor in pl_module.detector.state_dict().values():
                first = tensor.detach().clone()
                dist.broadcast(first, 0)
                distance = torch.maximum(distance, (first.double() - tensor.double()).abs().max())
            dist.all_reduce(distance, dist.ReduceOp.MAX)
        trains = sum(parameter.requires_grad for parameter in pl_module.detector.parameters())
        self.rows.append({"distance": distance.item(), "trains": trains})
        if trainer.is_global_zero:
            self.path.write_text(json.dumps(self.rows))
            torch.save(pl_module.detector.state_dict(), self.path.with_suffix(".pt"))


def main(path: str, *overrides: str) -> None:
    from headstart import build
    from headstart.config.compose import compose
    from headstart.run import prepare

    torch.set_num_threads(1)
    config = compose([*overrides])
    experiment = prepare(config)
    trainer = build.build_trainer(config.trainer, Path(path).parent, [Distance(Path(path))], [], None)
    trainer.fit(experiment.module, datamodule=experiment.data)


def train(path, command, source, *overrides):
    words = command(*SETTINGS, "source=checkpoint", f"source.path={source}", *overrides)
    program = [sys.executable, __file__, str(path), *words[words.index("train") + 1 :]]
    result = subprocess.run(program, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(path.read_text()), torch.load(path.with_suffix(".pt"), weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["lp_ft", "gradual_unfreeze"])
def test_all_ranks_have_the_same_weights_after_every_phase_and_those_of_one_process(
    strategy, tmp_path, command, full_run
):
    settings = STRATEGIES[strategy]
    one, weights_of_one = train(tmp_path / "one.json", command, full_run, *settings, "dataset.batch_size=4")
    ddp = ("trainer.strategy=ddp", "trainer.devices=2", "dataset.batch_size=2")
    two, weights_of_two = train(tmp_path / "two.json", command, full_run, *settings, *ddp)
    assert [row["distance"] for row in two] == [0.0] * EPOCHS
    assert [row["trains"] for row in one] == [row["trains"] for row in two]
    assert one[0]["trains"] < one[1]["trains"]  # something opened
    for name, tensor in weights_of_one.items():
        torch.testing.assert_close(weights_of_two[name], tensor, atol=5e-4, rtol=2e-3)


if __name__ == "__main__":
    main(*sys.argv[1:])
