"""The stand-in for a GPU's synchronisation check sees what it says it sees, and lets pass what does not wait."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torchvision.ops import nms

from headstart.training.finite import Reading

from .waiting import Waited, no_waiting

X = torch.tensor([[3.0, 1.0], [2.0, 2.0]])
MASK = X > 1.5
BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 9.0, 9.0]])
COUNTS = torch.tensor([1, 2])

WAITS = {
    "item": (lambda: X.sum().item(), "aten::_local_scalar_dense"),
    "float": (lambda: float(X[0, 0]), "aten::_local_scalar_dense"),
    "if": (lambda: 1 if X.sum() > 0 else 0, "aten::"),
    "all": (lambda: bool((X > 0).all()), "aten::"),
    "allclose": (lambda: torch.allclose(X, X), "aten::"),
    "slice": (lambda: X[: COUNTS[0]], "aten::_local_scalar_dense"),
    "format": (lambda: f"{X.sum():.3f}", "aten::_local_scalar_dense"),
    "nonzero": (lambda: X.nonzero(), "aten::nonzero"),
    "where": (lambda: torch.where(MASK), "aten::nonzero"),
    "argwhere": (lambda: torch.argwhere(MASK), "aten::"),
    "masked_select": (lambda: X.masked_select(MASK), "aten::masked_select"),
    "index": (lambda: X[MASK], "aten::index"),
    "index of rows": (lambda: X[MASK[0]], "aten::index"),
    "index_put": (lambda: X.clone().__setitem__(MASK, torch.zeros(3)), "aten::"),
    "unique": (lambda: X.unique(), "aten::_unique2"),
    "unique rows": (lambda: X.unique(dim=0), "aten::unique_dim"),
    "bincount": (lambda: COUNTS.bincount(), "aten::bincount"),
    "repeat_interleave": (lambda: COUNTS.repeat_interleave(COUNTS), "aten::repeat_interleave"),
    "equal": (lambda: torch.equal(X, X), "aten::equal"),
    "nms": (lambda: nms(BOXES, BOXES[:, 0], 0.5), "torchvision::nms"),
    "tolist": (lambda: X.tolist(), "torch.tolist"),
    "cpu": (lambda: X.cpu(), "torch.cpu"),
    "numpy": (lambda: X.numpy(), "torch.numpy"),
    "tensor": (lambda: torch.tensor([1.0, 2.0], device=X.device), "torch.tensor"),
    "new_tensor": (lambda: X.new_tensor([1.0, 2.0]), "torch.new_tensor"),
}


@pytest.mark.parametrize(("call", "name"), WAITS.values(), ids=WAITS)
def test_what_waits_is_named_with_its_operator_and_line(call, name):
    call()
    place = r".*test_waiting\.py:\d+ in <lambda>"
    with pytest.raises(Waited, match=rf"^{name}\S* waits for the device: {place}$"), no_waiting():
        call()


def test_a_wait_in_the_backward_pass_is_seen():
    class Waits(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * grad.sum().item()

    y = Waits.apply(X.clone().requires_grad_()).sum()
    with pytest.raises(Waited, match="_local_scalar_dense"), no_waiting():
        y.backward()


PASSES = {
    "choice": lambda: torch.where(MASK, X, 0.0).masked_fill_(MASK, 1.0).clamp(min=0).topk(1).indices,
    "rows": lambda: X[torch.arange(2)[:, None], torch.zeros(2, 2, dtype=torch.int64)],
    "column": lambda: X[:, None, 0][..., 1:],
    "fixed count": lambda: X.repeat_interleave(3, dim=1),
    "sort": lambda: X.sort(dim=1).values.cumsum(0).scatter_add(0, torch.zeros(2, 2, dtype=torch.int64), X),
    "made there": lambda: torch.zeros(3, device=X.device) + torch.full((3,), 2.0, device=X.device) + X.new_ones(3),
    "of the host": lambda: torch.tensor([1.0, 2.0]),
    "as another type": lambda: X.to(torch.float64).to(X.device),
    "what was on its way": lambda: Reading(X).get(),
}


@pytest.mark.parametrize("call", PASSES.values(), ids=PASSES)
def test_what_does_not_wait_passes(call):
    with no_waiting():
        call()


def test_a_plain_step_of_torchs_own_passes():
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    with no_waiting():
        layer(X).square().mean().backward()
        clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def test_what_is_allowed_is_counted():
    with no_waiting(allow={"torchvision::nms": 2}):
        nms(BOXES, BOXES[:, 0], 0.5)
        nms(BOXES, BOXES[:, 0], 0.5)
        with pytest.raises(Waited, match="torchvision::nms"):
            nms(BOXES, BOXES[:, 0], 0.5)
