"""What a step would make anew each time is made once, and is no part of a network's state."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.data.batch import Batch, Detections
from headstart.detectors.constants import MOST, Constants
from tests.detectors.test_ignored import build, pictures, target


@pytest.fixture(scope="module", params=["retinanet-v2", "ssd"])
def built(request) -> Any:
    return build(request.param)


@pytest.fixture
def detector(built) -> Any:
    return copy.deepcopy(built)


def batch() -> Batch:
    return Batch.of(pictures(), [target((4, 6, 44, 50)), target()])


def total(detector: Any) -> Tensor:
    return torch.stack(list(detector.losses(batch()).values())).sum()


@torch.no_grad()
def found(detector: Any, batch: Batch) -> Detections:
    return detector.detect(batch)


def test_anchors_are_made_once_for_a_canvas(detector, monkeypatch):
    made = []
    plain = type(detector.anchor_generator).forward
    monkeypatch.setattr(type(detector.anchor_generator), "forward", lambda *given: made.append(1) or plain(*given))
    for _ in range(2):
        total(detector)
        found(detector, batch())
    assert len(made) == 1
    found(detector, Batch.of([torch.rand(3, 200, 200)]))
    assert len(made) == 2


def test_what_validation_made_in_inference_mode_serves_training(detector):
    with torch.inference_mode():
        detector.detect(batch())
    total(detector).backward()


def test_a_copy_and_a_pickled_network_compute_the_same_and_share_nothing(detector):
    expected = total(detector)
    assert torch.equal(total(copy.deepcopy(detector)), expected)
    assert torch.equal(total(pickle.loads(pickle.dumps(detector))), expected)
    assert not copy.deepcopy(detector)._constants._made


def test_they_follow_the_networks_type(detector):
    total(detector)
    assert total(detector.double()).dtype == torch.float64
    assert detector.features(batch()).batch.dtype == torch.float64


def test_of_very_many_canvases_the_last_used_are_kept():
    constants = Constants()
    constants.get(0, lambda: torch.zeros(()))
    for i in range(1, MOST + 5):
        constants.get(i, lambda: torch.zeros(()))
        constants.get(0, lambda: pytest.fail("made twice"))
    assert sorted(constants._made) == [0, *range(6, MOST + 5)]
