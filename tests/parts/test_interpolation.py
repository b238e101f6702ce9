"""Between source and result: exact at both ends, the line between them, and new rows are the result's."""

from dataclasses import replace

import pytest
import torch

from headstart.parts.interpolation import interpolated, source_copy
from headstart.transfer.head_surgery import apply_source

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
