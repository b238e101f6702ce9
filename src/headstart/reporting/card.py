"""A finished run's model card: `README.md` as huggingface.co shows it, written from the run's record. No torch."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from headstart.config.fitting import published_for
from headstart.config.restore import restore
from headstart.config.schema import SourceKind
from headstart.config.weights import UNKNOWN
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.visible import one_line

CARD, PICTURE = "README.md", "card.jpg"
NOT_STATED = "not stated"
MOST_CLASSES = 100
"""Rows of the table of classes."""


def card(record: RunRecord, name: str, thresholds: Mapping[str, float], picture: bool) -> str:
    """`name`: of the run's folder; `picture`: whether card.jpg lies beside it."""
    front = yaml.safe_dump(_front(record, name), sort_keys=False, allow_unicode=True)
    sections = (_what(record, picture), _origin(record), _data(record), _numbers(record, thresholds), _limits(record))
    body = "\n\n".join("\n".join(lines) for lines in (*sections, _use(record)))
    return f"---\n{front}---\n\n# {plain(name)}\n\n{body}\n"


def plain(text: Any) -> str:
    """A name of a stranger as text of markdown: it forms no link, no tag and no table."""
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", html.escape(one_line(str(text)), quote=False))


def _front(record: RunRecord, name: str) -> dict[str, Any]:
    """What the hub reads. No licence: that of the weights is the user's to state, the sources' stand in the text."""
    config, dataset = record.config, one_line(str(record.dataset.get("name")))
    results = [
        {
            "task": {"type": "object-detection"},
            "dataset": {"name": dataset, "type": dataset, "split": split},
            "metrics": [
                {"type": metric, "name": shown, "value": round(value, 4)}
                for metric, shown in (("map", "mAP"), ("map_50", "AP50"))
                if (value := _number(record.metrics[split].get(metric))) is not None
            ],
        }
        for split in _splits(record)
    ]
    tags = ["headstart", "transfer-learning", _of(config, "model", "architecture"), _of(config, "backbone", "name")]
    return {
        "library_name": "headstart",
        "pipeline_tag": "object-detection",
        "tags": tags,
        "model-index": [{"name": one_line(name), "results": [result for result in results if result["metrics"]]}],
    }


def _what(record: RunRecord, picture: bool) -> Iterator[str]:
    config, names = record.config, record.dataset.get("class_names", [])
    shown = ", ".join(map(plain, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    classes = f"{len(names)} {'class' if len(names) == 1 else 'classes'}"
    yield (
        f"A detector of {classes} ({shown}): {plain(_of(config, 'model', 'architecture'))} on "
        f"{plain(_of(config, 'backbone', 'name'))}, fine-tuned by "
        f"Headstart with `strategy={plain(record.choices.get('strategy'))}`."
    )
    if picture:
        yield f"\n![A validation picture as annotated, and as the model finds it]({PICTURE})"


def _origin(record: RunRecord) -> Iterator[str]:
    yield "## Where it comes from\n"
    yield f"{' → '.join(map(plain, record.lineage)) or NOT_STATED}\n"
    yield f"- Weights it began with: {plain(licence_of(record))}"
    yield "- The pictures' licence: not stated in the data set's files. That of this model is for you to say."


def licence_of(record: RunRecord) -> str:
    """Of the published weights at the beginning of the lineage, with what they are."""
    config = record.config
    try:
        kind = SourceKind(config["source"]["kind"])
        row = published_for(kind, restore("model", config["model"]), restore("backbone", config["backbone"]))
    except (UserError, KeyError, ValueError, TypeError):
        return NOT_STATED
    if kind is SourceKind.scratch:
        return "none: random numbers"
    path = config["source"].get("path")
    if kind in (SourceKind.checkpoint, SourceKind.pretrained):
        before = _source_record(record, path)
        return f"another run's ({licence_of(before)})" if before else f"another run's; licence {NOT_STATED}"
    if kind is SourceKind.hub:
        return str(record.load.get("where", NOT_STATED))
    if row is None or path:
        return f"a file of the user's; licence {NOT_STATED}"
    licence = NOT_STATED if row.licence == UNKNOWN else row.licence
    return f"{row.title}, trained on {row.trained_on}; licence: {licence}"


def _source_record(record: RunRecord, path: str | None) -> RunRecord | None:
    """Of the run that the source is, where it still lies there."""
    folder = Path(path).expanduser() if path else None
    if folder is None or not (folder / "record.json").is_file():
        return None
    try:
        return RunRecord.read(folder / "record.json")
    except UserError:
        return None


def _data(record: RunRecord) -> Iterator[str]:
    dataset = record.dataset
    yield f"## Data\n\n{plain(dataset.get('name'))}:\n"
    yield "| split | pictures | objects | from |\n|---|---:|---:|---|"
    for split, count in (dataset.get("num_images") or {}).items():
        boxes = sum(((dataset.get("num_boxes") or {}).get(split) or {}).values())
        whence = plain((dataset.get("splits_from") or {}).get(split, NOT_STATED))
        yield f"| {plain(split)} | {count:,} | {boxes:,} | {whence} |"


def _numbers(record: RunRecord, thresholds: Mapping[str, float]) -> Iterator[str]:
    yield "## What it finds\n\n| split | pictures | mAP | AP50 | AP75 |\n|---|---:|---:|---:|---:|"
    for split in _splits(record):
        found = record.metrics[split]
        values = " | ".join(_shown(found.get(name)) for name in ("map", "map_50", "map_75"))
        yield f"| {split} | {found.get('images', '')} | {values} |"
    epochs = (record.metrics.get("selection") or {}).get("epochs")
    chose = f" The validation pictures also chose the best of {epochs} epochs." if epochs else ""
    yield f"\nmAP is COCO's, over IoU 0.50 to 0.95. These are the numbers of one run.{chose}"
    found = record.metrics.get("val") or {}
    names = record.dataset.get("class_names", [])
    yield "\n| class | AP | boxes to learn from | least score |\n|---|---:|---:|---:|"
    learnt = (record.dataset.get("num_boxes") or {}).get("train") or {}
    for name in names[:MOST_CLASSES]:
        chosen = f"{thresholds[name]:.2f}" if name in thresholds else "0.50 (none chosen)"
        precision = _shown((found.get("per_class") or {}).get(name))
        yield f"| {plain(name)} | {precision} | {learnt.get(name, 0):,} | {chosen} |"
    if len(names) > MOST_CLASSES:
        yield f"\nand {len(names) - MOST_CLASSES} more classes (record.json)."
    yield "\nThe least score of a class is where F1 on the validation pictures is best, at IoU 0.5."


def _limits(record: RunRecord) -> Iterator[str]:
    dataset, trained = record.dataset, (record.dataset.get("num_boxes") or {}).get("train") or {}
    few = [name for name in dataset.get("class_names", []) if trained.get(name, 0) < 20]
    low, high, how = dataset.get("min_size"), dataset.get("max_size"), dataset.get("resize", "keep")
    kept = f"resized to {low} pixels on the short side, or {high} on the long one"
    size = f"stretched to {low} x {low} pixels" if how == "stretch" else kept
    yield "## Limits\n"
    yield f"- It sees pictures {size}: what is a few pixels large then is not found."
    yield "- It knows pictures like those it was trained on. What it finds on others was not measured."
    if few:
        names = ", ".join(map(plain, few[:10]))
        yield f"- Fewer than 20 boxes to learn from: {names}{' and others' if len(few) > 10 else ''}."


def _use(record: RunRecord) -> Iterator[str]:
    yield "## How to use it\n"
    yield '```python\nimport headstart\n\nmodel = headstart.load("<this folder>")'
    yield 'found = model.predict("photo.jpg")  # .boxes_xyxy .scores .labels .names'
    yield 'found.draw().save("found.jpg")\n```\n'
    yield "```sh\nheadstart predict run=<this folder> images=my/photos\n```\n"
    yield "To start another training from it: `headstart train source=checkpoint source.path=<this folder> …`."
    packages = (record.environment.get("packages") or {}).items()
    versions = ", ".join(
        f"{name} {version}" for name, version in packages if name in ("headstart", "torch", "torchvision")
    )
    yield f"\nTrained with {versions or 'versions that are not stated'} (record.json has everything else)."


def _splits(record: RunRecord) -> list[str]:
    return [split for split in ("val", "test") if isinstance(record.metrics.get(split), dict)]


def _of(config: Mapping[str, Any], group: str, key: str) -> str:
    return one_line(str((config.get(group) or {}).get(key, NOT_STATED)))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _shown(value: Any) -> str:
    return "not measured" if (number := _number(value)) is None else f"{number:.3f}"
