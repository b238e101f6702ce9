"""Data from which nothing can be learnt, or on which nothing can be measured: refused before training."""

from __future__ import annotations

from headstart.config.schema import DatasetConfig, FileDatasetConfig, RunConfig
from headstart.data.show import ignored
from headstart.data.splits import ALL, NONE
from headstart.data.types import DatasetInfo
from headstart.errors import UserError


def check_boxes(info: DatasetInfo, dataset: DatasetConfig) -> None:
    """UserError where no box trains, or a split that is measured has none to be found."""
    for split in info.num_images:
        if not sum(info.num_boxes[split].values()):
            what = "nothing can be learnt" if split == "train" else "mAP cannot be computed"
            raise UserError(f"{_no_box(info, split)}: {what}. {_remedy(info, split, dataset)}")


def check_data(info: DatasetInfo, config: RunConfig) -> None:
    """As `check_boxes`; and where no epoch can be judged by what is monitored."""
    check_boxes(info, config.dataset)
    for name in ("min_size", "max_size"):
        if not getattr(info, name):
            raise UserError(
                f"dataset.{name}=null: a run is made with a number. `headstart train` finds one from the training "
                "boxes; elsewhere give it."
            )
    split, _, rest = config.monitor.name.partition("/ap/")
    boxes = info.num_boxes.get(split, {})
    if rest and boxes.get(rest) == 0:
        raise UserError(
            f"monitor.name={config.monitor.name}: {info.name} has no box of the class {rest} in {split}, so that no "
            f"epoch can be judged by it. Classes with boxes there: {', '.join(name for name in boxes if boxes[name])}."
        )


def _no_box(info: DatasetInfo, split: str) -> str:
    """With the numbers, and where the split is from."""
    images, words = info.num_images[split], ignored(info, split)
    but = f"; what there is of boxes is ignored ({words})" if words else ""
    return (
        f"Data set {info.name}: {split} ({info.splits_from[split]}) has no box to be "
        f"{'learnt' if split == 'train' else 'found'} in its {images} pictures{but}"
    )


def _remedy(info: DatasetInfo, split: str, dataset: DatasetConfig) -> str:
    """The setting that chose the images, the flags that hide the boxes, or the labels."""
    if not isinstance(dataset, FileDatasetConfig):
        return f"Raise dataset.num_{split}."
    if split == "train" and dataset.fraction < 1:
        return f"Raise dataset.fraction={dataset.fraction}, or choose other images with dataset.subset_seed=…."
    if info.splits_from[split].startswith("drawn"):
        return f"Draw other images with dataset.split_seed=…, or more of them with dataset.{split}_fraction=…."
    flags = "Clear the flag (COCO: iscrowd, ignore; VOC: difficult) of the objects that count"
    return f"{flags if ignored(info, split) else 'Label them'}, or {_another(split, dataset)}."


def _another(split: str, dataset: FileDatasetConfig) -> str:
    if getattr(dataset, "train_json", None) is not None:
        name = f"name another file with dataset.{split}_json=<file>"
        return name if split == "train" else f"{name}, or leave dataset.{split}_json out"
    name = f"name another split with dataset.{split}_split=<name>"
    return {
        "train": name,
        "val": f"{name}, or draw one from all images with dataset.train_split={ALL}",
        "test": f"{name}, or measure none with dataset.test_split={NONE}",
    }[split]
