"""Lightning's notices that tell the user of a run nothing."""

from __future__ import annotations

import logging
import os
import warnings

SILENCED = (
    # Lightning's own use of a name that torch deprecates: https://github.com/Lightning-AI/pytorch-lightning/pull/21280
    r".*isinstance\(treespec, LeafSpec\).*",
    # Small data sets are what Headstart is for; history.csv has every epoch.
    r".*smaller than the logging interval.*",
    # One worker per core is not faster where the core is training.
    r".*does not have many workers.*",
    # trainer.accelerator=cpu is what the user asked for.
    r".*GPU available but not used.*",
    # Resuming is what the user asked for.
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",
    # The metric has gathered over all processes before its values are logged (evaluation/module.py).
    r".*recommended to use `self\.log\('(val|test)/.*sync_dist=True.*",
)


SELDOM_OF_USE = ("torch.utils.cpp_extension",)
"""That CUDA's tools are there and no GPU is."""
ASKED_FOR = ("lightning.pytorch.callbacks.model_summary", "lightning.pytorch.profilers.profiler")
"""What `trainer.enable_model_summary` and `trainer.profiler` give is told as notices are."""


def quieten() -> None:
    """Advertisements, tables of devices, ranks and seeds, and warnings about Lightning itself; errors and other
    warnings stay, and what the user asked for."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ASKED_FOR:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in SELDOM_OF_USE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in SILENCED:
        warnings.filterwarnings("ignore", pattern)
    os.environ.setdefault("WANDB_SILENT", "true")
