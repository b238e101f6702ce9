"""Between source and result: exact at both ends, the line between them, and new rows are the result's."""

from dataclasses import replace

import pytest
import torch

from headstart.config.schema import AdamWConfig, MonitorConfig, NormPolicy, StrategyConfig
from headstart.data.batch import Batch
from headstart.evaluation.coco_map import MapResult
from headstart.evaluation.spending import Spending
from headstart.parts.interpolation import InterpolationPart, interpolated, source_copy
from headstart.parts.part import Work
from headstart.transfer.head_surgery import apply_source
from headstart.transfer.strategy import make_plan

CLASS_TENSORS = ("head.cls.weight", "head.cls.bias")
KEPT, NEW = [0, 2, 3, 5], [1, 4]
"""Rows of two anchors over c, new, a."""


def bits(tensor):
    return tensor.reshape(-1).view(torch.uint8)


@pytest.fixture(params=["checkpoint", "imagenet"])
def mixture(request, tiny, weights_of):
    """Detector for c, new, a from a source of a, b, c; `source` before and `tuned` after everything has moved."""
    detector = tiny(("c", "new", "a"))
    report = apply_source(detector, weights_of(tiny(("a", "b", "c"), seed=1), request.param))
    if report.partial:
        report = replace(report, kept_rows=dict.fromkeys(report.partial, tuple(KEPT)))
    with torch.no_grad():
        detector.backbone.stem.bn.bias[0] = -0.0
    start = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    source = source_copy(detector, report)
    with torch.no_grad():
        for tensor in detector.state_dict().values():
            tensor.add_(torch.randn(tensor.shape).to(tensor) if tensor.is_floating_point() else 3)
        detector.backbone.stem.bn.bias[1] = -0.0
    return report, start, source, detector.state_dict()


def test_alpha_1_is_the_tuned_detector_bit_for_bit_in_tensors_of_its_own(mixture):
    report, _, source, tuned = mixture
    mixed = interpolated(source, tuned, report, 1.0)
    assert list(mixed) == list(tuned)
    for name, tensor in tuned.items():
        assert torch.equal(bits(mixed[name]), bits(tensor)), name
        assert mixed[name].data_ptr() != tensor.data_ptr()


def test_alpha_0_is_the_source_bit_for_bit_and_tuned_where_the_source_had_nothing(mixture):
    report, start, source, tuned = mixture
    mixed = interpolated(source, tuned, report, 0.0)
    for name, tensor in mixed.items():
        if name in report.partial:
            assert torch.equal(bits(tensor[KEPT]), bits(start[name][KEPT])), name
            assert torch.equal(bits(tensor[NEW]), bits(tuned[name][NEW])), name
        else:
            from_source = name in report.loaded and not name.endswith("num_batches_tracked")
            assert torch.equal(bits(tensor), bits(start[name] if from_source else tuned[name])), name


def test_a_quarter_of_the_way_is_three_parts_source_and_one_part_tuned(mixture):
    report, start, source, tuned = mixture
    mixed = interpolated(source, tuned, report, 0.25)
    for name, tensor in mixed.items():
        expected = tuned[name]
        if tensor.is_floating_point() and name in (*report.loaded, *report.partial):
            expected = (3 * start[name] + tuned[name]) / 4
        if name in report.partial:
            expected[NEW] = tuned[name][NEW]
        torch.testing.assert_close(tensor, expected, msg=name)
    assert bool(report.partial) == (report.source == "checkpoint")


def test_the_copy_of_the_source_holds_what_the_source_filled_and_does_not_move(mixture):
    report, start, source, _ = mixture
    floating = {name for name, tensor in start.items() if tensor.is_floating_point()}
    assert set(source) == floating & {*report.loaded, *report.partial}
    assert all(torch.equal(tensor, start[name]) for name, tensor in source.items())
    assert report.source == "imagenet" or set(CLASS_TENSORS) <= set(source)


# ------------------------------------------------------------------------------- statistics of a mixture


def mixed_at_a_half(tiny, weights_of, norm):
    """The detector after the part, the mixed weights of its stem, and the images that statistics come from."""
    strategy = StrategyConfig(name="mine", norm=norm, interpolate=[0.5], lr={"adamw": 1e-3})
    detector = tiny()
    report = apply_source(detector, weights_of(tiny(seed=1)))
    plan = make_plan(strategy, AdamWConfig(name="adamw", weight_decay=0.1), detector, report)
    part = InterpolationPart(strategy)
    part.equip(detector, report, plan)
    start = detector.backbone.stem.conv.weight.detach().clone()
    with torch.no_grad():
        detector.backbone.stem.conv.weight.add_(1.0)
        detector.backbone.stem.bn.running_mean.add_(5.0)
    images = list(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    result = MapResult(*[0.5] * 7, per_class={}, per_class_50={}, images=1)
    part.after_fit(
        Work(
            detector,
            report,
            plan,
            [part],
            MonitorConfig(),
            torch.device("cpu"),
            lambda: iter([Batch.of(images)]),
            lambda: result,
            Spending(),
        )
    )
    return detector, start + 0.5, torch.stack(images)


def test_a_mixture_whose_statistics_trained_has_those_that_its_own_weights_give(tiny, weights_of):
    detector, weight, images = mixed_at_a_half(tiny, weights_of, NormPolicy.train)
    torch.testing.assert_close(detector.backbone.stem.conv.weight, weight)
    seen = torch.nn.functional.conv2d(images, weight, stride=2, padding=1)
    torch.testing.assert_close(detector.backbone.stem.bn.running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(detector.backbone.stem.bn.running_var, seen.var((0, 2, 3)))


def test_statistics_that_are_fixed_stay_the_mixtures_own(tiny, weights_of):
    before = tiny(seed=1).backbone.stem.bn.running_mean
    detector, _, _ = mixed_at_a_half(tiny, weights_of, NormPolicy.affine_only)
    torch.testing.assert_close(detector.backbone.stem.bn.running_mean, before + 2.5)
