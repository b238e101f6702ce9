"""State dict files are read safely, or the error says what to do."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from headstart.detectors.files import hub_file, read_state, read_tensors
from headstart.errors import UserError
from headstart.hints import message

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(tensors):
    return tensors.keys() == TENSORS.keys() and all(torch.equal(TENSORS[name], tensors[name]) for name in TENSORS)


def test_safetensors_and_torch_files_give_the_same_tensors(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "a.pth")
    assert same(read_tensors(tmp_path / "a.safetensors"))
    assert same(read_tensors(tmp_path / "a.pth"))


def under(prefix):
    return {f"{prefix}{name}": tensor for name, tensor in TENSORS.items()}


OTHER = {name: -tensor for name, tensor in TENSORS.items()}
TRAINED = {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}, "epoch": 3}
CHECKPOINTS = {
    "DDP": (under("module."), "without the prefix module."),
    "a list of DDP, twice": (under("module.module."), "without the prefix module.module."),
    "torch.compile": (under("_orig_mod."), "without the prefix _orig_mod."),
    "torch.compile inside": ({"a._orig_mod.weight": TENSORS["a.weight"], "a.bias": TENSORS["a.bias"]}, "_orig_mod."),
    "DDP of a compiled one": (under("module._orig_mod."), "without the prefix module._orig_mod."),
    "Lightning": ({"state_dict": under("model."), **TRAINED}, "state_dict, without the prefix model."),
    "ours": (
        {"state_dict": {**under("detector."), "loss.scale": torch.zeros(2)}, "current_model_state": OTHER, **TRAINED},
        "state_dict, without the prefix detector., 1 other tensors left out (loss.scale)",
    ),
    "Lightning, compiled, DDP": ({"state_dict": under("net.module._orig_mod.")}, "net.module._orig_mod."),
    "torchvision's references": ({"model": TENSORS, **TRAINED}, "model"),
    "their average": ({"model": OTHER, "model_ema": {"n_averaged": torch.ones(1), **under("module.")}}, "model_ema"),
    "timm's average": ({"state_dict": OTHER, "state_dict_ema": TENSORS, **TRAINED}, "state_dict_ema"),
    "an average in a dictionary": ({"model": OTHER, "ema": {"module": TENSORS, "updates": 7}}, "ema.module"),
    "an average beside it": (
        {"state_dict": {**under("ema_model."), **{f"model.{n}": t for n, t in OTHER.items()}}},
        "ema_model.",
    ),
    "an optimizer with the same shapes": ({"optimizer": {"state": {0: TENSORS}}, "net": TENSORS}, "net"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_checkpoint_of_another_program_gives_the_tensors_that_fit_and_says_what_was_done(tmp_path, kind):
    content, said = CHECKPOINTS[kind]
    torch.save(content, tmp_path / "last.ckpt")
    state = read_state(tmp_path / "last.ckpt", TENSORS)
    assert same(state.tensors), state
    assert said in str(state)


def test_plain_names_say_nothing(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    assert str(read_state(tmp_path / "a.safetensors", TENSORS)) == ""


@pytest.mark.parametrize(
    "content", [{"state_dict": {**under("student."), **under("teacher.")}}, {"generator": TENSORS, "critic": OTHER}]
)
def test_two_networks_that_fit_equally_are_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "two.ckpt")
    with pytest.raises(
        UserError, match=r"source\.path=.*two\.ckpt: '.*(student|generator).*' and '.*(teacher|critic).*' both"
    ):
        read_state(tmp_path / "two.ckpt", TENSORS)


def test_a_file_that_must_be_unpickled_is_refused_without_advice_to_read_it_all_the_same(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole_model.pt")
    with pytest.raises(UserError, match=r"whole_model\.pt holds more than tensors.*state_dict") as raised:
        read_tensors(tmp_path / "whole_model.pt")
    assert "weights_only" not in message(raised.value)  # torch names the switch that would run the code


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_file_is_refused(tmp_path, name, share):
    save = save_file if name.endswith("safetensors") else torch.save
    save(TENSORS, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=rf"source\.path=.*{name}"):
        read_tensors(tmp_path / name)


def test_a_file_of_something_else_is_refused_with_what_was_found(tmp_path):
    torch.save({"epoch": 3, "optimizer": {}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"found: epoch, optimizer"):
        read_tensors(tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"source\.path=.*absent\.pt: no such file"):
        read_tensors(tmp_path / "absent.pt")


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A `file:` address for torch.hub, with the cache in a folder of its own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    content = b"weights"
    good = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{good}.pth", "net-00000000.pth"):
        (tmp_path / name).write_bytes(content)
    return tmp_path.as_uri(), good


def test_a_download_lands_in_the_cache_and_is_not_repeated(served, tmp_path):
    address, good = served
    path = hub_file(f"{address}/net-{good}.pth")
    assert path == tmp_path / "home" / "hub" / "checkpoints" / f"net-{good}.pth"
    (tmp_path / path.name).unlink()
    assert hub_file(f"{address}/{path.name}").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["net-00000000.pth", "absent-01234567.pth"])
def test_a_failed_or_wrong_download_says_which_file_to_put_where(served, tmp_path, name):
    with pytest.raises(UserError) as error:
        hub_file(f"{served[0]}/{name}")
    for text in (f"{served[0]}/{name}", str(tmp_path / "home" / "hub" / "checkpoints" / name), "source.path"):
        assert text in str(error.value)
    assert list((tmp_path / "home" / "hub" / "checkpoints").iterdir()) == []
