"""What D-FINE and RT-DETR do on top of transformers' layers: ignored boxes, assignments, sizes, and what is refused."""

import importlib.util
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.config import detr_sizes
from headstart.config import schema as s
from headstart.config.detr_sizes import query_problems, widths_of
from headstart.data.batch import Batch
from headstart.data.types import Target
from headstart.detectors.denoising import noised
from headstart.detectors.detr import QueryDetector
from headstart.detectors.factory import build_detector
from headstart.errors import UserError

pytest.importorskip("transformers")
from headstart.detectors.detr_matching import NOBODY, assigned

LITE0 = s.BackboneConfig("efficientnet_lite0", s.BackboneLibrary.timm, "tf_efficientnet_lite0")
SMALL = {"hidden": 32, "layers": 2, "queries": 30, "channels_last": False}
CONFIGS = {
    "d_fine": s.DFineConfig(s.Architecture.d_fine, **SMALL),  # type: ignore[arg-type]
    "rt_detr": s.RTDetrConfig(s.Architecture.rt_detr, **SMALL),  # type: ignore[arg-type]
}


@pytest.fixture(scope="module", params=CONFIGS)
def detector(request) -> QueryDetector:
    torch.manual_seed(0)
    made = build_detector(CONFIGS[request.param], LITE0, ("a", "b"))
    assert isinstance(made, QueryDetector)
    for axis in made.class_axes():
        made.state_dict()[axis.tensor].normal_(std=0.3)
    return made.eval()


def picture(seed: int = 0) -> Tensor:
    return torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(seed))


def a_target(boxes: list[list[float]], difficult: list[bool]) -> Target:
    no = torch.zeros(len(boxes), dtype=torch.bool)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return Target(0, corners, labels, no, torch.tensor(difficult, dtype=torch.bool), no.float(), (64, 96), (64, 96))


def losses(detector: QueryDetector, *targets: Target) -> dict[str, float]:
    torch.manual_seed(0)
    with torch.no_grad():
        found = detector.losses(Batch.of([picture(i) for i in range(len(targets))], targets))
    return {name: float(loss) for name, loss in found.items()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_network_can_be_built_for_its_shapes_alone(config):
    """As loading a run does, before memory is taken for it."""
    with torch.device("meta"):
        shapes = build_detector(config, LITE0, ("a", "b")).state_dict()
    assert {name: tensor.shape for name, tensor in shapes.items()} == {
        name: tensor.shape for name, tensor in build_detector(config, LITE0, ("a", "b")).state_dict().items()
    }


# ------------------------------------------------------------------------------------------------- ignored boxes


def test_queries_in_an_ignored_box_are_not_told_to_find_nothing(detector):
    """One that holds the whole picture leaves nothing to learn of it."""
    everything = a_target([[-300.0, -300.0, 500.0, 500.0]], [True])
    assert losses(detector, everything)["classification"] == 0
    assert losses(detector, a_target([], []))["classification"] > 0


def test_an_ignored_box_is_no_object_and_spares_no_other(detector):
    box, other = [10.0, 10.0, 60.0, 50.0], [80.0, 2.0, 81.0, 3.0]
    with_object = losses(detector, a_target([box], [False]))
    beside = losses(detector, a_target([box, other], [False, True]))
    for name in ("classification", "boxes_l1", "boxes_giou"):
        assert beside[name] == pytest.approx(with_object[name], rel=1e-4)
    assert losses(detector, a_target([box], [True]))["boxes_l1"] == 0


def test_without_an_object_in_the_batch_boxes_and_noise_cost_nothing(detector):
    found = losses(detector, a_target([], []), a_target([], []))
    assert {name for name, loss in found.items() if loss} == {"classification"}


# --------------------------------------------------------------------------------------------------- assignments


def test_the_assignment_is_the_best_of_all():
    costs = np.random.default_rng(0).random((2, 3, 5, 3), dtype=np.float32)
    costs[1, 2, :, 1] = np.inf  # no object
    found = assigned(costs)
    assert found[1, 2, 1] == NOBODY
    for place in np.ndindex(2, 3):
        columns = [column for column in range(3) if np.isfinite(costs[place][0, column])]
        rows = itertools.permutations(range(5), len(columns))
        least = min(sum(costs[place][row, column] for row, column in zip(each, columns, strict=True)) for each in rows)
        own = sum(costs[place][found[place][column], column] for column in columns)
        assert own == pytest.approx(least)


def test_more_objects_than_queries_leave_some_to_nobody():
    found = assigned(np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3))
    assert sorted(found[0, 0].tolist()) == [NOBODY, 0, 1]


# ----------------------------------------------------------------------------------------------------- denoising


def test_groups_of_noise_see_themselves_and_the_queries_and_are_seen_by_no_one_else():
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2]] * 3])
    found = noised(boxes, torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[True, True, False]]), 2, 7)
    assert (found.groups, tuple(found.labels.shape)) == (2, (1, 12))
    assert found.wanted.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert (found.labels[0, 2::3] == 2).all()  # where there is no object
    mask = found.mask(4)
    for one, other in itertools.product(range(16), range(16)):
        same = one < 12 and other < 12 and one // 6 == other // 6
        assert mask[one, other] == (same or other >= 12)


def test_near_queries_begin_in_the_box_s_half_width_and_far_ones_beyond():
    """Each side of the first moves by less than half a box, of the second by more."""
    torch.manual_seed(0)
    found = noised(
        torch.tensor([[[0.5, 0.5, 0.2, 0.2]]]), torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[True]]), 2, 50
    )
    centres, sides = found.references.sigmoid()[0].split(2, dim=-1)
    corners = torch.cat((centres - sides / 2, centres + sides / 2), -1)
    moved = (corners - torch.tensor([0.4, 0.4, 0.6, 0.6])).abs()
    near, far = moved.view(50, 2, 4).unbind(1)
    assert (near < 0.1 + 1e-4).all()
    whole = (sides.view(50, 2, 2)[:, 1] > 1e-3).all(-1)  # sides that cross are put where they meet
    assert whole.any()
    assert (far[whole] > 0.1 - 1e-4).all()


# -------------------------------------------------------------------------------------- sizes, and what is refused


def test_the_users_widths_go_before_the_size_s():
    config = s.DFineConfig(s.Architecture.d_fine, size=s.DFineSize.nano, hidden=64, layers=1)
    widths = widths_of(config)
    assert (widths.neck, widths.decoder, widths.layers, widths.strides) == (64, 64, 1, (16, 32))
    assert widths_of(s.DFineConfig(s.Architecture.d_fine, size=s.DFineSize.xlarge)).neck == 384


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden": 20}, "model.hidden=20 must be a multiple of 8"),
        ({"layers": 0}, "model.layers=0 must be 1 or more"),
        ({"queries": 0}, "model.queries=0 must be 1 or more"),
        ({"denoising": -1}, "model.denoising=-1 must be 0 or more"),
    ],
)
def test_settings_that_no_network_has_are_refused_by_name(change, told):
    (problem,) = query_problems(s.DFineConfig(s.Architecture.d_fine, **change))
    assert told in problem


def test_without_transformers_the_choice_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(detr_sizes.importlib.util, "find_spec", lambda name: None)
    told = r"model=rt_detr is built with transformers, which is not installed: pip install 'headstart\[detr\]'"
    with pytest.raises(UserError, match=told):
        build_detector(CONFIGS["rt_detr"], LITE0, ("a",))
    assert [*query_problems(CONFIGS["rt_detr"])] == [told.replace("\\", "")]
    assert [*query_problems(s.FCOSConfig(s.Architecture.fcos))] == []


def test_importing_the_detectors_does_not_import_transformers():
    code = "import sys, headstart.detectors.factory; print('transformers' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    assert importlib.util.find_spec("transformers") is not None


@pytest.mark.parametrize("name", CONFIGS)
def test_new_layers_pass_on_what_they_are_given(name):
    """transformers draws all weights from N(0, 0.01), RT-DETR's batch normalisation included; Glorot's uniform has a
    deviation of the root of two by inputs and outputs."""
    torch.manual_seed(0)
    made = build_detector(CONFIGS[name], LITE0, ("a", "b"))
    layers = [layer for part in ("neck", "head") for layer in made.get_submodule(part).modules()]
    norms = [layer.weight for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
    linear = [layer.weight for layer in layers if isinstance(layer, torch.nn.Linear) and layer.weight.any()]
    assert len(norms) > 10
    assert all((weight == 1).all() for weight in norms)
    assert len(linear) > 10
    for weight in linear:
        assert weight.std().item() == pytest.approx((2 / sum(weight.shape)) ** 0.5, rel=0.35)
