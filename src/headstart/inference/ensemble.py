"""Several runs as one detector: what they found in the same pictures, fused. Needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from headstart.config.postprocess import Rule, rule_of
from headstart.config.restore import restore
from headstart.config.schema import PostprocessConfig
from headstart.errors import UserError
from headstart.inference.merging import merge_pictures
from headstart.records.detections import OF_DETECTIONS, SplitDetections
from headstart.records.record import RunRecord

Runs = Mapping[Path, RunRecord]


def as_one(parts: Sequence[SplitDetections], rule: Rule) -> SplitDetections:
    """Of runs that were measured on the same pictures and classes; of one, what `rule.method` makes of its own."""
    measured = parts[0].measured
    assert all(np.array_equal(part.measured, measured) for part in parts)
    together = {name: np.concatenate([getattr(part, name) for part in parts]) for name in OF_DETECTIONS}
    found = SplitDetections(**together, measured=measured)
    return merge_pictures(found, rule.merging_views if len(parts) > 1 else rule, sources=len(parts))


def own_rule(record: RunRecord, *changes: PostprocessConfig) -> Rule:
    """By which the run's detections became one, and what of it `changes` say otherwise."""
    config = record.config
    return rule_of(restore("model", config["model"]), restore("postprocess", config.get("postprocess", {})), *changes)


def common_rule(runs: Runs, changes: PostprocessConfig) -> Rule:
    """Raises `UserError` where the runs have several."""
    rules = {folder: own_rule(record, changes) for folder, record in runs.items()}
    first = next(iter(rules))
    for folder, rule in rules.items():
        for name in (field.name for field in fields(Rule) if field.name not in ("flips", "scales", "method")):
            ours, theirs = getattr(rules[first], name), getattr(rule, name)
            if ours != theirs:
                raise UserError(
                    f"run={first},{folder}: they have postprocess.{name}={ours} and {theirs}. Give one for the "
                    f"ensemble: postprocess.{name}=…"
                )
    return rules[first]


def common_target(runs: Runs, split: str) -> str:
    """The fingerprint of the split that all runs were measured on. Raises `UserError` where they were not on one."""
    prints = {folder: _fingerprint(folder, record, split) for folder, record in runs.items()}
    first = next(iter(prints))
    for folder in prints:
        if prints[folder] != prints[first]:
            raise UserError(f"run={first},{folder}: {_difference(runs[first], runs[folder], split)}")
    return prints[first]


def _fingerprint(folder: Path, record: RunRecord, split: str) -> str:
    if record.status != "finished":
        raise UserError(f"{folder}: the run is {record.status}. The command that started it goes on with it.")
    known = record.dataset.get("fingerprints") or {}
    if split not in known:
        raise UserError(f"split={split}: {folder} has {', '.join(known) or 'no fingerprints: train it again'}.")
    return known[split]


def _difference(one: RunRecord, other: RunRecord, split: str) -> str:
    """Why they are no ensemble."""
    ours, theirs = (record.dataset.get("class_names", []) for record in (one, other))
    if set(ours) != set(theirs):
        sides = {"the first": set(ours) - set(theirs), "the second": set(theirs) - set(ours)}
        alone = " and ".join(f"{', '.join(sorted(names))} only of {which}" for which, names in sides.items() if names)
        return f"their classes are not the same ({alone}). An ensemble has one list of classes."
    names = [record.dataset.get("name", "?") for record in (one, other)]
    return (
        f"their {split} pictures or annotations are not the same (data sets {' and '.join(names)}). An ensemble is "
        "measured on one set of pictures."
    )
