"""Settings that cannot change what a run finds: always, or with what the others say. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from headstart.config.kinds import KINDS
from headstart.config.plain import plain
from headstart.config.postprocess import METHOD_OF, OF_MODEL, Rule

Settings = Mapping[str, Any]
"""`group.key` -> value, of a run or of one that it starts from."""

WITHOUT_EFFECT = (
    "output_dir",
    "data_dir",
    "rerun",
    "on_change",
    "logger",
    "study",
    "dataset.num_workers",
    "dataset.cache",
    "dataset.cache_dir",
    "dataset.cache_limit_gib",
    "dataset.download",
    "dataset.url_set",
    "strategy.few_shot",  # refuses, and changes nothing
    "strategy.feature_store",  # what it came to is in the record, and is compared where a run goes on
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_autolog_hparams",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "training.profile",
    "trainer.model_registry",
    "trainer.detect_anomaly",
    "trainer.inference_mode",
    "trainer.num_sanity_val_steps",
    "trainer.reload_dataloaders_every_n_epochs",
    "trainer.limit_predict_batches",
    "training.keep",
    "evaluation.worst_pictures",
)
"""Settings that never change what a run finds, or the run that it starts from."""


NESTED = ("dataset.", "source.", "strategy.", "augment.", "optimizer.", "scheduler.", "trainer.", "training.")
"""What a source that is a run has of a run's settings."""

METHODS: dict[Any, str] = {architecture.value: method.value for architecture, method in METHOD_OF.items()}
"""How detections become one, of models that have a way of their own."""

POSTPROCESS = {field.name: field.default for field in fields(Rule)}
"""Key -> what is done where it is null."""


def is_without_effect(name: str) -> bool:
    """Whether it never has one; `name` is one of a run, or of a source that is a run."""
    name = of_run(name)
    return any(name == setting or name.startswith(f"{setting}.") for setting in WITHOUT_EFFECT)


def of_run(name: str) -> str:
    """The same setting of the run itself: a source that is a run has settings of the same kinds."""
    while name.startswith("source.") and name.removeprefix("source.").startswith(NESTED):
        name = name.removeprefix("source.")
    return name


def idle(settings: Settings) -> dict[str, str]:
    """Name -> why it has no effect, of those that would have one if others were different.

    `settings` are all of a run; where its source is a run, that one's are among them under `source.`.
    """
    found: dict[str, str] = {}
    prefix = ""
    while any(name.startswith(prefix) for name in settings):
        own = {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
        network = {name: value for name, value in settings.items() if name.startswith(("model.", "backbone."))}
        reasons = {name: why for rule in _RULES for name, why in rule(network | own)}
        found |= {prefix + name: why for name, why in reasons.items() if name in own}
        prefix += "source."
    return found


def idle_words(words: Sequence[str], settings: Settings) -> list[str]:
    """A line for each override that was typed and has no effect."""
    reasons = idle(settings) | {"trainer.limit_predict_batches": "training predicts nothing"}
    keyed = {word: word.partition("=")[0].lstrip("+") for word in words}
    return [f"{word} has no effect: {reasons[key]}." for word, key in keyed.items() if key in reasons]


Found = Iterator[tuple[str, str]]


def _scheduler(settings: Settings) -> Found:
    if settings.get("scheduler.decay") == "constant":
        yield "scheduler.final_factor", "scheduler.decay=constant does not go down"


def _subset(settings: Settings) -> Found:
    if settings.get("dataset.fraction", 1) == 1 and settings.get("dataset.shots") is None:
        yield "dataset.subset_seed", "all training images are used (dataset.fraction=1, dataset.shots=null)"


def _tiles(settings: Settings) -> Found:
    if settings.get("dataset.tile.size") is None:
        for name in ("overlap", "min_visible", "empty", "whole"):
            yield f"dataset.tile.{name}", "pictures are seen whole (dataset.tile.size=null)"


def _defects(settings: Settings) -> Found:
    """A kind at its default is as one of which nothing is said."""
    for name, action in settings.items():
        kind = KINDS.get(name.removeprefix("dataset.on."))
        if name.startswith("dataset.on.") and kind is not None and action == kind.actions[0].value:
            yield name, "that is what is done anyway"
    if settings.get("dataset.on.tiny_box", "keep") == "keep":
        yield "dataset.min_side", "tiny boxes are counted and kept (dataset.on.tiny_box=keep)"


def _splits(settings: Settings) -> Found:
    file = next((word for word in ("json", "file") if settings.get(f"dataset.train_{word}") is not None), None)
    # One file of a listed format may hold all splits
    in_files = file == "json" or any(settings.get(f"dataset.{split}_file") is not None for split in ("val", "test"))
    given = f"dataset.val_{file}" if in_files else "dataset.val_split"
    if settings.get(given) not in (None, "none"):
        why = f"{given} names the validation split"
        yield "dataset.val_fraction", why
        if not settings.get("dataset.test_fraction"):
            yield "dataset.split_seed", why
    if in_files:
        for split in ("train", "val", "test"):
            yield f"dataset.{split}_split", f"dataset.train_{file} and its like name the files of the splits"


def _rate(settings: Settings) -> Found:
    """A rate that is the strategy's own says nothing new; with any other, the strategy's have no effect."""
    name, lr = settings.get("optimizer.name"), settings.get("optimizer.lr")
    presets = [key for key in settings if key.startswith("strategy.lr.")]
    own = f"strategy.lr.{name}"
    if lr is not None and lr == settings.get(own):
        yield "optimizer.lr", f"{own} is the same"
    elif lr is not None:
        yield own, f"optimizer.lr={lr} goes before it"
    yield from ((key, f"the optimizer is {name}") for key in presets if key != own)


def _network(settings: Settings) -> Found:
    architecture = settings.get("model.architecture")
    if architecture in ("ssd", "ssdlite"):
        yield "backbone.neck_channels", f"model={architecture} has no feature pyramid"
    if architecture in METHODS:
        yield "backbone.neck_channels", f"model={architecture} has the widths of model.size"
    body = (settings.get("backbone.library"), settings.get("backbone.architecture"))
    if body != ("torchvision", "mobilenet_v3_large"):
        yield "model.reduced_tail", "it is of torchvision's mobilenet_v3_large"
    v1 = architecture == "retinanet" and settings.get("model.variant", "v1") == "v1"
    if settings.get("model.box_loss") == ("l1" if v1 else "giou"):
        yield "model.box_loss", "that is what is done anyway"


def _postprocess(settings: Settings) -> Found:
    """What is as it is anyway, and what no method or view asks for. Losses ask for nothing of it."""
    method = METHODS.get(settings.get("model.architecture"), plain(POSTPROCESS["method"]))
    chosen = {key: value for key in POSTPROCESS if (value := settings.get(f"postprocess.{key}")) is not None}
    for key, value in chosen.items():
        model = OF_MODEL.get(key)
        usual = method if key == "method" else plain(POSTPROCESS[key])
        if value == (settings.get(f"model.{model}") if model else usual):
            yield f"postprocess.{key}", "that is what is done anyway"
        elif model:
            yield f"model.{model}", f"postprocess.{key}={value} goes before it"
    views = bool(chosen.get("flips") or chosen.get("scales"))
    if not views:
        yield "postprocess.across", "there is one view of each picture"
    used = {chosen.get("method", method), *([chosen.get("across", "weighted_boxes_fusion")] if views else [])}
    if "soft_nms" not in used:
        yield "postprocess.sigma", "nothing is merged by soft_nms"
    if used <= {"soft_nms", "none"}:
        why = f"postprocess.method={' and '.join(sorted(used))} has no threshold"
        yield from ((key, why) for key in ("postprocess.iou_threshold", "model.nms_threshold"))
    if used == {"none"}:
        yield "postprocess.class_agnostic", "nothing is merged"


def _trainer(settings: Settings) -> Found:
    if "dataset.draw_seed" in settings:
        yield "trainer.limit_test_batches", "drawn data has no test split"
    if settings.get("trainer.gradient_clip_val") in (None, 0):
        yield "trainer.gradient_clip_algorithm", "trainer.gradient_clip_val clips nothing"
    if settings.get("trainer.devices") == 1 and settings.get("trainer.num_nodes", 1) == 1:
        yield "trainer.sync_batchnorm", "one process trains"
    if settings.get("training.early_stopping_patience") is None and settings.get("trainer.max_time") is None:
        for least in ("min_epochs", "min_steps"):
            yield f"trainer.{least}", "nothing ends this run early"


_RULES: tuple[Callable[[Settings], Found], ...] = (
    _scheduler,
    _subset,
    _tiles,
    _defects,
    _splits,
    _rate,
    _network,
    _postprocess,
    _trainer,
)
