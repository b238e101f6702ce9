"""D-FINE and RT-DETR of the Hugging Face hub, or of a folder that transformers saved.

config.json and model.safetensors are read by what they say; nothing of transformers is asked, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.config.detr_sizes import widths_of
from headstart.config.hub import CONFIG, MODEL_TYPES, TENSORS
from headstart.config.schema import HubConfig, ModelConfig, QueryConfig, Resize
from headstart.data.types import Size
from headstart.detectors.detr_names import ours as under_our_names
from headstart.detectors.files import read_tensors
from headstart.detectors.interface import PLAIN, Detector, Preprocessing
from headstart.errors import UserError
from headstart.inference import described
from headstart.transfer.types import SourceWeights

PROCESSOR = "preprocessor_config.json"
FIXED: dict[str, Any] = {
    "eval_idx": -1,
    "layer_scale": 1.0,
    "decoder_method": "default",
    "decoder_offset_scale": 0.5,
    "normalize_before": False,
    "learn_initial_query": False,
    "encoder_layers": 1,
    "max_num_bins": 32,
    "activation_function": "silu",
    "encoder_activation_function": "gelu",
    "decoder_activation_function": "relu",
}
"""Settings of transformers that no published model sets otherwise, and that we have no other of."""


def load_hub(config: HubConfig, model: ModelConfig, detector: Detector) -> SourceWeights:
    """Raises `UserError` where it cannot be had, is of another network, or is none of these detectors."""
    if not isinstance(model, QueryConfig):
        raise UserError(
            f"source={config.name} has D-FINE and RT-DETR, not model={model.architecture.value}: use model=d_fine or "
            "model=rt_detr, or another source"
        )
    folder = _folder(config)
    settings = _json(folder / CONFIG, config.path)
    _refuse_other(settings, config.path, model)
    tensors = under_our_names(read_tensors(folder / TENSORS))
    return SourceWeights(
        kind="hub",
        tensors=tensors,
        expected=("",),
        row_names=_class_names(settings, config.path),
        preprocessing=_preprocessing(folder),
        size=_size(folder),
        lineage=(Path(config.path).name,),
        where=_where(folder, config),
    )


def _folder(config: HubConfig) -> Path:
    """The user's own, or the one of the hub's cache, filled where it is not."""
    folder = Path(config.path).expanduser()
    if folder.is_dir():
        return folder
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"source.path={config.path} is no folder, and to fetch it from the hub needs: pip install 'headstart[detr]'"
        ) from None
    wanted = [CONFIG, TENSORS, PROCESSOR, "README.md"]
    try:
        return Path(snapshot_download(config.path, revision=config.revision, allow_patterns=wanted))
    except Exception as error:  # no network, no such model, no cache: each has a class of its own
        raise UserError(
            f"source.path={config.path} cannot be had from the hub ({type(error).__name__}): fetch its {CONFIG} and "
            f"{TENSORS} on another machine, and name their folder with source.path=<folder>"
        ) from None


def _json(path: Path, named: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"source.path={named} has no {path.name}: name a folder that transformers saved a detector in")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): get it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no description of a model: get it again")
    return found


def _refuse_other(settings: Mapping[str, Any], named: str, model: QueryConfig) -> None:
    kind = str(settings.get("model_type"))
    if kind not in MODEL_TYPES:
        raise UserError(f"source.path={named} is of model_type={kind}; source=hub reads {', '.join(MODEL_TYPES)}")
    asked = f"model={model.architecture.value}"
    variant = getattr(model, "variant", None)
    asked += f" model.variant={variant.value}" if variant else ""
    if MODEL_TYPES[kind] != asked:
        raise UserError(f"source.path={named} is of model_type={kind}, this run of {asked}: use {MODEL_TYPES[kind]}")
    for name, only in FIXED.items():
        if settings.get(name, only) != only:
            raise UserError(f"source.path={named}: {CONFIG} has {name}={settings[name]}, and only {only} is known here")
    _refuse_other_widths(settings, named, model)


def _refuse_other_widths(settings: Mapping[str, Any], named: str, model: QueryConfig) -> None:
    widths = widths_of(model)
    asked = {
        "feat_strides": (list(widths.strides), "model.size"),
        "encoder_hidden_dim": (widths.neck, "model.size or model.hidden"),
        "d_model": (widths.decoder, "model.size or model.hidden"),
        "decoder_layers": (widths.layers, "model.size or model.layers"),
        "hidden_expansion": (widths.expansion, "model.size"),
        "depth_mult": (widths.depth, "model.size"),
    }
    for name, (value, ours) in asked.items():
        there = settings.get(name, value)
        if there != value:
            raise UserError(f"source.path={named} has {name}={there}, this run {value}: set {ours} as it is there")


def _class_names(settings: Mapping[str, Any], named: str) -> tuple[str, ...]:
    names = settings.get("id2label")
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise UserError(f"source.path={named}: id2label in {CONFIG} does not name the classes 0, 1, 2 …: get it again")
    return tuple(str(names[str(row)]) for row in range(len(names)))


def _preprocessing(folder: Path) -> Preprocessing:
    """Where nothing else is said, they were trained on pictures as they are."""
    if not (folder / PROCESSOR).is_file():
        return PLAIN
    values = _json(folder / PROCESSOR, str(folder))
    if not values.get("do_normalize"):
        return PLAIN
    try:
        return Preprocessing(described.three(values, "image_mean"), described.three(values, "image_std"))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder / PROCESSOR} does not say how pictures are normalised ({error}): get it again"
        ) from None


def _size(folder: Path) -> Size | None:
    """These were trained on pictures that are stretched to squares."""
    if not (folder / PROCESSOR).is_file():
        return None
    size = _json(folder / PROCESSOR, str(folder)).get("size")
    (side, *others) = {str(size.get(name)) for name in ("height", "width")} if isinstance(size, dict) else {""}
    return None if others or not side.isdecimal() else Size(int(side), int(side), Resize.stretch)


def _where(folder: Path, config: HubConfig) -> str:
    """With what tells these weights from any others."""
    with (folder / TENSORS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    revision = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else config.revision or "not known"
    return f"{config.path} (licence {_licence(folder)}, revision {revision}, {TENSORS} sha256 {digest})"


def _licence(folder: Path) -> str:
    card = folder / "README.md"
    if not card.is_file():
        return "not known"
    found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found.group(1) if found else "not known"
