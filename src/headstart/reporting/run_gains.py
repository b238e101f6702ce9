"""What each single run gained over its counterpart from scratch: a run alone cannot know it."""

from __future__ import annotations

from pathlib import Path

from headstart.reporting.arms import metric_of
from headstart.reporting.baseline import counterpart, is_scratch
from headstart.reporting.comparison import Target


def run_gains(target: Target) -> dict[Path, float]:
    """Folder -> its metric minus that from scratch with the same seed, data and labels; without those that have none.

    Pooled or not: of each run by itself.
    """
    metric, split = target.question.metric, target.question.split
    scratch = [arm for arm in target.arms if is_scratch(arm)]
    gains = {}
    for arm in target.arms:
        origin = None if arm in scratch else counterpart(arm, scratch, {}, metric, split)
        values = {} if origin is None else origin.by_seed(metric, split)
        for path, record in arm.runs:
            value, seed = metric_of(record, metric, split), record.choices["seed"]
            if value is not None and seed in values:
                gains[path] = value - values[seed]
    return gains
