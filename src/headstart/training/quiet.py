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
    # Resuming is what the user asked for.
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    # With trainer.check_val_every_n_epoch; a name that no validation gives is an error all the same.
    r".*ModelCheckpoint\(monitor=.*could not find the monitored key.*",
)


def quieten() -> None:
    """Advertisements, device tables and warnings about Lightning itself; errors and other warnings stay."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in SILENCED:
        warnings.filterwarnings("ignore", pattern)
    os.environ.setdefault("WANDB_SILENT", "true")
