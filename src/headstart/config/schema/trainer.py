"""Lightning's Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional


@dataclass
class TrainerConfig:
    """The arguments of `lightning.Trainer`, under their own names; a test holds the list equal to Lightning's.

    `precision: auto` is ours: bf16-mixed where the processor or GPU computes in it, else 32-true (CPU) or
    16-mixed (GPU). On a GPU a resumed run equals an undisturbed one only with `deterministic: true`. `callbacks`,
    `logger` and `default_root_dir` are Headstart's to set.
    """

    accelerator: Any = "auto"
    strategy: Any = "auto"
    devices: Any = 1
    num_nodes: int = 1
    precision: Any = "auto"
    fast_dev_run: Any = False
    max_epochs: Optional[int] = 20
    min_epochs: Optional[int] = None
    max_steps: int = -1
    min_steps: Optional[int] = None
    max_time: Any = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    limit_test_batches: Any = None
    limit_predict_batches: Any = None
    overfit_batches: Any = 0.0
    val_check_interval: Any = None
    check_val_every_n_epoch: Optional[int] = 1
    num_sanity_val_steps: Optional[int] = 0
    log_every_n_steps: Optional[int] = 10
    enable_checkpointing: Optional[bool] = True
    enable_progress_bar: Optional[bool] = True
    enable_model_summary: Optional[bool] = False
    accumulate_grad_batches: int = 1
    gradient_clip_val: Any = 10.0
    gradient_clip_algorithm: Optional[str] = None
    deterministic: Any = None
    benchmark: Optional[bool] = None
    inference_mode: bool = True
    use_distributed_sampler: bool = False
    profiler: Optional[str] = None
    detect_anomaly: bool = False
    barebones: bool = False
    plugins: Any = None
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    model_registry: Optional[str] = None
    enable_autolog_hparams: bool = True
