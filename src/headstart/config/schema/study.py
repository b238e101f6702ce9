"""What -m does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional


@dataclass
class StudyConfig:
    """What `-m` does with the combinations; nothing here changes what a run finds."""

    jobs: Any = 1
    """Runs at a time, each a process of its own; processor threads and GPUs are divided among them. `auto`: one, until
    it has trained and validated an epoch; then as many as memory, processor cores, and the memory and time of the GPUs
    have room for, which is said."""
    sources_dir: Optional[str] = None
    """Where the runs that source=pretrained starts from have their folders, for every study that needs them; null:
    `sources` below `output_dir`."""
    only_source: int = 0
    """Do not train this run but the source it starts from (1), that one's own (2) …; studies use it."""
