"""The source's detector teaches: what is compared, what is left out, who learns and who stays."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from headstart.config.schema import Architecture, BackboneConfig, BackboneLibrary, DistillConfig
from headstart.config.schemas import SCHEMAS
from headstart.data.batch import Batch
from headstart.detectors.factory import build_detector
from headstart.detectors.interface import ClassAxis, ClassLogits, Detector, Features, Places, stage_of_tensor, take_rows
from headstart.parts.distillation import Teacher, comparable, feature_loss, output_loss, surest_places
from headstart.transfer.head_surgery import apply_source

LITE0 = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
SIZE = 64


def detector_and_teacher(make, weights_of, kind="checkpoint", classes=("b", "new", "a"), **weights):
    """A detector that keeps the classes b and a of a source that knows a, b and c."""
    source, detector = make(("a", "b", "c"), seed=1), make(classes, seed=2)
    report = apply_source(detector, weights_of(source, kind))
    teacher = Teacher(detector.train(), report, DistillConfig(**weights))  # training, as detectors are made
    return detector.eval(), teacher


def moved_away(detector: Detector) -> Detector:
    """A student that has learnt something, so that there is a difference."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in detector.parameters():
            spread = parameter.std() if parameter.numel() > 1 else torch.tensor(0.1)
            parameter += 0.1 * spread * torch.randn(parameter.shape, generator=generator)
    return detector


def losses_of(teacher: Teacher, student: Detector, images: list[Tensor]) -> dict[str, Tensor]:
    batch = Batch.of(images)
    return teacher.losses(student, batch, student.features(batch))


# --------------------------------------------------------------------------------------- what is kept and compared


def test_the_teacher_knows_the_classes_that_the_source_filled(tiny, weights_of):
    _, teacher = detector_and_teacher(tiny, weights_of)
    assert teacher.kept == (0, 2)


@pytest.mark.parametrize(("kind", "with_neck"), [("checkpoint", True), ("imagenet", False)])
def test_behind_a_new_neck_the_bodys_own_maps_are_compared(tiny, weights_of, batch, kind, with_neck):
    student, teacher = detector_and_teacher(tiny, weights_of, kind)
    with torch.no_grad():
        student.neck[0].weight.mul_(2)
        neck_moved = losses_of(teacher, student, batch[0])["distill_features"]
        student.backbone.stage2.conv.weight.mul_(2)
        body_moved = losses_of(teacher, student, batch[0])["distill_features"]
    assert (neck_moved > 0) == with_neck
    assert body_moved > 0


def test_without_a_kept_class_or_a_weight_a_loss_is_absent(tiny, weights_of, batch):
    def names(**settings):
        student, teacher = detector_and_teacher(tiny, weights_of, **settings)
        return set(losses_of(teacher, student, batch[0]))

    assert names() == {"distill_features", "distill_outputs"}
    assert names(kind="imagenet") == names(classes=("x", "y", "z")) == names(outputs=0.0) == {"distill_features"}
    assert names(features=0.0) == {"distill_outputs"}


def test_each_loss_is_multiplied_by_its_weight(tiny, weights_of, batch):
    def values(**weights):
        student, teacher = detector_and_teacher(tiny, weights_of, **weights)
        return losses_of(teacher, moved_away(student), batch[0])

    once, weighted = values(), values(features=2.0, outputs=3.0)
    torch.testing.assert_close(weighted["distill_features"], 2 * once["distill_features"])
    torch.testing.assert_close(weighted["distill_outputs"], 3 * once["distill_outputs"])


# ----------------------------------------------------------------------------------------------- computed by hand


def features(*levels: list, size: tuple[int, int] = (4, 4)) -> Features:
    """One image of `size` in a batch of 4 by 4 pixels, with maps of one channel."""
    maps = {str(i): torch.tensor(level, dtype=torch.float32)[None, None] for i, level in enumerate(levels)}
    return Features(torch.zeros(1, 3, 4, 4), torch.tensor([size]), maps, ())


def test_maps_are_compared_relative_to_the_teachers_and_averaged():
    teacher, student = features([[1, 2], [3, 4]], [[2]]), features([[1, 4], [3, 0]], [[3]])
    first = (0 + 4 + 0 + 16) / (1 + 4 + 9 + 16)
    second = 1 / 4
    assert feature_loss(student, teacher, with_neck=True).item() == pytest.approx((first + second) / 2)


def test_cells_in_the_padding_are_not_compared():
    """Two pixels wide: cells of two pixels from the third on lie in the padding, whatever stands there."""
    teacher = features([[1, float("nan")], [3, 7]], size=(4, 2))
    student = features([[2, 5], [3, float("inf")]], size=(4, 2))
    assert feature_loss(student, teacher, with_neck=True).item() == pytest.approx(1 / (1 + 9))


def test_a_teacher_that_is_silent_gives_a_finite_loss():
    assert feature_loss(features([[0, 0]]), features([[0, 0]]), with_neck=True) == 0
    assert feature_loss(features([[1, 0]]), features([[0, 0]]), with_neck=True).isfinite()


def head(background: int, *images: list) -> SimpleNamespace:
    """A detector with nothing but a head, whose logits are given for each image and place."""
    everywhere = torch.tensor(images, dtype=torch.float32)

    def class_logits(features, places=None):
        if places is None:
            where = torch.arange(everywhere.shape[1]).expand(everywhere.shape[:2])
            places = Places(torch.ones_like(where, dtype=torch.bool), where)
        return ClassLogits(take_rows(everywhere, places.where), places)

    return SimpleNamespace(class_axes=lambda: [ClassAxis("", background=background)], class_logits=class_logits)


def test_with_a_background_row_logits_are_compared_up_to_a_constant():
    """Background, a and (new) b; a is kept. Centred over background and a: (-1, 1) and (-2, 2)."""
    teacher, student = head(1, [[0, 2, 9]]), head(1, [[1, 5, -7]])
    assert output_loss(student, teacher, features(), features(), kept=(0,)).item() == pytest.approx(1.0)
    shifted = head(1, [[100, 102, 0]])
    assert output_loss(shifted, teacher, features(), features(), kept=(0,)).item() == 0


def test_without_a_background_row_logits_are_compared_as_they_are():
    """a and c are kept, over the places of two images: differences 3, 0 and 1, 2."""
    teacher, student = head(0, [[2, 9, 1]], [[0, 0, 0]]), head(0, [[5, -7, 1]], [[1, 5, -2]])
    expected = (9 + 0 + 1 + 4) / 4
    assert output_loss(student, teacher, features(), features(), kept=(0, 2)).item() == pytest.approx(expected)


@pytest.mark.parametrize("background", [0, 1])
def test_the_128_places_where_the_teacher_is_surest_of_a_kept_class_are_compared(background):
    """It says of a new class that it is everywhere else, and, with a background, that the next 72 are background."""
    sure = [[0.0] * background + [5.0, 0.0]] * 128
    unsure = [[30.0] * background + ([6.0] if background else [4.0]) + [50.0]] * 72
    teacher, student = head(background, unsure + sure), head(background, [[0.0] * (background + 2)] * 72 + sure)
    assert output_loss(student, teacher, features(), features(), kept=(0,)) == 0
    reversed_ = head(background, unsure + [[0.0] * (background + 2)] * 128)
    assert output_loss(reversed_, teacher, features(), features(), kept=(0,)) > 0


def test_the_surest_place_is_that_of_the_likeliest_class_not_of_the_largest_logit():
    logits = torch.tensor([[9.0, 8.0, 0.0], [0.0, 1.0, 4.0]])
    both = torch.tensor([[True, True]])
    assert surest_places(logits[None], both, background=1).tolist() == [[1, 0]]
    assert surest_places(logits[None], both, background=0).tolist() == [[0, 1]]


def test_a_place_that_is_not_there_is_never_surer_than_one_that_is():
    logits = torch.tensor([[[9.0], [1.0], [4.0]]])
    assert surest_places(logits, torch.tensor([[False, True, True]]), background=0).tolist() == [[2, 1, 0]]


def test_only_under_a_softmax_is_a_constant_without_meaning():
    logits = torch.tensor([[1.0, 3.0]])
    assert comparable(logits, background=1).tolist() == [[-1.0, 1.0]]
    assert comparable(logits, background=0) is logits


def test_no_proposal_is_no_difference():
    def saying(value):
        nowhere = Places(torch.tensor([[False]]), torch.zeros(1, 1, 4))
        answer = ClassLogits(torch.tensor([[[0.0, value, 0.0]]]), nowhere)
        return SimpleNamespace(class_axes=head(1, [[0]]).class_axes, class_logits=lambda features, places=None: answer)

    assert output_loss(saying(1.0), saying(5.0), features(), features(), kept=(0,)) == 0


# ------------------------------------------------------------------------------------------ on every architecture


def calibrated(detector: Detector) -> Detector:
    """With the statistics of pictures, so that signals neither die nor explode in a random network."""
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of what it has seen
    with torch.no_grad():
        detector.train().predict([torch.rand(3, SIZE, SIZE) for _ in range(4)])
    return detector


@pytest.fixture(params=[one for one in Architecture if one is not Architecture.extension], ids=str)
def learning(request, weights_of) -> tuple[Detector, Teacher]:
    def make(class_names: tuple[str, ...], seed: int) -> Detector:
        torch.manual_seed(seed)
        detector = build_detector(SCHEMAS["model"][request.param.value](architecture=request.param), LITE0, class_names)
        for axis in detector.class_axes():
            detector.state_dict()[axis.tensor].normal_(std=0.02)
        if hasattr(detector, "rpn"):
            detector.rpn._pre_nms_top_n = detector.rpn._post_nms_top_n = {"training": 200, "testing": 200}
        if hasattr(detector, "min_canvas"):
            detector.min_canvas = min(detector.min_canvas, 96)
        return calibrated(detector)

    return detector_and_teacher(make, weights_of)


@pytest.fixture
def images() -> list[Tensor]:
    """Of two sizes."""
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(3, SIZE, width, generator=generator) for width in (SIZE, SIZE - 24)]


def test_a_student_like_its_teacher_has_nothing_to_learn(learning, images):
    student, teacher = learning
    with torch.no_grad():
        found = losses_of(teacher, student, images)
    assert {name: loss.item() for name, loss in found.items()} == {"distill_features": 0.0, "distill_outputs": 0.0}


def test_the_students_features_serve_its_own_losses_and_the_distillation(learning, images, batch):
    student, teacher = learning
    passes: list[nn.Module] = []
    student.get_submodule("backbone").register_forward_hook(lambda module, *_: passes.append(module))
    one = Batch.of(images, batch[1])
    features = student.features(one)
    losses = student.losses(one, features) | teacher.losses(student, one, features)
    assert len(losses) >= 4
    assert len(passes) == 1


@pytest.mark.parametrize("name", ["distill_features", "distill_outputs"])
def test_a_step_leads_the_student_back_to_its_teacher_who_does_not_move(learning, images, name):
    student, teacher = learning
    teachers = {key: tensor.clone() for key, tensor in teacher.detector.state_dict().items()}
    loss = losses_of(teacher, moved_away(student), images)[name]
    loss.backward()
    reached = [key for key, parameter in student.named_parameters() if parameter.grad is not None]
    assert "stem" in {stage_of_tensor(student)[key] for key in reached}  # the whole way to the input
    step_down(student, loss.detach())
    with torch.no_grad():
        assert 0 < losses_of(teacher, student, images)[name] < loss
    assert all(parameter.grad is None for parameter in teacher.detector.parameters())
    assert all(torch.equal(tensor, teachers[key]) for key, tensor in teacher.detector.state_dict().items())


def step_down(student: Detector, loss: Tensor, share: float = 1e-2) -> None:
    """So far that, were it a slope, so much of the loss would be gone."""
    learning = [parameter for parameter in student.parameters() if parameter.grad is not None]
    slope = torch.cat([parameter.grad.flatten() for parameter in learning]).norm()
    with torch.no_grad():
        for parameter in learning:
            parameter -= share * loss / slope**2 * parameter.grad


# -------------------------------------------------------------------------------------------- who stays, and where


def test_the_teacher_stays_in_eval_mode_without_gradients_and_apart_from_the_student(tiny, weights_of, batch):
    student, teacher = detector_and_teacher(tiny, weights_of)
    before = {name: tensor.clone() for name, tensor in teacher.detector.state_dict().items()}
    losses = losses_of(teacher, moved_away(student).train(), batch[0])
    sum(losses.values(), torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in student.backbone.parameters())
    assert not any(module.training for module in teacher.detector.modules())
    assert not any(parameter.requires_grad for parameter in teacher.detector.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.detector.state_dict().items())


def test_what_holds_a_teacher_neither_saves_nor_trains_it(tiny, weights_of):
    student, teacher = detector_and_teacher(tiny, weights_of)
    module = nn.Module()
    module.student, module.teacher = student, teacher
    assert len(module.state_dict()) == len(student.state_dict())
    assert len(list(module.parameters())) == len(list(student.parameters()))


def test_the_teacher_follows_the_images_to_their_device(tiny, weights_of, batch, monkeypatch):
    student, teacher = detector_and_teacher(tiny, weights_of)
    asked: list[torch.device] = []
    monkeypatch.setattr(teacher.detector, "to", asked.append)
    losses_of(teacher, student, batch[0])
    assert asked == []  # it is there: to walk over all its tensors takes a while in every step
    elsewhere = torch.device("meta")
    teacher.to(elsewhere)
    assert asked == [elsewhere]


def test_the_losses_are_computed_in_float32_under_autocast(tiny, weights_of, batch):
    student, teacher = detector_and_teacher(tiny, weights_of)
    moved_away(student)
    expected = losses_of(teacher, student, batch[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses_of(teacher, student, batch[0])
    assert {loss.dtype for loss in found.values()} == {torch.float32}
    torch.testing.assert_close(found["distill_features"], expected["distill_features"], rtol=0.1, atol=0)
