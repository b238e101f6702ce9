"""What is compiled computes what is written: the same losses, gradients and weights, once for each canvas.

Most tests have torch trace and not translate, which takes a minute; the slow ones translate.
"""

import itertools
from typing import Any

import pytest
import torch

from headstart import build
from headstart.config.compose import compose
from headstart.config.schema import Compile, TrainerConfig, TrainingConfig
from headstart.data.batch import Batch
from headstart.data.datamodule import DetectionDataModule
from headstart.data.info import describe
from headstart.data.types import Target
from headstart.detectors.factory import build_detector
from headstart.errors import UserError
from headstart.runs.from_data import data_of
from headstart.training.callbacks import optional_callbacks
from headstart.training.compiled import as_written, losses_by

from .test_no_waiting import MODELS, SMALL, module_of

CPU = TrainerConfig(accelerator="cpu")
UPRIGHT, LYING = (128, 96), (96, 128)


@pytest.fixture
def traced(monkeypatch) -> list[Any]:
    """What torch would compile, as it compiles it."""
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    plain = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, options, **settings: plain(function, backend=backend, **settings)
    )
    return graphs


def a_batch(images: int = 2, canvas: tuple[int, int] = LYING) -> Batch:
    """One picture is smaller than the canvas, and one has an object less."""
    generator = torch.Generator().manual_seed(images)
    height, width = canvas
    boxes = torch.tensor([[10.0, 12.0, 60.0, 50.0], [30.0, 20.0, 90.0, 88.0]])
    pictures, targets = [], []
    for i in range(images):
        size = (height - 8 * i, width)
        pictures.append(torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8))
        some, no = boxes[: 2 - i % 2], torch.zeros(2 - i % 2, dtype=torch.bool)
        targets.append(Target(i, some, torch.arange(len(some)), no, no, torch.ones(len(some)), size, size))
    return Batch.of(pictures, targets, rows=8)


def detector_of(model: str, backbone: str = "efficientnet_lite0") -> Any:
    config = compose([f"model={model}", f"backbone={backbone}", "dataset=shapes", "source=scratch"])
    torch.manual_seed(0)
    return build_detector(config.model, config.backbone, ("a", "b", "c")).train()


def losses_and_gradients(losses_of: Any, detector: Any, batch: Batch) -> tuple[dict[str, Any], dict[str, Any]]:
    """From the same weights and draws; the statistics move, and are put back."""
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    detector.zero_grad(set_to_none=True)
    torch.manual_seed(3)
    losses = losses_of(detector, batch, None)
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: p.grad.clone() for name, p in detector.named_parameters() if p.grad is not None}
    moved = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    detector.load_state_dict(state)
    return {name: value.detach() for name, value in losses.items()} | moved, gradients


def apart(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The largest relative distance."""
    assert list(ours) == list(theirs)
    pairs = [(ours[name].double(), theirs[name].double()) for name in theirs]
    return max(float((one - other).norm() / other.norm().clamp(min=1e-12)) for one, other in pairs)


@pytest.mark.slow
def test_a_network_is_one_piece_for_each_canvas_and_a_smaller_batch_is_computed_as_written(traced):
    detector, losses_of = detector_of("retinanet", "resnet18"), losses_by(Compile.inductor, 2)
    names = list(detector.state_dict())
    for canvas, images in (*itertools.product((LYING, UPRIGHT), (2,)), (UPRIGHT, 1), (LYING, 2)):
        batch = a_batch(images, canvas)
        found, expected = (losses_and_gradients(which, detector, batch) for which in (losses_of, as_written))
        assert apart(found[0], expected[0]) == apart(found[1], expected[1]) == 0
    assert len(traced) == 2
    assert list(detector.state_dict()) == names


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_compiled_losses_gradients_and_statistics_are_those_as_written(model):
    """Two canvases, twice each: nothing is compiled again. In float64, where rounding hides nothing."""
    torch.compiler.reset()
    detector, losses_of = detector_of(model).double(), losses_by(Compile.inductor, 2)
    for times in range(2):
        for canvas in (LYING, UPRIGHT):
            with torch.compiler.set_stance("fail_on_recompile" if times else "default"):
                found = losses_and_gradients(losses_of, detector, a_batch(2, canvas))
            expected = losses_and_gradients(as_written, detector, a_batch(2, canvas))
            assert apart(found[0], expected[0]) < 1e-9
            assert apart(found[1], expected[1]) < 1e-6  # of the smallest gradients, whose terms cancel


def weights_after(tmp_path: Any, tiny: Any, compile_: Compile, *overrides: str) -> dict[str, torch.Tensor]:
    """Of two epochs of six steps."""
    words = [*SMALL, "dataset=shapes", f"output_dir={tmp_path}", "trainer.accelerator=cpu", *overrides]
    config = compose(words)
    data = data_of(config, None)
    info = describe(data, config.dataset)
    datamodule = DetectionDataModule(data, info, config.dataset, config.augment, config.seed)
    module = module_of(config, datamodule, tiny(info.class_names))
    module.losses_of = losses_by(compile_, config.dataset.batch_size)
    callbacks = optional_callbacks(config.training, config.monitor)
    build.build_trainer(config.trainer, tmp_path, callbacks, [], None).fit(module, datamodule=datamodule)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("overrides", "graphs"),
    [
        (("strategy=lora", "training.ema_decay=0.9"), 1),
        pytest.param(("strategy=distill", "trainer.accumulate_grad_batches=2"), 1, marks=pytest.mark.slow),
        (("strategy=gradual_unfreeze", "trainer.precision=bf16-mixed"), 2),  # two phases fit into two epochs
    ],
)
def test_with_each_part_of_a_strategy_a_compiled_training_ends_where_the_plain_one_does(
    tmp_path, tiny, traced, overrides, graphs
):
    ours, theirs = (weights_after(tmp_path, tiny, kind, *overrides) for kind in (Compile.inductor, Compile.none))
    assert apart(ours, theirs) == 0
    assert len(traced) == graphs


def test_a_network_that_asks_for_a_number_is_refused_with_a_remedy(tiny, traced):
    detector = tiny()
    losses = detector.losses
    detector.losses = lambda batch, features: {
        name: value if value.item() > 0 else -value for name, value in losses(batch, features).items()
    }
    with pytest.raises(
        UserError, match=r"training\.compile=inductor cannot be obeyed .*Use training\.compile=none. torch says: \w+"
    ):
        losses_by(Compile.inductor, 2)(detector, a_batch(), None)


def test_auto_compiles_nothing_where_nothing_was_measured_to_pay():
    assert build.resolve_compile(TrainingConfig(), CPU) is Compile.none
    assert losses_by(Compile.none, 2) is as_written


def test_what_this_machine_lacks_is_told_before_training(monkeypatch):
    with pytest.raises(UserError, match=r"training\.compile=graphs needs a CUDA GPU, .* trains on cpu: use inductor"):
        build.resolve_compile(TrainingConfig(compile=Compile.graphs), CPU)
    monkeypatch.setattr(build, "_missing_compiler", lambda device: "a C++ compiler")
    with pytest.raises(UserError, match=r"training\.compile=inductor needs a C\+\+ compiler, .* install it, or use"):
        build.resolve_compile(TrainingConfig(compile=Compile.inductor), CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_graphs_compute_what_is_written(model):
    """Replayed on other pictures, after the constants that they read were forgotten elsewhere."""
    torch.compiler.reset()
    detector, losses_of = detector_of(model).cuda(), losses_by(Compile.graphs, 2)
    for turn, canvas in enumerate((LYING, UPRIGHT, LYING, LYING, UPRIGHT)):
        batch = a_batch(2, canvas).to("cuda")
        batch.images = batch.images + turn
        found, expected = (losses_and_gradients(which, detector, batch) for which in (losses_of, as_written))
        assert apart(found[0], expected[0]) < 1e-4
        assert apart(found[1], expected[1]) < 1e-2
        detector._constants._made.clear()
