"""D-FINE and RT-DETR as transformers has them: small, random, and no tensor as it was initialised."""

from pathlib import Path
from typing import Any

import torch

from headstart.config import schema as s
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.hub import load_hub

CLASSES = ("cat", "red dog", "étoile")
B0 = s.BackboneConfig("hgnetv2_b0", s.BackboneLibrary.timm, "hgnetv2_b0")
WIDE, LAYERS, QUERIES = 32, 3, 40
KINDS = ("d_fine", "rt_detr", "rt_detr_v2")
PREFIX = {"d_fine": "DFine", "rt_detr": "RTDetr", "rt_detr_v2": "RTDetrV2"}


def our_config(kind: str, **changes: Any) -> s.QueryConfig:
    common = {"hidden": WIDE, "layers": LAYERS, "queries": QUERIES, "channels_last": False, **changes}
    if kind == "d_fine":
        return s.DFineConfig(s.Architecture.d_fine, **common)
    variant = s.Variant.v2 if kind == "rt_detr_v2" else s.Variant.v1
    return s.RTDetrConfig(s.Architecture.rt_detr, variant=variant, **common)


def theirs(kind: str, seed: int = 0) -> Any:
    """transformers' `…ForObjectDetection`, in eval mode."""
    import transformers

    body = getattr(transformers, "HGNetV2Config")(  # noqa: B009 (whose arguments are not all declared)
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128],
        stage_out_channels=[64, 256, 512, 1024],
        hidden_sizes=[64, 256, 512, 1024],
        stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[3, 3, 3, 3],
        use_learnable_affine_block=True,
        out_indices=[2, 3, 4],
    )
    own = {"decoder_n_points": [3, 6, 3], "depth_mult": 0.34} if kind == "d_fine" else {}
    config = getattr(transformers, f"{PREFIX[kind]}Config")(
        backbone_config=body,
        encoder_in_channels=[256, 512, 1024],
        encoder_hidden_dim=WIDE,
        encoder_ffn_dim=4 * WIDE,
        d_model=WIDE,
        decoder_in_channels=[WIDE] * 3,
        decoder_ffn_dim=4 * WIDE,
        decoder_layers=LAYERS,
        hidden_expansion=0.5,
        num_queries=QUERIES,
        id2label=dict(enumerate(CLASSES)),
        **own,
    )
    torch.manual_seed(seed)
    network = getattr(transformers, f"{PREFIX[kind]}ForObjectDetection")(config)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "running_var" in name:
                tensor.uniform_(0.8, 1.2)
            elif tensor.is_floating_point() and not name.endswith((".up", "reg_scale", "num_points_scale")):
                tensor.add_(torch.randn(tensor.shape) * 0.05)
        _settle(network)
    return network.eval()


def _settle(network: torch.nn.Module) -> None:
    """Statistics of real features: without them all cells are nearly alike, and rounding chooses among them."""

    def look(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        module.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        module.running_var.copy_(inputs[0].var((0, 2, 3)) + 1e-3)

    norms = [module for module in network.modules() if hasattr(module, "running_var")]
    hooks = [module.register_forward_pre_hook(look) for module in norms]
    coarse = torch.rand(2, 3, 24, 24)
    network.eval()(pixel_values=torch.nn.functional.interpolate(coarse, scale_factor=8.0))
    for hook in hooks:
        hook.remove()


def saved(kind: str, folder: Path) -> Any:
    """transformers' own network, as it saves itself."""
    network = theirs(kind)
    network.save_pretrained(folder)
    return network


def loaded(kind: str, folder: Path, class_names: tuple[str, ...] = CLASSES, **changes: Any) -> QueryDetector:
    """Our detector with what is saved there, through `source=hub`."""
    config = our_config(kind, **changes)
    detector = build_detector(config, B0, class_names)
    assert isinstance(detector, QueryDetector)
    weights = load_hub(s.HubConfig("hub", s.SourceKind.hub, path=str(folder)), config, detector)
    apply_source(detector, weights)
    return detector.eval()
