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
)


def quieten() -> None:
    """Advertisements, device tables and warnings about Lightning itself; errors and other warnings stay."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in SILENCED:
        warnings.filterwarnings("ignore", pattern)
    os.environ.setdefault("WANDB_SILENT", "true")
