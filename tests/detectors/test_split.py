"""A network taken apart behind a stage gives what it gives in one piece, whatever its architecture and its body."""

import pytest
import torch
from torch import Tensor, nn

from headstart.data.batch import Batch
from headstart.detectors.interface import Detector, Features
from headstart.detectors.split import CannotSplit, Cut, cut_behind, prefix_of, rest_of
from tests.detectors import test_contract as contract

BATCH = Batch.of(contract.IMAGES, contract.TARGETS)


def random(name: str) -> Detector:
    """In eval mode, with statistics that are not those of a layer that has seen nothing."""
    torch.manual_seed(0)
    detector = contract.COMBINATIONS[name].build()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return (detector if name == "ssd-vgg16" else contract.quick(detector)).eval()


def in_two_parts(detector: Detector, cut: Cut, batch: Batch) -> Features:
    canvas_hw = detector.normalised(batch).shape[-2:]
    return rest_of(detector, cut, prefix_of(detector, cut, batch), batch.sizes_hw, canvas_hw)


def differences(detector: Detector, stages: list[str]) -> list[str]:
    """Where maps, losses or detections of the two parts are not those of the whole, bit for bit."""
    whole, found = detector.features(BATCH), []
    for stage in stages:
        rest = in_two_parts(detector, cut_behind(detector, stage, BATCH), BATCH)
        same_maps = contract.same(list(rest.maps.values()), list(whole.maps.values()))
        same_body = contract.same(rest.body_maps, () if stage == "neck" else whole.body_maps)
        if not (same_maps and same_body and contract.same(ends(detector, rest), ends(detector, whole))):
            found.append(stage)
    return found


def ends(detector: Detector, features: Features) -> dict[str, Tensor]:
    torch.manual_seed(0)  # Faster R-CNN draws its proposals
    return {**detector.losses(BATCH, features), **vars(detector.detect(BATCH, features))}


@pytest.mark.parametrize("name", [*contract.FIRST, "retinanet-dinov2_small"])
def test_prefix_and_rest_are_the_whole_bit_for_bit(name):
    with torch.no_grad():
        assert differences(random(name), ["stage4", "neck"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", contract.COMBINATIONS)
def test_every_network_can_be_cut_behind_each_of_its_stages(name):
    detector = random(name)
    with torch.no_grad():
        assert differences(detector, [stage.name for stage in detector.stages()[:-1]]) == []


def test_the_rest_has_the_gradients_of_the_whole_and_the_prefix_none(tiny):
    detector = tiny(neck_dropout=0.0).eval()
    cut, images = cut_behind(detector, "stage1", BATCH), detector.normalised(BATCH)
    gradients = []
    for features in (detector.features_of(images, BATCH.sizes_hw), in_two_parts(detector, cut, BATCH)):
        detector.zero_grad()
        sum(detector.losses(BATCH, features).values(), torch.zeros(())).backward()
        gradients.append({name: p.grad for name, p in detector.named_parameters() if p.grad is not None})
    whole, rest = gradients
    frozen = ("backbone.stem", "backbone.stage1")
    assert {name for name in whole if name not in rest} == {name for name in whole if name.startswith(frozen)}
    assert contract.same({name: whole[name] for name in rest}, rest)


def test_the_prefix_computes_nothing_behind_the_border_and_the_rest_nothing_before_it(tiny):
    detector, called = tiny().eval(), []
    cut = cut_behind(detector, "stage1", BATCH)
    for name, module in detector.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    tensors = prefix_of(detector, cut, BATCH)
    assert called == ["backbone.stem.conv", "backbone.stage1.conv"]
    called.clear()
    rest_of(detector, cut, tensors, BATCH.sizes_hw, BATCH.images.shape[-2:])
    assert called == ["backbone.stage2.conv", "neck.0"]


def test_cutting_changes_nothing(tiny):
    detector = tiny(neck_dropout=0.5).train()
    before, state = [module.training for module in detector.modules()], contract.state_of(detector)
    expected, own = torch.get_rng_state(), [dict(module.__dict__) for module in detector.modules()]
    cut = cut_behind(detector, "neck", BATCH)
    in_two_parts(detector.eval(), cut, BATCH)
    detector.train()
    assert [module.training for module in detector.modules()] == before
    assert contract.same(state, detector.state_dict())
    assert torch.equal(torch.get_rng_state(), expected)
    assert [dict(module.__dict__) for module in detector.modules()] == own


def test_a_network_that_cannot_be_cut_says_where(tiny):
    """Behind this stem, the picture itself is read once more."""
    detector = tiny()
    detector.features_of = lambda images, sizes: Features(
        images, sizes, {"0": detector.neck(detector.backbone(images)) + images.mean()}, ()
    )
    with pytest.raises(CannotSplit, match="behind neck: the two parts do not give what the whole gives"):
        cut_behind(detector, "neck", BATCH)
