"""Weights land where they belong; what cannot be explained by other classes is refused."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from headstart.detectors.interface import ClassAxis, Preprocessing
from headstart.errors import UserError
from headstart.transfer.class_rows import keep_rows, match_classes
from headstart.transfer.head_surgery import apply_source

SOURCE, TARGET = ("a", "b", "c"), ("c", "new", "a")


@pytest.mark.parametrize("background", [0, 1])
def test_logits_of_kept_classes_are_unchanged_and_others_are_new(tiny, weights_of, batch, background):
    source, target = tiny(SOURCE, seed=1, background=background), tiny(TARGET, seed=2, background=background)
    new_row = target.head.cls.weight.detach().clone()
    report = apply_source(target, weights_of(source))
    old, new = source.eval().logits(batch[0]), target.eval().logits(batch[0])  # (images, anchors, rows, cells)
    kept = {"c": (2, 0), "a": (0, 2)}
    for before, after in [*kept.values(), *([(-1, -1)] if background else [])]:
        assert torch.equal(old[:, :, background + before], new[:, :, background + after])
    row = [background + 1, background + 1 + background + 3]  # class "new" of both anchors
    assert torch.equal(target.head.cls.weight[row], new_row[row])
    assert report.kept_classes == {"c": "c", "a": "a"}
    assert report.new_classes == ("new",)
    assert report.partial == ("head.cls.weight", "head.cls.bias")


ANCHORS, BLOCKS, BACKGROUNDS = st.integers(1, 9), st.sampled_from([1, 4]), st.integers(0, 1)


@given(ANCHORS, BACKGROUNDS, BLOCKS, st.permutations(list("abcde")), st.permutations(list("cdefg")))
def test_each_row_of_any_layout_comes_from_the_class_of_its_name(anchors, background, block, source, target):
    """Every row has a label (anchor, class, block) and a number of its own, looked up by label."""

    def labelled(names, tag, first):
        rows = ["__background__"] * background + list(names)
        cells = [(k, tag + name, b) for k in range(anchors) for name in rows for b in range(block)]
        return first + torch.arange(len(cells)), cells

    old, old_cells = labelled(source, "old ", 0)
    new, new_cells = labelled(target, "new ", 1000)
    names = ("__background__",) * background + tuple(source)
    value, kept = keep_rows(new, old, ClassAxis("t", anchors, background, block), match_classes(target, names))
    written = dict(zip(old_cells, old.tolist(), strict=True)) | dict(zip(new_cells, new.tolist(), strict=True))
    expected = [written.get((k, "old " + name[4:], b), written[k, name, b]) for k, name, b in new_cells]
    assert value.tolist() == expected
    assert kept == tuple(i for i, number in enumerate(value.tolist()) if number < 1000)
    assert len(kept) == anchors * (3 + background) * block


def test_same_classes_load_whole_and_may_be_frozen(tiny, weights_of):
    source, target = tiny(SOURCE, seed=1), tiny(SOURCE)
    report = apply_source(target, weights_of(source))
    assert set(report.loaded) == set(target.state_dict())
    assert (report.partial, report.new, report.new_classes, report.kept_rows) == ((), (), (), {})
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])


def test_kept_rows_are_the_positions_that_the_source_filled(tiny, weights_of):
    source, target = tiny(SOURCE, seed=1, background=1), tiny(TARGET, seed=2, background=1)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    report = apply_source(target, weights_of(source))
    assert set(report.kept_rows) == set(report.partial)
    for name, positions in report.kept_rows.items():
        moved = (target.state_dict()[name] != before[name]).reshape(len(before[name]), -1).any(1)
        assert positions == tuple(moved.nonzero().flatten().tolist()) == (0, 1, 3, 4, 5, 7)  # all but "new"


def test_rows_of_an_alias_come_from_the_class_that_the_user_named(tiny, weights_of, batch):
    source, target = tiny(("person", "sofa", "x")), tiny(("x", "pedestrian", "couch"), seed=2)
    report = apply_source(target, weights_of(source), {"pedestrian": "person"})
    old, new = source.eval().logits(batch[0]), target.eval().logits(batch[0])
    assert torch.equal(new, old[:, :, [2, 0, 1]])
    assert report.kept_classes == {"x": "x", "pedestrian": "person", "couch": "sofa"}
    assert report.new_classes == report.ambiguous == ()


@pytest.mark.parametrize("source", [("Mouse", "mouse", "x"), ("Mouse", "mouse", "a")])  # with and without a kept row
def test_ambiguous_classes_are_new_and_reported(tiny, weights_of, source):
    report = apply_source(tiny(("a", "mouse")), weights_of(tiny(source, seed=1)))
    assert report.ambiguous == ("mouse",)
    assert report.new_classes == (("mouse",) if "a" in source else ("a", "mouse"))


def test_the_report_says_where_the_rows_of_each_class_came_from(tiny, weights_of):
    names, source = ("a", "Walker", "sofa", "new", "mouse"), tiny(("person", "mouse", "a", "couch", "MOUSE"), seed=1)
    shown = dict(apply_source(tiny(names), weights_of(source), {"walker": "person"}).as_rows())
    assert shown["classes kept"] == "a, Walker<-person, sofa<-couch"
    assert shown["classes new"] == "new, mouse"
    assert shown["ambiguous"].startswith("mouse: new")
    assert "source.aliases" in shown["ambiguous"]
    assert "ambiguous" not in dict(apply_source(tiny(), weights_of(tiny())).as_rows())


def with_other_anchors(weights):
    """Three per cell, where the tiny detector has two."""
    for part, shape in (("weight", (3 * 3, 8, 1, 1)), ("bias", (3 * 3,))):
        weights.tensors[f"head.cls.{part}"] = torch.zeros(shape)
    return weights


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("imagenet", lambda weights: weights, "source=imagenet has no head with classes"),
        ("checkpoint", with_other_anchors, "source=checkpoint has a head with other anchors"),
    ],
)
def test_aliases_without_effect_are_refused_and_nothing_is_copied(tiny, weights_of, kind, change, text):
    target, weights = tiny(seed=2), change(weights_of(tiny(seed=1), kind))
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError, match=rf"^source\.aliases has no effect: {text}.*Remove the setting"):
        apply_source(target, weights, {"a": "b"})
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    assert apply_source(target, weights, {}).new_classes == ("a", "b", "c")  # none given, none refused


def test_a_misspelt_alias_is_refused_and_nothing_is_copied(tiny, weights_of):
    target = tiny(seed=2)
    before = target.head.cls.weight.detach().clone()
    with pytest.raises(UserError, match=r"source\.aliases\.a=d: the source has no class 'd'"):
        apply_source(target, weights_of(tiny(seed=1)), {"a": "d"})
    assert torch.equal(target.head.cls.weight, before)


def test_a_head_without_a_known_class_is_all_new(tiny, weights_of):
    report = apply_source(tiny(("x", "y")), weights_of(tiny(SOURCE, seed=1)))
    assert report.new == ("head.cls.weight", "head.cls.bias")
    assert report.kept_classes == {}


def test_an_imagenet_source_fills_the_backbone_alone(tiny, weights_of):
    target = tiny()
    report = apply_source(target, weights_of(tiny(seed=1), "imagenet"))
    assert set(report.loaded) == {name for name in target.state_dict() if name.startswith("backbone.")}
    assert set(report.new) == {name for name in target.state_dict() if not name.startswith("backbone.")}
    assert report.new_classes == target.class_names


def test_batch_counters_may_be_missing(tiny, weights_of):
    weights = weights_of(tiny(seed=1))
    for name in [name for name in weights.tensors if name.endswith("num_batches_tracked")]:
        del weights.tensors[name]
    assert "backbone.stem.bn.num_batches_tracked" in apply_source(tiny(), weights).loaded


def test_preprocessing_and_epsilon_of_the_weights_are_taken_over(tiny, weights_of):
    target, theirs = tiny(), Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    apply_source(target, weights_of(tiny(seed=1), preprocessing=theirs, norm_eps=0.0))
    assert target.preprocessing == theirs
    assert [module.eps for name, module in target.named_modules() if name.endswith("bn")] == [0.0] * 3


def test_batchnorm_outside_the_backbone_keeps_its_epsilon(tiny, weights_of):
    target = tiny()
    target.neck = torch.nn.BatchNorm2d(8)
    apply_source(target, weights_of(tiny(seed=1), "imagenet", norm_eps=0.0))
    assert (target.backbone.stem.bn.eps, target.neck.eps) == (0.0, 1e-5)


def changed(weights, name, tensor):
    """The weights with one tensor replaced; None takes it away."""
    weights.tensors.pop(name, None)
    if tensor is not None:
        weights.tensors[name] = tensor
    return weights


@pytest.mark.parametrize(
    ("name", "tensor", "text"),
    [
        ("backbone.stage1.conv.weight", None, r"1 missing in the source: backbone\.stage1\.conv\.weight\n.*backbone="),
        (
            "backbone.stem.conv.weight",
            torch.zeros(5, 3, 3, 3),
            r"stem\.conv\.weight \(5, 3, 3, 3\), here \(4, 3, 3, 3\)",
        ),
        ("neck.0.weight", torch.zeros(16, 8, 1, 1), r"(?s)neck\.0\.weight .*backbone\.neck_channels"),
        ("head.box.bias", torch.zeros(4), r"(?s)head\.box\.bias \(4,\), here \(8,\).*model=.*anchors"),
        ("extra.weight", torch.zeros(1), r"1 unknown to this detector: extra\.weight"),
        ("head.cls.bias", torch.zeros(7), r"head\.cls\.bias \(7,\) over 3 rows, here \(6,\) over 3"),
    ],
)
def test_an_unexplained_mismatch_is_refused_and_nothing_is_copied(tiny, weights_of, name, tensor, text):
    target = tiny()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(UserError, match=text):
        apply_source(target, changed(weights_of(tiny(seed=1), where="here"), name, tensor))
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_class_rows_of_another_number_of_anchors_stay_new_and_are_reported(tiny, weights_of):
    weights = changed(weights_of(tiny(seed=1)), "head.cls.bias", torch.zeros(3 * 3))
    assert apply_source(tiny(), weights).new == ("head.cls.bias",)
