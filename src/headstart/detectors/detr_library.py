"""D-FINE and RT-DETR as transformers has them, without a body: the layers that `detr.py` takes apart.

The one module that imports transformers, and not before such a network is built.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from headstart.config.detr_sizes import HEADS, Widths, installed, not_installed
from headstart.config.schema import Architecture, DFineConfig, QueryConfig, Variant
from headstart.errors import UserError

PRIOR = 0.01
"""Of a class, before anything is learnt (Lin et al., ICCV 2017), as the authors have it; transformers takes one part in
the number of classes, a half for a single one, and the first steps then unlearn it."""


def untrained(config: QueryConfig, widths: Widths, classes: int) -> Any:
    """transformers' `…ForObjectDetection`, random, on a body of no size. Raises `UserError` where it is not there."""
    if not installed():
        raise UserError(not_installed(config))
    transformers = importlib.import_module("transformers")
    prefix = class_prefix(config)
    settings = getattr(transformers, f"{prefix}Config")(**_settings(config, widths, classes))
    network = getattr(transformers, f"{prefix}ForObjectDetection")(settings)
    _begin_as_the_authors(network)
    return network


def _begin_as_the_authors(network: Any) -> None:
    """transformers draws every weight from N(0, 0.01), those of RT-DETR's batch normalisation as well: of what goes in
    next to nothing comes out, and what trains from there learns next to nothing."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear) and not _is_zero(layer.weight):  # what begins at zero is meant to
            nn.init.xavier_uniform_(layer.weight)
    first_boxes = network.model.enc_bbox_head.layers[-1]
    nn.init.zeros_(first_boxes.weight)
    nn.init.zeros_(first_boxes.bias)
    if (embedding := getattr(network.model, "denoising_class_embed", None)) is not None:
        nn.init.normal_(embedding.weight[:-1].detach())


def _is_zero(weight: Tensor) -> bool:
    """Nothing of a network that is built for its shapes alone."""
    return not weight.is_meta and not weight.any()


def class_prefix(config: QueryConfig) -> str:
    """Of the names of transformers' classes."""
    if config.architecture is Architecture.d_fine:
        return "DFine"
    return "RTDetrV2" if getattr(config, "variant", None) is Variant.v2 else "RTDetr"


def _settings(config: QueryConfig, widths: Widths, classes: int) -> dict[str, Any]:
    levels = len(widths.strides)
    settings = {
        "backbone_config": _no_body(levels),
        "num_labels": classes,
        "initializer_bias_prior_prob": PRIOR,
        "encoder_in_channels": [8] * levels,
        "feat_strides": list(widths.strides),
        "encode_proj_layers": [levels - 1],
        "encoder_hidden_dim": widths.neck,
        "encoder_ffn_dim": widths.neck_inner,
        "encoder_attention_heads": HEADS,
        "hidden_expansion": widths.expansion,
        "d_model": widths.decoder,
        "num_feature_levels": levels,
        "decoder_in_channels": [widths.neck] * levels,
        "decoder_ffn_dim": widths.decoder_inner,
        "decoder_layers": widths.layers,
        "decoder_attention_heads": HEADS,
        "num_queries": config.queries,
        "num_denoising": config.denoising,
    }
    if isinstance(config, DFineConfig):
        own = {"depth_mult": widths.depth, "decoder_n_points": list(widths.points), "reg_scale": widths.reg_scale}
        return settings | own
    return settings | {"decoder_n_points": widths.points[0]}


def _no_body(levels: int) -> Any:
    """The smallest that the constructors take; ours is put in its place."""
    few = [8] * 4
    return importlib.import_module("transformers").HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=few,
        stage_mid_channels=few,
        stage_out_channels=few,
        hidden_sizes=few,
        stage_num_blocks=[1] * 4,
        stage_numb_of_layers=[1] * 4,
        out_indices=list(range(5 - levels, 5)),
    )
