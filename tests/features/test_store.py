"""Stored features are those of the network, shared where everything is the same, and nobody else's."""

import copy
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from headstart.data.dataset import rendered
from headstart.features import store
from headstart.features.key import Arithmetic
from headstart.runs.experiment import Experiment
from headstart.transfer.freezing import set_train_mode

CPU = Arithmetic(torch.device("cpu"), "32-true")
HEAD_ONLY = "strategy=head_only"


@pytest.fixture
def begun(experiment: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """In its first phase, in training mode."""

    def make(*words: str, arithmetic: Arithmetic = CPU) -> Experiment:
        made = experiment(*words)
        set_train_mode(made.detector, made.plan.phases[0])
        made.store.begin(0, made.detector, arithmetic)
        return made

    return make


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache" / "features").glob("*.features")}


@pytest.mark.parametrize("split", ["train", "val"])
def test_features_of_a_batch_are_those_that_the_network_computes(begun, split):
    made = begun("strategy=partial_freeze")
    state = torch.get_rng_state()
    for batch in made.data.whole(split):
        stored, own = made.store.features(made.detector, split, batch), None
        torch.set_rng_state(state)
        own = made.detector.features(batch)
        torch.set_rng_state(state)
        stored = made.store.features(made.detector, split, batch)
        assert stored is not None
        assert torch.equal(stored.maps["0"], own.maps["0"])


def test_features_of_augmented_batches_are_those_of_the_views_that_are_drawn(begun):
    made = begun("strategy=partial_freeze", "augment=views", "trainer.max_epochs=9")
    drawn, seen = made.data._dataset("train", made.data.augment), set()
    for keys in [[(epoch, number) for number in (4, 1, 3)] for epoch in range(8)]:
        batch = rendered(drawn.__getitems__(keys))
        seen |= {(frame.view, frame.image_id) for frame in batch.frames}
        torch.manual_seed(0)  # the neck has dropout
        own = made.detector.features(batch)
        torch.manual_seed(0)
        stored = made.store.features(made.detector, "train", batch)
        assert stored is not None
        assert torch.equal(stored.maps["0"], own.maps["0"])
    assert len(seen) > 8  # of twelve


def test_the_steps_of_stored_features_are_those_of_the_network(begun):
    made = begun(HEAD_ONLY)
    other = copy.deepcopy(made.detector)
    for step, batch in enumerate(made.data.whole("train")):
        for detector in (made.detector, other):
            torch.manual_seed(step)
            features = made.store.features(detector, "train", batch) if detector is other else None
            sum(detector.losses(batch, features).values(), torch.zeros(())).backward()
    assert all(
        torch.equal(one.grad, two.grad)
        for one, two in zip(made.detector.parameters(), other.parameters(), strict=True)
        if one.requires_grad and one.grad is not None
    )
    assert made.detector.head.cls.weight.grad.abs().sum() > 0


def test_a_split_that_is_not_stored_and_a_phase_that_freezes_nothing_go_through_the_network(begun):
    made = begun("strategy=lp_ft")
    batch = next(made.data.whole("val"))
    assert made.store.features(made.detector, "test", batch) is None
    assert made.store.features(made.detector, "val", batch) is not None
    made.store.begin(2, made.detector, CPU)
    assert made.store.features(made.detector, "val", batch) is None


def test_where_the_prefix_is_no_longer_the_stored_one_the_network_is_asked(begun):
    """A mixture of weights, measured after the training."""
    made = begun(HEAD_ONLY)
    batch = next(made.data.whole("val"))
    made.store.check(made.detector)
    assert made.store.features(made.detector, "val", batch) is not None
    made.detector.backbone.stem.bn.running_mean.add_(1e-3)
    made.store.check(made.detector)
    assert made.store.features(made.detector, "val", batch) is None


@pytest.mark.parametrize("same", ["seed=3", "dataset.batch_size=3", "optimizer.lr=0.1", "strategy=lp_ft"])
def test_a_cell_that_differs_behind_the_border_computes_nothing(begun, monkeypatch, tmp_path, same):
    begun(HEAD_ONLY)
    before = files(tmp_path)
    monkeypatch.setattr(store, "prefix_of", None)
    begun(HEAD_ONLY, same)
    assert files(tmp_path) == before
    assert len(before) == 2


@pytest.mark.parametrize(
    ("other", "new"),
    [
        ("dataset.min_size=40", 2),
        ("dataset.resize=stretch dataset.max_size=48", 2),
        ("dataset.num_train=6", 1),  # the pictures of val are the same
        ("dataset.draw_seed=1", 2),
        ("augment=views strategy.feature_store=on", 1),  # and those of val are shown as they are
        ("strategy.freeze_through=stage1", 2),
    ],
)
def test_other_pictures_another_size_or_another_border_have_other_files(begun, tmp_path, other, new):
    begun(HEAD_ONLY)
    before = files(tmp_path)
    begun(HEAD_ONLY, *other.split())
    assert len(files(tmp_path) - before) == new


def test_other_weights_other_normalisation_and_another_precision_have_other_files(experiment, tmp_path):
    for change in (
        lambda detector: None,
        lambda detector: detector.backbone.stem.conv.weight.data.mul_(1.001),
        lambda detector: detector.backbone.stage1.bn.running_var.mul_(1.001),
        lambda detector: setattr(detector.backbone.stem.bn, "eps", 1e-3),
    ):
        made, before = experiment(HEAD_ONLY), files(tmp_path)
        change(made.detector)
        made.store.begin(0, made.detector, CPU)
        assert len(files(tmp_path) - before) == 2
    made = experiment(HEAD_ONLY)
    made.store.begin(0, made.detector, Arithmetic(torch.device("cpu"), "bf16-mixed"))
    assert len(files(tmp_path)) == 10


def test_a_damaged_file_is_made_anew(begun, tmp_path):
    begun(HEAD_ONLY)
    (path, *_) = sorted((tmp_path / "cache" / "features").glob("*.features"))
    sound = path.read_bytes()
    path.write_bytes(sound[:64] + b"x" + sound[65:])
    begun(HEAD_ONLY)
    assert path.read_bytes() == sound


def test_of_two_that_need_a_file_at_once_one_computes_it(experiment, monkeypatch):
    calls: list[str] = []
    real = store.prefix_of
    monkeypatch.setattr(store, "prefix_of", lambda *of: (calls.append(of[1].stage), real(*of))[1])
    both = [experiment(HEAD_ONLY), experiment(HEAD_ONLY)]
    threads = [threading.Thread(target=made.store.begin, args=(0, made.detector, CPU)) for made in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["neck"] * (3 + 2)
    batch = next(both[0].data.whole("val"))
    assert all(made.store.features(made.detector, "val", batch) is not None for made in both)


def test_the_folder_holds_no_more_than_the_limit_and_what_is_open_is_read_on(begun, monkeypatch, tmp_path):
    first = begun(HEAD_ONLY)
    old = files(tmp_path)
    monkeypatch.setattr(store, "LIMIT_BYTES", 1)
    begun(HEAD_ONLY, "dataset.draw_seed=1")
    assert not files(tmp_path) & old
    assert len(files(tmp_path)) == 1  # the one written last
    assert first.store.features(first.detector, "train", next(first.data.whole("train"))) is not None


def test_a_batch_on_a_smaller_canvas_is_stored_on_the_runs(begun):
    made = begun(HEAD_ONLY)
    batch = next(made.data.whole("train"))
    wider = batch.on_canvas((60, 70))
    assert wider.images.shape[-2:] == (60, 70)
    assert torch.equal(wider.images[..., :48, :64], batch.images)
    assert not wider.images[..., 48:, :].any()
    assert torch.equal(wider.sizes_hw, batch.sizes_hw)
