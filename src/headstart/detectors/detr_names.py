"""transformers' names of D-FINE's and RT-DETR's tensors -> ours; of their bodies, timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

Rules = Sequence[tuple[str, str]]

TIED = re.compile(r"^(class_embed|bbox_embed)\.")
"""The decoder's, a second time; some files have no other."""
BODY = "model.backbone.model."
PREFIXES = {
    "model.encoder_input_proj.": "neck.input_proj.",
    "model.encoder.": "neck.",
    "model.decoder_input_proj.": "head.input_proj.",
    "model.denoising_class_embed.": "head.denoising.",
    "model.": "head.",
    "class_embed.": "head.decoder.class_embed.",
    "bbox_embed.": "head.decoder.bbox_embed.",
}
"""The first that fits."""
SINCE_FIVE = (
    (r"\.self_attn\.out_proj\.", ".self_attn.o_proj."),
    (r"(\blayers\.\d+)\.(fc[12])\.", r"\1.mlp.\2."),
    (r"^model\.encoder\.encoder\.", "model.encoder.aifi."),
)
"""What transformers calls otherwise in its own code, since version 5, than in the files that it reads and saves."""
DFINE_ALONE = ((r"\.mlp\.fc1\.", ".mlp.layers.0."), (r"\.mlp\.fc2\.", ".mlp.layers.1."))
OF_BODY = (
    (r"^embedder\.embedder\.0\.convolution\.", "conv1.0."),  # ResNet-D
    (r"^embedder\.embedder\.0\.normalization\.", "conv1.1."),
    (r"^embedder\.embedder\.1\.convolution\.", "conv1.3."),
    (r"^embedder\.embedder\.1\.normalization\.", "conv1.4."),
    (r"^embedder\.embedder\.2\.convolution\.", "conv1.6."),
    (r"^embedder\.embedder\.2\.normalization\.", "bn1."),
    (r"\.shortcut\.(1\.)?convolution\.", ".downsample.1."),
    (r"\.shortcut\.(1\.)?normalization\.", ".downsample.2."),
    (r"\.layer\.0\.convolution\.", ".conv1."),
    (r"\.layer\.0\.normalization\.", ".bn1."),
    (r"\.layer\.1\.convolution\.", ".conv2."),
    (r"\.layer\.1\.normalization\.", ".bn2."),
    (r"\.layer\.2\.convolution\.", ".conv3."),
    (r"\.layer\.2\.normalization\.", ".bn3."),
    (r"^encoder\.stages\.0\.layers\.", "layer1."),
    (r"^encoder\.stages\.1\.layers\.", "layer2."),
    (r"^encoder\.stages\.2\.layers\.", "layer3."),
    (r"^encoder\.stages\.3\.layers\.", "layer4."),
    (r"^embedder\.", "stem."),  # HGNetV2
    (r"^encoder\.stages\.(\d+)\.", r"stages_\1."),
    (r"\.convolution\.", ".conv."),
    (r"\.normalization\.", ".bn."),
)


def ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    rules = (*SINCE_FIVE, *(DFINE_ALONE if any(".gateway." in name for name in tensors) else ()))
    found = {our_name(name, rules): tensors[name] for name in sorted(tensors, key=lambda name: not TIED.match(name))}
    rows = found.pop("head.denoising.weight", None)
    return found if rows is None else found | {"head.denoising.weight": rows[:-1], "head.of_nothing": rows[-1]}


def our_name(name: str, rules: Rules) -> str:
    if name.startswith(BODY):
        return f"backbone.body.{_renamed(name.removeprefix(BODY), OF_BODY)}"
    name = _renamed(name, rules)
    for theirs, our in PREFIXES.items():
        if name.startswith(theirs):
            return our + name.removeprefix(theirs)
    return name


def _renamed(name: str, rules: Rules) -> str:
    for theirs, our in rules:
        name = re.sub(theirs, our, name)
    return name
