"""Every setting of a run changes its result, or is refused, or is in neither its name nor its labels.

A table: key -> a changed value and the proof. A new key without a line fails.
"""

import copy
import dataclasses
import functools
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import hydra
import numpy as np
import PIL.Image
import pytest
import torch
from omegaconf import OmegaConf

import headstart.run
from headstart import build
from headstart.conf_path import conf_dir
from headstart.config import schema as s
from headstart.config.checks import check
from headstart.config.fitting import coco_weights
from headstart.config.postprocess import rule_of
from headstart.config.resolve import register, resolved_dict, typed
from headstart.config.schemas import SCHEMAS
from headstart.data import catalog
from headstart.data.augment import draw
from headstart.data.batch import Detections
from headstart.data.draws import image_keys, name_digests
from headstart.data.info import describe
from headstart.data.types import Size
from headstart.detectors.augmented import views_of
from headstart.detectors.factory import build_detector
from headstart.detectors.merging import merged
from headstart.errors import UserError
from headstart.evaluation.coco_map import CocoMeanAveragePrecision
from headstart.records.record import RunRecord
from headstart.runs.identity import config_hash, flat, run_name, settings_that_matter
from headstart.runs.idle import idle_words

from ..tiny_run import TINY


def composed(*words: str) -> s.RunConfig:
    """As the command line does it, which takes a tenth of a second; but choices alone once, settings into a copy."""
    cfg = copy.deepcopy(_chosen(*(word for word in words if _is_choice(word))))
    for word in words:
        if not _is_choice(word):
            key, _, value = word.lstrip("+").partition("=")
            OmegaConf.update(cfg, key, OmegaConf.from_dotlist([f"v={value}"]).v, force_add=word.startswith("+"))
    return typed(cfg, s.RunConfig)


def _is_choice(word: str) -> bool:
    key = word.partition("=")[0]
    return "@" in key or key in SCHEMAS or key == "logger"


@functools.cache
def _chosen(*words: str) -> Any:
    register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return hydra.compose("train", list(words))


# ------------------------------------------------------------------------------------------ what is shown how


@pytest.fixture
def trained(tiny_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """What two steps of a tiny detector come to: its weights, its curve and its metrics."""

    monkeypatch.chdir(tmp_path)  # where stored features go
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def call(config: s.RunConfig) -> Any:
        key = repr(config)
        if key not in KNOWN:
            KNOWN[key] = train(config)
        return KNOWN[key]

    def train(config: s.RunConfig) -> Any:
        experiment = headstart.run.prepare(config)
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        record = RunRecord(config=resolved_dict(config))
        record.plan = [dataclasses.asdict(stage) for stage in experiment.plan.stages]
        headstart.run.train(experiment, folder, record)
        history = [{k: v for k, v in row.items() if "seconds" not in k} for row in record.metrics["history"]]
        weights = {name: tensor.flatten().tolist() for name, tensor in experiment.detector.state_dict().items()}
        return repr((weights, history, {k: v for k, v in record.metrics.items() if k != "history"}))

    yield call
    torch.set_num_threads(threads)


KNOWN: dict[str, Any] = {}


def data(config: s.RunConfig) -> Any:
    """The images and boxes of each split, in the order of the classes."""
    found = describe(catalog.read(config.dataset, config.seed), config.dataset)
    return found.fingerprints, found.class_names


def limit(config: s.RunConfig) -> Any:
    """Of pixels, up to which each image is read."""
    splits = catalog.read(config.dataset, config.seed).splits.values()
    return [getattr(image.read, "max_pixels", None) for images in splits for image in images]


def detector(config: s.RunConfig) -> Any:
    """Its layers, numbers and shapes."""
    made = build_detector(config.model, config.backbone, ("a", "b"))
    simple = (int, float, str, bool, tuple, list, torch.memory_format, s.Variant)
    numbers = {
        f"{name}.{key}": str(value)
        for name, module in made.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, simple) and not key.startswith("__")
    }
    return numbers, {name: tensor.shape for name, tensor in made.state_dict().items()}, repr(made)


def augmentation(config: s.RunConfig) -> str:
    """What is drawn for a few images."""
    keys = image_keys(0, 0, name_digests(map(str, range(30))))
    targets = {
        "present": np.ones((30, 1), bool),
        "boxes_xyxy": np.tile([[[20.0, 20.0, 60.0, 60.0]]], (30, 1, 1)),
    }
    sizes_hw = np.full((30, 2), (80, 100))
    return repr(draw(config.augment, Size(80, 100), keys, sizes_hw, targets, sizes_hw))


def trainer(config: s.RunConfig) -> Any:
    """What Lightning made of the arguments."""
    made = build.build_trainer(config.trainer, Path(), [], [], None)
    flags = (torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled())
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    synced = type(getattr(made.strategy, "_layer_sync", None))
    kinds = (type(made.accelerator), type(made.strategy), type(made.precision_plugin), synced)
    return kinds, made.num_devices, made.num_nodes, made.precision, flags


def metric(config: s.RunConfig) -> Any:
    made = CocoMeanAveragePrecision(("a",), config.evaluation.engine, config.evaluation.max_detections)
    return made.engine, made.max_detections


def merging(config: s.RunConfig) -> Any:
    """What becomes of drawn boxes, and in which views a picture is looked at."""
    generator = torch.Generator().manual_seed(0)
    corners = 20 * torch.rand(1, 60, 2, generator=generator)
    boxes = torch.cat([corners, corners + 20], -1)
    scores, labels = torch.rand(1, 60, generator=generator), torch.arange(60)[None] % 3
    rule = rule_of(config.model, config.postprocess)
    candidates = Detections(scores > rule.score_threshold, boxes, scores, labels)
    views = views_of(rule)
    found = [merged(candidates, each, sources=len(views)) for each in (rule, rule.merging_views)]
    return views, [{name: tensor.tolist() for name, tensor in vars(one).items()} for one in found[: len(views)]]


def coco_file(config: s.RunConfig) -> Any:
    """Which weights of torchvision, or which file."""
    found = coco_weights(config.model, config.backbone)
    assert found is not None
    source: Any = config.source
    return found.title, source.weights, source.path


def setting(config: s.RunConfig) -> Any:
    """That what reads it is given another value: a file, a folder, a list of names."""
    return resolved_dict(config)["source"]


def file(config: s.RunConfig) -> Any:
    """What the user's own code is given (tests/detectors/test_extension.py runs it)."""
    return resolved_dict(config)["model"]


TRAINED = "trained"
IN_THE_NAME = "in the name"  # a choice is called so: in the run's folder, or in the comparison's labels
SAME = "same"  # in neither
SAME_RESULT = "same result"  # likewise, and two steps show it
MORE = "more"  # the record has more in it, and is no other result


@dataclasses.dataclass(frozen=True)
class Row:
    change: str
    proof: Any
    """One of the words above, a function of the configuration whose value must differ, or the text of a refusal."""
    base: str = ""


def refused(text: str) -> tuple[str, str]:
    return ("refused", text)


LONGER = "trainer.max_epochs=4"
STORED = "strategy=head_only trainer.max_epochs=2"
VOC, COCO, YOLO = (f"dataset={name}_folder dataset.root={{photos}}/{name}" for name in ("voc", "coco", "yolo"))
COCO_TWO = f"{COCO} dataset.train_json=a.json"
CSV_TWO = "dataset=csv_folder dataset.root={photos}/csv dataset.train_file=a.csv"

OWN = "model=schema_extension model.architecture=extension model.name=toy model.file=a.py"

TABLE: dict[str, Row] = {
    # ------------------------------------------------------------------------------------------------ root
    "seed": Row("seed=1", TRAINED),
    "data_dir": Row("data_dir=elsewhere", SAME),
    "output_dir": Row("output_dir=elsewhere", SAME),
    "rerun": Row("rerun=true", SAME),
    "on_change": Row("on_change=keep", SAME),
    "study.jobs": Row("study.jobs=2", SAME),
    "study.sources_dir": Row("study.sources_dir=x", SAME),
    "study.only_source": Row("study.only_source=1", SAME),
    "logger.wandb.*": Row("logger=wandb", SAME),
    "logger.tensorboard.*": Row("logger=tensorboard", SAME),
    "logger.log_images": Row("logger.log_images=0", SAME_RESULT),
    "monitor.name": Row("monitor.name=train/loss monitor.mode=min", TRAINED, f"{LONGER} optimizer.lr=1"),
    "monitor.mode": Row("monitor.mode=min", TRAINED, f"{LONGER} monitor.name=train/loss optimizer.lr=1e-2"),
    "training.ema_decay": Row("training.ema_decay=0.5", TRAINED),
    "training.early_stopping_patience": Row("training.early_stopping_patience=1", TRAINED, LONGER),
    "training.evaluate_untrained": Row("training.evaluate_untrained=true", MORE),
    "training.profile": Row("training.profile=true", SAME_RESULT),
    "training.keep": Row("training.keep=all", SAME),
    "evaluation.engine": Row("evaluation.engine=faster_coco_eval", metric),
    "evaluation.max_detections": Row("evaluation.max_detections=10", metric),
    "evaluation.worst_pictures": Row("evaluation.worst_pictures=0", SAME_RESULT),
    "evaluation.retention": Row("evaluation.retention=true", MORE),
    "postprocess.method": Row("postprocess.method=weighted_boxes_fusion", merging),
    "postprocess.iou_threshold": Row("postprocess.iou_threshold=0.2", merging),
    "postprocess.score_threshold": Row("postprocess.score_threshold=0.3", merging),
    "postprocess.max_detections": Row("postprocess.max_detections=7", merging),
    "postprocess.class_agnostic": Row("postprocess.class_agnostic=true", merging),
    "postprocess.sigma": Row("postprocess.sigma=0.1", merging, "postprocess.method=soft_nms"),
    "postprocess.flips": Row("postprocess.flips=[horizontal]", merging),
    "postprocess.scales": Row("postprocess.scales=[1.5]", merging),
    "postprocess.across": Row("postprocess.across=nms", merging, "postprocess.flips=[vertical]"),
    # --------------------------------------------------------------------------------------------- dataset
    "dataset.name": Row("dataset.name=mine", IN_THE_NAME),
    "dataset.min_size": Row("dataset.min_size=48", TRAINED, "dataset.max_size=400"),
    "dataset.max_size": Row("dataset.max_size=72", TRAINED),
    "dataset.resize": Row("dataset.resize=stretch", TRAINED, "dataset.max_size=64"),
    "dataset.tile.size": Row("dataset.tile.size=64", TRAINED),
    "dataset.tile.overlap": Row("dataset.tile.overlap=0.5", TRAINED, "dataset.tile.size=64"),
    "dataset.tile.min_visible": Row("dataset.tile.min_visible=1", TRAINED, "dataset.tile.size=64"),
    "dataset.tile.empty": Row("dataset.tile.empty=1", TRAINED, "dataset.tile.size=64"),
    "dataset.tile.whole": Row("dataset.tile.whole=false", TRAINED, "dataset.tile.size=64"),
    "dataset.fraction": Row("dataset.fraction=0.5", TRAINED),
    "dataset.shots": Row("dataset.shots=1", TRAINED, "dataset.num_train=12"),
    "dataset.subset_seed": Row("dataset.subset_seed=5", TRAINED, "dataset.fraction=0.5"),
    "dataset.batch_size": Row("dataset.batch_size=4", TRAINED),
    "dataset.num_workers": Row("dataset.num_workers=1", SAME),
    "dataset.cache": Row("dataset.cache=none", SAME_RESULT),
    "dataset.cache_dir": Row("dataset.cache_dir=x", SAME),
    "dataset.cache_limit_gib": Row("dataset.cache_limit_gib=1", SAME),
    "dataset.root": Row("dataset.root={photos}/other", data, VOC),
    "dataset.class_names": Row("dataset.class_names=[dog,cat]", data, VOC),
    "dataset.val_fraction": Row("dataset.val_fraction=0.4", data, VOC),
    "dataset.split_seed": Row("dataset.split_seed=2", data, VOC),
    "dataset.train_split": Row("dataset.train_split=all", data, f"{VOC}_splits dataset.val_split=val"),
    "dataset.val_split": Row("dataset.val_split=test", data, f"{VOC}_splits"),
    "dataset.test_fraction": Row("dataset.test_fraction=0.2", data, VOC),
    "dataset.overlap": Row("dataset.overlap=keep", data, "dataset=voc_folder dataset.root={photos}/voc_twice"),
    "dataset.on": Row("dataset.on.clipped_box=skip_image", data, VOC),
    "dataset.min_side": Row("dataset.min_side=25", data, f"{VOC} dataset.on.tiny_box=skip_box"),
    "dataset.max_pixels": Row("dataset.max_pixels=1e6", limit, VOC),
    "dataset.test_split": Row("dataset.test_split=none", data, f"{VOC}_splits"),
    "dataset.download": Row("dataset.download=true", SAME, VOC),
    "dataset.url_set": Row("dataset.url_set=voc2007", SAME, VOC),
    "dataset.one_based": Row("dataset.one_based=true", data, VOC),
    "dataset.train_json": Row("dataset.train_json=b.json", data, COCO_TWO),
    "dataset.val_json": Row("dataset.val_json=b.json", data, COCO_TWO),
    "dataset.test_json": Row("dataset.test_json=b.json", data, COCO_TWO),
    "dataset.train_images": Row("dataset.train_images=more", data, COCO_TWO),
    "dataset.val_images": Row("dataset.val_images=more", data, f"{COCO_TWO} dataset.val_json=b.json"),
    "dataset.test_images": Row("dataset.test_images=more", data, f"{COCO_TWO} dataset.test_json=b.json"),
    "dataset.format": Row("dataset.format=via", refused("dataset=via_folder"), CSV_TWO),
    "dataset.train_file": Row("dataset.train_file=b.csv", data, CSV_TWO),
    "dataset.val_file": Row("dataset.val_file=b.csv", data, CSV_TWO),
    "dataset.test_file": Row("dataset.test_file=b.csv", data, CSV_TWO),
    "dataset.data_yaml": Row("dataset.data_yaml=b.yaml", data, f"{YOLO} dataset.data_yaml=a.yaml"),
    "dataset.domain": Row("dataset.domain=source", TRAINED),
    "dataset.num_train": Row("dataset.num_train=6", TRAINED),
    "dataset.num_val": Row("dataset.num_val=3", TRAINED),
    "dataset.draw_seed": Row("dataset.draw_seed=1", TRAINED),
    # ----------------------------------------------------------------------------------- model and backbone
    "model.architecture": Row("model=fcos", detector),
    "model.score_threshold": Row("model.score_threshold=0.2", detector),
    "model.nms_threshold": Row("model.nms_threshold=0.2", detector),
    "model.detections_per_image": Row("model.detections_per_image=7", detector),
    "model.channels_last": Row("model.channels_last=false", detector),
    "model.neck": Row("model.neck=pan", detector),
    "model.attention": Row("model.attention=eca", detector),
    "model.box_loss": Row("model.box_loss=ciou", detector),
    "model.class_loss": Row("model.class_loss=quality_focal", detector),
    "model.name": Row("model.name=mine", IN_THE_NAME, OWN),
    "model.file": Row("model.file=b.py", file, OWN),
    "model.settings": Row("model.settings.width=9", file, OWN),
    "model.variant": Row("model.variant=v2", detector),
    "model.anchor_scale": Row("model.anchor_scale=0.5", detector),
    "model.anchors": Row(f"model.anchors=[{','.join(['[8,8]'] * 9)}]", detector, "model=yolov3"),
    "model.size": Row("model.size=medium", detector, "model=d_fine"),
    "model.hidden": Row("model.hidden=64", detector, "model=d_fine"),
    "model.layers": Row("model.layers=2", detector, "model=d_fine"),
    "model.queries": Row("model.queries=50", detector, "model=d_fine"),
    "model.denoising": Row("model.denoising=0", detector, "model=d_fine"),
    "model.reduced_tail": Row("model.reduced_tail=false", detector, "model=ssdlite backbone=mobilenet_v3_large"),
    "backbone.name": Row("backbone.name=mine", IN_THE_NAME),
    "backbone.library": Row("backbone=resnet18", detector),
    "backbone.architecture": Row("backbone.architecture=mobilenetv3_small_100", detector),
    "backbone.tensorflow": Row("backbone.tensorflow=false", detector, "backbone=mobilenetv2_100 source=scratch"),
    "backbone.darknet": Row("backbone.darknet=false", detector, "backbone=darknet53 source=scratch"),
    "backbone.neck_channels": Row("backbone.neck_channels=128", detector),
    # ---------------------------------------------------------------------------------------------- source
    "source.name": Row("source.name=mine", IN_THE_NAME),
    "source.kind": Row("source=scratch", TRAINED),
    "source.aliases": Row("+source.aliases.ring=b", setting),
    "source.path": Row("source.path=b", setting, "source=checkpoint source.path=a"),
    "source.revision": Row("source.revision=b", setting, "model=d_fine source=hub source.path=a"),
    "source.weights": Row("source.weights=COCO_V1", coco_file, "source=coco backbone=resnet50"),
    "source.class_names": Row("source.class_names=[a]", setting, "source=checkpoint source.path=a"),
    "source.seed": Row("source.seed=1", setting, "source=pretrained"),
    **{
        f"source.{group}": Row(change, setting, "source=pretrained")
        for group, change in {
            "dataset": "source.dataset.num_train=5",
            "source": "source@source.source=scratch",
            "strategy": "strategy@source.strategy=l2_sp",
            "augment": "source.augment.hflip=0.1",
            "optimizer": "source.optimizer.weight_decay=0.3",
            "scheduler": "source.scheduler.warmup_fraction=0.3",
            "trainer": "source.trainer.max_epochs=3",
            "training": "source.training.ema_decay=0.5",
        }.items()
    },
    # -------------------------------------------------------------------------------------------- strategy
    "strategy.name": Row("strategy.name=mine", IN_THE_NAME),
    "strategy.freeze_through": Row("strategy.freeze_through=stem", TRAINED),
    "strategy.thaw": Row("strategy.thaw=[norm]", TRAINED, "strategy.freeze_through=neck"),
    "strategy.norm": Row("strategy.norm=train", TRAINED),
    "strategy.lr": Row("strategy.lr.adamw=0.01", TRAINED),
    "strategy.lr_decay": Row("strategy.lr_decay=0.5", TRAINED),
    "strategy.lr_factors": Row("+strategy.lr_factors.stem=0.1", TRAINED),
    "strategy.gradual.first": Row("strategy.gradual.first=2", TRAINED, f"strategy=gradual_unfreeze {LONGER}"),
    "strategy.gradual.last": Row("strategy.gradual.last=3", TRAINED, f"strategy=gradual_unfreeze {LONGER}"),
    "strategy.phases.*.start": Row("strategy.phases.everything.start=1", TRAINED, f"strategy=lp_ft {LONGER}"),
    "strategy.phases.*.freeze_through": Row(
        "strategy.phases.everything.freeze_through=stem", TRAINED, f"strategy=lp_ft {LONGER}"
    ),
    "strategy.phases.*.lr_factor": Row("strategy.phases.everything.lr_factor=1", TRAINED, f"strategy=lp_ft {LONGER}"),
    "strategy.pull.strength": Row("strategy.pull.strength=100", TRAINED, "strategy=l2_sp"),
    "strategy.adapters.rank": Row("strategy.adapters.rank=2", TRAINED, "strategy=lora"),
    "strategy.adapters.alpha": Row("strategy.adapters.alpha=2", TRAINED, "strategy=lora"),
    "strategy.cosine_scale": Row("strategy.cosine_scale=10", TRAINED),
    "strategy.distill.features": Row("strategy.distill.features=3", TRAINED, "strategy=distill"),
    "strategy.distill.outputs": Row("strategy.distill.outputs=3", TRAINED, "strategy=distill"),
    "strategy.interpolate": Row("strategy.interpolate=[0.5]", TRAINED, "strategy=wise_ft"),
    "strategy.feature_store": Row("strategy.feature_store='off'", SAME_RESULT, STORED),
    "strategy.few_shot": Row("strategy.few_shot=true", SAME, "source=coco backbone=resnet50 dataset.shots=1"),
    # -------------------------------------------------------------- augment, optimizer, scheduler, by their names
    **{
        f"augment.{key}": Row(f"augment.{key}={value}", augmentation)
        for key, value in {
            "hflip": 0.5,
            "vflip": 0.5,
            "brightness": 0.1,
            "contrast": 0.1,
            "saturation": 0.1,
            "hue": 0.1,
            "scale_min": 0.5,
            "scale_max": 1.5,
            "scales": "[0.75]",
            "crop": 0.5,
        }.items()
    },
    **{f"{group}.name": Row(f"{group}.name=mine", SAME) for group in ("augment", "scheduler")},
    "optimizer.name": Row("optimizer.name=mine", SAME, "optimizer.lr=0.01"),
    "optimizer._target_": Row("optimizer._target_=torch.optim.Adam", TRAINED),
    "optimizer.lr": Row("optimizer.lr=0.01", TRAINED),
    "optimizer.weight_decay": Row("optimizer.weight_decay=0.5", TRAINED),
    "optimizer.betas": Row("optimizer.betas=[0.5,0.9]", TRAINED),
    "optimizer.eps": Row("optimizer.eps=0.1", TRAINED),
    "optimizer.momentum": Row("optimizer.momentum=0.1", TRAINED, "optimizer=sgd"),
    "optimizer.nesterov": Row("optimizer.nesterov=true", TRAINED, "optimizer=sgd"),
    "scheduler.decay": Row("scheduler.decay=constant", TRAINED, LONGER),
    "scheduler.warmup_fraction": Row("scheduler.warmup_fraction=0.9", TRAINED),
    "scheduler.final_factor": Row("scheduler.final_factor=0.5", TRAINED),
    # --------------------------------------------------------------------------------------------- trainer
    "trainer.accelerator": Row("trainer.accelerator=auto", IN_THE_NAME),  # another device elsewhere
    "trainer.strategy": Row("trainer.strategy=ddp", trainer),
    "trainer.devices": Row("trainer.devices=2", trainer),
    "trainer.num_nodes": Row("trainer.num_nodes=2", trainer, "trainer.strategy=ddp"),
    "trainer.precision": Row("trainer.precision=bf16-mixed", trainer),
    "trainer.fast_dev_run": Row("trainer.fast_dev_run=1", TRAINED),
    "trainer.max_epochs": Row("trainer.max_epochs=2", TRAINED),
    "trainer.min_epochs": Row("trainer.min_epochs=4", TRAINED, f"{LONGER} training.early_stopping_patience=1"),
    "trainer.max_steps": Row("trainer.max_steps=1", TRAINED),
    "trainer.min_steps": Row("trainer.min_steps=8", TRAINED, f"{LONGER} training.early_stopping_patience=1"),
    "trainer.max_time": Row("trainer.max_time={{seconds: 0}}", TRAINED, LONGER),
    "trainer.limit_train_batches": Row("trainer.limit_train_batches=1", TRAINED),
    "trainer.limit_val_batches": Row("trainer.limit_val_batches=1", TRAINED, "dataset.num_val=4"),
    "trainer.limit_test_batches": Row(
        "trainer.limit_test_batches=1", IN_THE_NAME, f"{VOC}_splits dataset.test_split=test"
    ),
    "trainer.limit_predict_batches": Row("trainer.limit_predict_batches=1", SAME_RESULT),
    "trainer.overfit_batches": Row("trainer.overfit_batches=1", TRAINED),
    "trainer.val_check_interval": Row("trainer.val_check_interval=0.5", refused("limit_train_batches")),
    "trainer.check_val_every_n_epoch": Row("trainer.check_val_every_n_epoch=2", TRAINED, LONGER),
    "trainer.num_sanity_val_steps": Row("trainer.num_sanity_val_steps=1", SAME_RESULT),
    "trainer.log_every_n_steps": Row("trainer.log_every_n_steps=1", SAME_RESULT),
    "trainer.enable_checkpointing": Row("trainer.enable_checkpointing=false", refused("cannot be used")),
    "trainer.enable_progress_bar": Row("trainer.enable_progress_bar=true", SAME_RESULT),
    "trainer.enable_model_summary": Row("trainer.enable_model_summary=true", SAME),
    "trainer.accumulate_grad_batches": Row("trainer.accumulate_grad_batches=2", TRAINED),
    "trainer.gradient_clip_val": Row("trainer.gradient_clip_val=0.001", TRAINED, "optimizer=sgd"),
    "trainer.gradient_clip_algorithm": Row(
        "trainer.gradient_clip_algorithm=value", TRAINED, "optimizer=sgd trainer.gradient_clip_val=0.001"
    ),
    "trainer.deterministic": Row("trainer.deterministic=true", trainer),
    "trainer.benchmark": Row("trainer.benchmark=true", trainer),
    "trainer.inference_mode": Row("trainer.inference_mode=false", SAME_RESULT),
    "trainer.use_distributed_sampler": Row("trainer.use_distributed_sampler=true", refused("cannot be used")),
    "trainer.profiler": Row("trainer.profiler=simple", SAME),
    "trainer.detect_anomaly": Row("trainer.detect_anomaly=true", SAME_RESULT),
    "trainer.barebones": Row("trainer.barebones=true", refused("cannot be used")),
    "trainer.plugins": Row("trainer.plugins=x", IN_THE_NAME),  # a class of Lightning's: whatever it does
    "trainer.sync_batchnorm": Row("trainer.sync_batchnorm=true", trainer, "trainer.devices=2 trainer.strategy=ddp"),
    "trainer.reload_dataloaders_every_n_epochs": Row(
        "trainer.reload_dataloaders_every_n_epochs=1", SAME_RESULT, LONGER
    ),
    "trainer.model_registry": Row("trainer.model_registry=x", SAME),
    "trainer.enable_autolog_hparams": Row("trainer.enable_autolog_hparams=false", SAME_RESULT),
}

# ---------------------------------------------------------------------------------------------------- all keys


def all_keys() -> set[str]:
    found: set[str] = set()
    for field in dataclasses.fields(s.RunConfig):
        schemas = SCHEMAS.get(field.name, {}).values() or [get_type_hints(s.RunConfig)[field.name]]
        for schema in schemas:
            found |= set(_below(field.name, schema)) if dataclasses.is_dataclass(schema) else {field.name}
    return found


def _below(prefix: str, schema: Any) -> Iterator[str]:
    hints = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name, inner = f"{prefix}.{field.name}", _dataclass_in(hints[field.name])
        if inner is None or (schema is s.PretrainedConfig and prefix == "source"):  # groups of a run of its own
            yield name
        elif prefix == "logger":
            yield f"{name}.*"
        else:
            yield from _below(f"{name}.*" if get_origin(hints[field.name]) is dict else name, inner)


def _dataclass_in(hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return hint
    if get_origin(hint) in (Union, types.UnionType, dict):
        return next((one for one in get_args(hint) if dataclasses.is_dataclass(one)), None)
    return None


def test_the_table_has_every_key_and_no_other() -> None:
    assert all_keys() - TABLE.keys() == set(), "keys without a line"
    assert TABLE.keys() - all_keys() == set(), "lines without a key"


# --------------------------------------------------------------------------------------------------- the proof


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small sets in each format."""
    root = tmp_path_factory.mktemp("photos")
    for name, parts in {"voc": [""] * 10, "other": [""] * 5, "voc_splits": ["train", "train", "val", "test"]}.items():
        for number, part in enumerate(parts):
            _picture(root / name / part / f"{number}.png", number)
            right = 52 if name == "voc" and number == 3 else 30  # of 48 pixels
            box = f"<bndbox><xmin>{number + 1}</xmin><ymin>2</ymin><xmax>{right}</xmax><ymax>40</ymax></bndbox>"
            kind = ("cat", "dog")[number % 2]
            text = f"<annotation><object><name>{kind}</name>{box}</object></annotation>"
            (root / name / part / f"{number}.xml").write_text(text)
    shutil.copytree(root / "voc_splits", root / "voc_twice")
    shutil.copy(root / "voc_twice" / "val" / "2.png", root / "voc_twice" / "train" / "2.png")
    shutil.copy(root / "voc_twice" / "val" / "2.xml", root / "voc_twice" / "train" / "2.xml")
    images = [{"id": i, "file_name": f"{i}.png", "width": 48, "height": 48} for i in range(6)]
    boxes = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 30, 20]} for i in range(6)]
    for number in range(6):
        _picture(root / "coco" / f"{number}.png", number)
        _picture(root / "coco" / "more" / f"{number}.png", number + 10)
        _picture(root / "yolo" / "images" / ("train", "val")[number % 2] / f"{number}.png", number)
    for name, ids in {"a": range(3), "b": range(3, 6)}.items():
        chosen = {"images": [images[i] for i in ids], "annotations": [boxes[i] for i in ids]}
        content = chosen | {"categories": [{"id": 1, "name": "cat"}]}
        (root / "coco" / f"{name}.json").write_text(str(content).replace("'", '"'))
    for number in range(6):
        label = root / "yolo" / "labels" / ("train", "val")[number % 2] / f"{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.4 0.4\n")
    for number in range(6):
        _picture(root / "csv" / f"{number}.png", number)
    for name, ids in {"a": range(3), "b": range(3, 6)}.items():
        lines = ["image,xmin,ymin,xmax,ymax,label", *(f"{i}.png,1,2,30,40,cat" for i in ids)]
        (root / "csv" / f"{name}.csv").write_text("\n".join(lines))
    (root / "yolo" / "a.yaml").write_text("names: [cat]\ntrain: images/train\nval: images/val\n")
    (root / "yolo" / "b.yaml").write_text("names: [dog]\ntrain: images/train\nval: images/val\n")
    return root


def _picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (48, 48), (number, 0, 0)).save(path)


def configured(row: Row, photos: Path) -> tuple[s.RunConfig, s.RunConfig]:
    """Without and with the change."""
    base = [word.format(photos=photos) for word in row.base.split()]
    drawn = not any(word.startswith("dataset=") for word in base)
    tiny = [word for word in TINY if drawn or "num_" not in word]
    change = [row.change.format(photos=photos)] if "{{" in row.change else row.change.format(photos=photos).split()
    return composed(*tiny, *base), composed(*tiny, *base, *change)


@pytest.mark.parametrize("key", TABLE)
def test_a_setting_has_an_effect_or_is_refused_or_makes_no_other_run(key: str, photos: Path, trained: Any) -> None:
    row = TABLE[key]
    if isinstance(row.proof, tuple):
        with pytest.raises(UserError, match=row.proof[1]):
            check(configured(row, photos)[1])
        return
    before, after = configured(row, photos)
    one_run = config_hash(resolved_dict(before)) == config_hash(resolved_dict(after))
    assert one_run == (row.proof in (SAME, SAME_RESULT)) or row.proof is IN_THE_NAME
    if row.proof in (TRAINED, SAME_RESULT):
        assert (trained(before) == trained(after)) == (row.proof is SAME_RESULT)
    elif row.proof is IN_THE_NAME:
        assert run_name(before, resolved_dict(before)) != run_name(after, resolved_dict(after))
    elif callable(row.proof):
        assert row.proof(before) != row.proof(after)


# --------------------------------------------------------------------------- what others make without an effect

IDLE = {
    "scheduler.final_factor=0.5": "scheduler=constant",
    "dataset.subset_seed=5": "",
    "dataset.tile.overlap=0.5": "",
    "dataset.tile.min_visible=1": "",
    "dataset.tile.empty=1": "",
    "dataset.tile.whole=false": "",
    "dataset.split_seed=5": "dataset=voc_folder dataset.root=x dataset.val_split=val",
    "dataset.val_fraction=0.5": "dataset=voc_folder dataset.root=x dataset.val_split=val",
    "dataset.min_side=3": "dataset=voc_folder dataset.root=x",
    "dataset.on.clipped_box=clip": "dataset=voc_folder dataset.root=x",
    "dataset.val_split=val": "dataset=coco_folder dataset.root=x dataset.train_json=a.json",
    "strategy.lr.sgd=0.5": "",
    "strategy.lr.adamw=0.5": "optimizer.lr=0.01",
    "optimizer.lr=3e-4": "",
    "backbone.neck_channels=64": "model=ssdlite",
    "model.reduced_tail=false": "model=ssdlite",
    "model.box_loss=l1": "",
    "model.box_loss=giou": "model=fcos",
    "model.nms_threshold=0.4": "model=d_fine",
    "trainer.limit_test_batches=1": "",
    "postprocess.method=nms": "",
    "postprocess.score_threshold=0.2": "model.score_threshold=0.2",
    "postprocess.flips=[]": "",
    "postprocess.across=soft_nms": "",
    "postprocess.sigma=0.3": "postprocess.method=soft_nms_linear",
    "postprocess.iou_threshold=0.3": "postprocess.method=soft_nms",
    "postprocess.class_agnostic=true": "postprocess.method=none",
    "model.nms_threshold=0.3": "postprocess.iou_threshold=0.6",
    "trainer.gradient_clip_algorithm=value": "trainer.gradient_clip_val=null",
    "trainer.sync_batchnorm=true": "",
    "trainer.min_epochs=1": "",
    "trainer.min_steps=1": "",
    "source.scheduler.final_factor=0.5": "source=pretrained scheduler@source.scheduler=constant",
}
"""A typed setting -> with what it has no effect."""
NOT_TRAINED = ("folder", "source", "ssd", "postprocess", "d_fine")
TRAINABLE = [word for word, base in IDLE.items() if not any(part in word + base for part in NOT_TRAINED)]


@pytest.mark.parametrize("word", IDLE)
def test_without_effect_it_makes_no_other_run_nor_arm_and_is_said(word: str) -> None:
    base = IDLE[word].split()
    before, after = (resolved_dict(composed(*base, *more)) for more in ([], [word]))
    assert config_hash(before) == config_hash(after)
    assert settings_that_matter(before) == settings_that_matter(after)
    (line,) = idle_words([word, *base], flat(after))
    assert line.startswith(f"{word} has no effect: ")


@pytest.mark.parametrize("word", TRAINABLE)
def test_it_has_indeed_no_effect(word: str, trained: Any) -> None:
    base = [*TINY, *IDLE[word].split()]
    assert trained(composed(*base)) == trained(composed(*base, word))


@pytest.mark.parametrize("word", [word for word in IDLE if "postprocess" in word + IDLE[word]])
def test_nor_on_what_detections_become(word: str) -> None:
    assert merging(composed(*IDLE[word].split())) == merging(composed(*IDLE[word].split(), word))


OF_NETWORKS = ("backbone.neck_channels=64", "model.reduced_tail=false", "model.box_loss=l1", "model.box_loss=giou")


@pytest.mark.parametrize("word", OF_NETWORKS)
def test_nor_on_the_network(word: str) -> None:
    assert detector(composed(*IDLE[word].split())) == detector(composed(*IDLE[word].split(), word))
