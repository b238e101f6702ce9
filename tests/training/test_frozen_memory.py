"""What is frozen in front of all that trains keeps no activation for a backward pass, where no store spares it."""

from collections import Counter
from typing import Any

import pytest
import torch

from headstart.config.compose import compose
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.detectors.factory import build_detector
from headstart.runs.from_data import data_of
from headstart.transfer.freezing import set_train_mode

from .conftest import a_batch
from .test_no_waiting import MODELS, SMALL, module_of

BEHIND = "behind"


def kept_bytes(module: Any, batch: Any) -> Counter[str]:
    """Stage -> bytes that a training step keeps for its backward pass while the stage computes, weights not counted;
    `BEHIND`: head and losses."""
    detector, found, inside = module.detector, Counter(), [BEHIND]
    weights = {tensor.untyped_storage().data_ptr() for tensor in detector.state_dict().values()}
    modules, hooks = dict(detector.named_modules()), []
    for stage in detector.stages()[:-1]:
        for prefix in stage.prefixes:
            if prefix in modules:
                hooks.append(modules[prefix].register_forward_pre_hook(lambda *_, name=stage.name: inside.append(name)))
                hooks.append(modules[prefix].register_forward_hook(lambda *_: inside.pop() and None))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            found[inside[-1]] += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(0)  # of samples and dropout
    set_train_mode(detector, module.phase)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        sum(detector.losses(batch).values(), torch.zeros(()))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(
    ("freeze_through", "keeping"),
    [
        (None, {"stem", "stage1", "stage2", "neck"}),
        ("stage1", {"stage2", "neck"}),
        ("neck", set()),
    ],
)
def test_only_stages_behind_the_border_keep_activations(make_module, freeze_through, keeping):
    assert kept_bytes(make_module(freeze_through=freeze_through), a_batch(0)).keys() - {BEHIND} == keeping


@pytest.mark.parametrize(
    "model", [model if model == "retinanet" else pytest.param(model, marks=pytest.mark.slow) for model in MODELS]
)
def test_a_frozen_body_and_neck_keep_nothing_and_the_whole_is_under_half(model, tmp_path):
    kept = {}
    for strategy in ("full", "head_only"):
        config = compose(
            [*SMALL, "dataset=shapes", f"model={model}", f"strategy={strategy}", "strategy.feature_store=off"]
        )
        config.output_dir = str(tmp_path)
        data = data_of(config, None)
        info = describe(data, config.dataset)
        datamodule = DetectionDataModule(data, info, config.dataset, config.augment, config.seed)
        module = module_of(config, datamodule, build_detector(config.model, config.backbone, info.class_names))
        kept[strategy] = kept_bytes(module, next(datamodule.plain_batches("train", 2)))
    assert kept["head_only"].keys() == {BEHIND}
    assert kept["full"].keys() - {BEHIND}
    assert 0 < kept["head_only"][BEHIND] <= kept["full"][BEHIND]  # the head's own input is taught nothing
    if model != "faster_rcnn":  # whose head is most of the work
        assert 2 * kept["head_only"].total() < kept["full"].total()
