"""A network taken apart behind one of its stages: the prefix, and the rest of it.

There is one way through a network, its own `features_of`. The prefix is that way as far as the border; the rest is the
same way with the layers of the prefix answering what they once found. So the two are the whole, whatever the network
does between its layers, and no architecture has to be written a second time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from headstart.data.batch import Batch
from headstart.detectors.interface import Detector, Features


class CannotSplit(Exception):
    """The network cannot be taken apart there; says why."""


@dataclass(frozen=True)
class Kept:
    """A layer of the prefix whose output is read behind the border."""

    layer: str
    keys: tuple[str, ...] | None
    """Of an output that is a dict of tensors; None: it is a tensor."""


@dataclass(frozen=True)
class Cut:
    """The border behind a stage."""

    stage: str
    layers: tuple[str, ...]
    """All of the prefix, as in `named_modules()`; none lies within another."""
    kept: tuple[Kept, ...]
    """In the order in which they are computed."""
    outlines: Mapping[str, Outline] = field(default_factory=dict[str, "Outline"], compare=False)
    """Of the layers whose output nobody reads, where what lies between layers asks for its shape, as a transformer's
    tokens do; elsewhere none."""


class Outline:
    """A layer of which the shapes of its outputs alone are left."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = copy.deepcopy(layer).to("meta")
        self.known: dict[tuple[torch.Size, ...], dict[Any, torch.Size]] = {}

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Zeros, which take no memory."""
        given, spec = tree_flatten((inputs, named))
        tensors = [value for value in given if isinstance(value, Tensor)]
        key = tuple(tensor.shape for tensor in tensors)
        if key not in self.known:
            meta = [value.to("meta") if isinstance(value, Tensor) else value for value in given]
            inputs, named = tree_unflatten(meta, spec)
            self.known[key] = {name: tensor.shape for name, tensor in _tensors(self.layer(*inputs, **named)).items()}
        nothing = tensors[0].new_zeros(())
        return _like([*self.known[key]], [nothing.expand(shape) for shape in self.known[key].values()])


def cut_behind(detector: Detector, stage: str, batch: Batch) -> Cut:
    """`stage` is any but the head; `batch` are pictures to try it with. Changes nothing.

    Which outputs the rest reads is told by the gradient: of what it does not read there is none. Raises `CannotSplit`
    where prefix and rest do not give what the whole gives, bit for bit.
    """
    layers = _layers(detector, stage)
    with still(detector):
        images = detector.normalised(batch)
        cut = Cut(stage, layers, _read_behind(detector, stage, layers, images, batch.sizes_hw))
        with torch.no_grad():
            whole = detector.features_of(images, batch.sizes_hw)
            try:
                return _tried(detector, cut, batch, whole)
            except CannotSplit:
                kept = {each.layer for each in cut.kept}
                outlines = {name: Outline(detector.get_submodule(name)) for name in layers if name not in kept}
                return _tried(detector, replace(cut, outlines=outlines), batch, whole)


def _tried(detector: Detector, cut: Cut, batch: Batch, whole: Features) -> Cut:
    """`cut`, behind which the maps are those of the whole."""
    canvas_hw = whole.batch.shape[-2:]
    try:
        maps = rest_of(detector, cut, prefix_of(detector, cut, batch), batch.sizes_hw, canvas_hw).maps
    except (RuntimeError, ValueError, IndexError, AttributeError, TypeError, NotImplementedError) as error:
        raise CannotSplit(f"behind {cut.stage}: {error}") from error
    if not all(torch.equal(ours, theirs) for ours, theirs in zip(maps.values(), whole.maps.values(), strict=True)):
        raise CannotSplit(f"behind {cut.stage}: the two parts do not give what the whole gives")
    return cut


@torch.no_grad()
def prefix_of(detector: Detector, cut: Cut, batch: Batch) -> tuple[Tensor, ...]:
    """What the rest reads of the prefix: (N, …) each. Nothing behind the border is computed."""
    found: dict[str, Any] = {}

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        found[name] = output
        if len(found) == len(cut.kept):
            raise _Reached

    with _hooked(detector, [kept.layer for kept in cut.kept], keep), suppress(_Reached):
        detector.features_of(detector.normalised(batch), batch.sizes_hw)
    return tuple(tensor for kept in cut.kept for tensor in _tensors(found[kept.layer]).values())


def rest_of(
    detector: Detector, cut: Cut, tensors: Sequence[Tensor], sizes_hw: Tensor, canvas_hw: Sequence[int]
) -> Features:
    """The features of the images of which `prefix_of` gave `tensors`; their pixels are not needed, and are zeros.

    `canvas_hw`: what the detector normalised them to. `tensors` may be changed in place, as a network does with its
    own. Behind the neck there are no `body_maps`.
    """
    pixels = tensors[0].new_zeros(()).expand(len(tensors[0]), 3, *canvas_hw)
    with _answering(detector, cut, tensors):
        features = detector.features_of(pixels, sizes_hw)
    return replace(features, body_maps=()) if cut.stage == "neck" else features


class _Reached(Exception):
    """All that was to be computed is."""


def _layers(detector: Detector, stage: str) -> tuple[str, ...]:
    names = [each.name for each in detector.stages()]
    assert stage in names[:-1], f"{stage} is none of {names[:-1]}"
    prefixes = [prefix for each in detector.stages()[: names.index(stage) + 1] for prefix in each.prefixes]
    modules = dict(detector.named_modules())
    return tuple(name for prefix in prefixes if prefix in modules for name in _called(prefix, modules[prefix]))


def _called(name: str, module: nn.Module) -> Iterator[str]:
    """A list of layers is nothing that is called."""
    if not isinstance(module, nn.ModuleList):
        yield name
        return
    for number, child in module.named_children():
        yield from _called(f"{name}.{number}", child)


@torch.enable_grad()
def _read_behind(
    detector: Detector, stage: str, layers: Sequence[str], images: Tensor, sizes_hw: Tensor
) -> tuple[Kept, ...]:
    """Each layer's output begins the graph anew, so that a gradient reaches it from behind the border alone."""
    begun: dict[str, dict[str | None, Tensor]] = {}

    def begin(name: str, module: nn.Module, inputs: Any, output: Any) -> Any:
        begun[name] = {key: tensor.detach().requires_grad_() for key, tensor in _tensors(output).items()}
        copies = [tensor.clone() for tensor in begun[name].values()]
        return _like(tuple(begun[name]), copies)

    with _hooked(detector, layers, begin):
        features = detector.features_of(images, sizes_hw)
        maps = [*features.maps.values(), *(features.body_maps if stage != "neck" else ())]
        ends = [level.sum() for level in maps if level.requires_grad]
    if not ends:
        raise CannotSplit(f"behind {stage}: no layer of it is read")
    starts = [tensor for tensors in begun.values() for tensor in tensors.values()]
    gradients = iter(torch.autograd.grad(torch.stack(ends).sum(), starts, allow_unused=True))
    read = {name: [next(gradients) is not None for _ in tensors] for name, tensors in begun.items()}
    return tuple(Kept(name, _keys(begun[name])) for name, used in read.items() if any(used))


@contextmanager
def _answering(detector: Detector, cut: Cut, tensors: Sequence[Tensor]) -> Iterator[None]:
    """The prefix's layers give `tensors`; those whose output nobody reads give a number, as a map of one cell,
    or zeros of the shape that they would have."""
    answers: dict[str, Any] = dict.fromkeys(cut.layers, partial(_answer, tensors[0].new_zeros(1, 1, 1, 1)))
    answers.update(cut.outlines)
    following = iter(tensors)
    for kept in cut.kept:
        keys = (None,) if kept.keys is None else kept.keys
        answers[kept.layer] = partial(_answer, _like(keys, [next(following) for _ in keys]))
    modules = {name: detector.get_submodule(name) for name in answers}
    before = {name: module.__dict__.get("forward") for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.__dict__["forward"] = answers[name]
        yield
    finally:
        for name, module in modules.items():
            del module.__dict__["forward"]
            if before[name] is not None:
                module.__dict__["forward"] = before[name]


def _answer(answer: Any, *_: Any, **__: Any) -> Any:
    return answer


def _tensors(output: Any) -> dict[Any, Tensor]:
    """None -> the tensor, or key -> tensor."""
    found = output if isinstance(output, dict) else {None: output}
    if not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise CannotSplit(f"a layer gives {type(output).__name__}, neither a tensor nor a dict of tensors")
    return found


def _keys(tensors: dict[str | None, Tensor]) -> tuple[str, ...] | None:
    return None if None in tensors else tuple(str(key) for key in tensors)


def _like(keys: Sequence[str | None], tensors: Sequence[Tensor]) -> Any:
    return tensors[0] if tuple(keys) == (None,) else dict(zip(keys, tensors, strict=True))


@contextmanager
def _hooked(detector: Detector, layers: Sequence[str], hook: Callable[..., Any]) -> Iterator[None]:
    """`hook(name, module, inputs, output)` after each call of one of them."""
    with ExitStack() as stack:
        for name in layers:
            handle = detector.get_submodule(name).register_forward_hook(partial(hook, name))
            stack.callback(handle.remove)
        yield


@contextmanager
def still(detector: Detector) -> Iterator[None]:
    """In eval mode: no statistics move, nothing is drawn."""
    modes = {module: module.training for module in detector.modules()}
    detector.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
