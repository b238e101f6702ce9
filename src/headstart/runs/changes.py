"""What is not as it was when a run was begun: its data, its source, the arithmetic. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VERSIONS = ("headstart", "torch", "torchvision", "lightning", "timm")
"""Packages whose versions change numbers."""


def data_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of `RunRecord.dataset`: classes, and each split of which the pictures or boxes are others."""
    if not then.get("fingerprints"):
        return ["its record does not say on what data it was begun"]
    classes = _class_changes(list(then["class_names"]), list(now["class_names"]))
    splits = list(dict.fromkeys([*then["fingerprints"], *now["fingerprints"]]))
    changed = [split for split in splits if then["fingerprints"].get(split) != now["fingerprints"].get(split)]
    # With other class names every fingerprint is another: then the numbers alone say what has changed.
    return classes + [
        line for split in changed if (line := _split_change(split, then, now, say_equal_numbers=not classes))
    ]


def source_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of `RunRecord.load`: the detector's own code, and its weights."""
    code = ["the file of the detector's code (model.file) is another"] if then.get("code") != now.get("code") else []
    if then.get("digest") == now.get("digest"):
        return code
    return [*code, f"the source {now['source']} has other weights ({now['where'] or 'no file'})"]


def arithmetic_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of `RunRecord.environment`: what moves a result by more than the order of its sums."""
    versions_then, versions_now = then.get("packages", {}), now.get("packages", {})
    return [
        *_pair("precision", then.get("precision"), now.get("precision")),
        *_pair("device", _kind(then.get("device")), _kind(now.get("device"))),
        *_pair("feature_store", then.get("feature_store") or {}, now.get("feature_store") or {}),
        *(line for name in VERSIONS for line in _pair(name, versions_then.get(name), versions_now.get(name))),
    ]


def small_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of `RunRecord.environment`: with these the result is not the same to the last bit, but no worse for it."""
    names = ["threads", "processor", "canvases"]
    if _kind(then.get("device")) == _kind(now.get("device")):
        names.append("device")
    return [line for name in names for line in _pair(name, then.get(name), now.get(name))]


def cost_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of `RunRecord.environment`: what changes the time that a run takes, and nothing of its result."""
    return list(_pair("cache", then["cache"], now.get("cache"))) if "cache" in then else []


def _class_changes(then: list[str], now: list[str]) -> list[str]:
    added, gone = [name for name in now if name not in then], [name for name in then if name not in now]
    if added or gone:
        words = [f"{what} {', '.join(names)}" for what, names in (("new:", added), ("gone:", gone)) if names]
        return [f"the classes are others ({'; '.join(words)})"]
    return [f"the classes stand in another order ({', '.join(now)})"] if then != now else []


def _split_change(split: str, then: Mapping[str, Any], now: Mapping[str, Any], say_equal_numbers: bool) -> str | None:
    if split not in then["fingerprints"] or split not in now["fingerprints"]:
        return f"there is {'no' if split not in now['fingerprints'] else 'a'} {split} split now"
    before, after = _numbers(then, split), _numbers(now, split)
    parts = [f"{after[what]} {what} instead of {before[what]}" for what in after if after[what] != before[what]]
    if parts:
        return f"{split} has {' and '.join(parts)}"
    return f"{split} has other pictures or boxes, as many as before" if say_equal_numbers else None


def _numbers(dataset: Mapping[str, Any], split: str) -> dict[str, int]:
    return {"images": dataset["num_images"][split], "boxes": sum(dataset["num_boxes"][split].values())}


def _pair(name: str, then: Any, now: Any) -> Iterator[str]:
    if then != now:
        yield f"{name} {then} -> {now}"


def _kind(device: str | None) -> str | None:
    """`gpu` for any of CUDA's, by whatever name."""
    return device if device in (None, "cpu", "mps") else "gpu"
