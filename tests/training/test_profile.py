"""Where the time of a fit goes: all of it is counted once, under the name of what it was for."""

import time
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from headstart.config.schema import AugmentConfig
from headstart.data import blocks
from headstart.data import dataset as data_of_split
from headstart.data.dataset import DetectionDataset
from headstart.data.types import AnnotatedImage, Size
from headstart.reporting.profile_plot import profile_table
from headstart.say import SafeConsole
from headstart.training import profile
from headstart.training.device_clock import DeviceClock
from headstart.training.profile import Sections, SplitNetwork, gpu_share

from ..waiting import no_waiting


def slowed(function, seconds):
    def slow(*args, **kwargs):
        time.sleep(seconds)
        return function(*args, **kwargs)

    return slow


class Slow(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        time.sleep(0.05)

    def on_validation_epoch_end(self, trainer, pl_module):
        time.sleep(0.07)


def test_what_is_slow_is_found_under_its_name_and_the_whole_is_the_time_of_the_fit(make_module, make_trainer, batches):
    """Four steps; each part is slowed by another known time."""
    module, sections = make_module(freeze_through="stem"), Sections()
    detector = module.detector
    detector.backbone.stem.conv.forward = slowed(detector.backbone.stem.conv.forward, 0.02)
    detector.head.box.forward = slowed(detector.head.box.forward, 0.03)
    detector.losses = slowed(detector.losses, 0.04)
    trainer = make_trainer(2, callbacks=[Slow(), SplitNetwork(sections)], profiler=sections, limit_val_batches=1)
    start = time.perf_counter()
    trainer.fit(module, batches(2), batches(1))
    whole, found = time.perf_counter() - start, sections.as_dict()["profile"]
    # One validation batch an epoch goes through the stem, too.
    expected = {"frozen part": 4 * 0.02, "loss": 4 * 0.07, "evaluation": 2 * 0.09, "logging": 2 * 0.05}
    assert {name: found[name] >= least for name, least in expected.items()} == dict.fromkeys(expected, True)
    assert found["trained part"] < sum(expected.values())
    assert 0.9 * whole < sum(found.values()) <= whole
    assert all(not part._forward_hooks for part in detector.modules())


def test_draws_of_augmentation_are_no_loading(make_module, make_trainer, batches, monkeypatch):
    """Drawn and read by the same process; the epoch's first batch is fetched before the fit's clock has begun."""
    no = np.zeros(0, bool)
    nothing = (np.zeros((0, 4)), np.zeros(0, int), no, no, np.zeros(0))
    images = [AnnotatedImage(str(i), lambda: PIL.Image.new("RGB", (32, 32)), (32, 32), *nothing) for i in range(8)]
    monkeypatch.setattr(data_of_split, "draw", slowed(data_of_split.draw, 0.02))
    drawn = DetectionDataset(images, Size(32, 32), augment=AugmentConfig("", hflip=0.5))
    monkeypatch.setattr(blocks, "load", slowed(blocks.load, 0.005))
    loader = torch.utils.data.DataLoader(drawn, batch_size=2, collate_fn=lambda batch: batch)
    sections = Sections()
    trainer = make_trainer(1, callbacks=[SplitNetwork(sections)], profiler=sections, limit_val_batches=0)
    trainer.fit(make_module(), loader)
    found = sections.as_dict()["profile"]
    assert 3 * 0.02 <= found["augmentation"] < 4 * 0.02 + 0.05
    assert found["loading"] >= 3 * 0.01


class Device:
    """Stands in for a GPU: what is launched takes its time after all that was launched before it."""

    def __init__(self) -> None:
        self.host = self.done = 0.0

    def launch(self, seconds: float) -> None:
        self.done = max(self.host, self.done) + seconds

    def event(self) -> "Event":
        return Event(self)


class Event:
    """As `torch.cuda.Event`, and asked for its time it waits for nothing: it must have come."""

    def __init__(self, device: Device) -> None:
        self.device, self.at = device, 0.0

    def record(self) -> None:
        self.at = self.device.done = max(self.device.host, self.device.done)

    def query(self) -> bool:
        return self.at <= self.device.host

    def synchronize(self) -> None:
        self.device.host = max(self.device.host, self.at)

    def elapsed_time(self, end_event: "Event") -> float:
        assert self.query()
        assert end_event.query()
        return 1000 * (end_event.at - self.at)


def test_time_of_a_device_goes_to_the_section_that_launched_it_and_the_host_waits_at_the_end_alone():
    """Per step the host loads for 1 s and launches 5 s of work in the twinkling of an eye: the device is behind."""
    device = Device()
    clock = DeviceClock(device.event)
    clock.ended("other")
    for _ in range(3):
        device.host += 1
        clock.ended("loading")
        for section, seconds in (("trained part", 2.0), ("backward", 3.0)):
            device.launch(seconds)
            clock.ended(section)
    assert device.host == 3  # nobody waited
    assert sum(clock.seconds.values()) <= 3  # of what has come to its end
    clock.finish()
    assert clock.seconds == pytest.approx({"loading": 1.0, "trained part": 6.0, "backward": 9.0})
    assert gpu_share(clock.seconds) == pytest.approx(15 / 16)
    assert gpu_share(clock.seconds | {"evaluation": 50.0}) == pytest.approx(15 / 16)


def test_a_device_that_waits_for_the_host_is_seen_to():
    """Loading takes longer than the work."""
    device = Device()
    clock = DeviceClock(device.event)
    clock.ended("other")
    for _ in range(2):
        device.host += 3
        clock.ended("loading")
        device.launch(1)
        clock.ended("backward")
    clock.finish()
    assert clock.seconds == pytest.approx({"loading": 3 + 2, "backward": 2.0})
    assert gpu_share(clock.seconds) == pytest.approx(2 / 7)


@pytest.fixture
def console() -> SafeConsole:
    return SafeConsole(width=100, record=True)


def test_the_table_shows_the_gpu_where_there_is_one(console):
    cost: dict[str, Any] = {"profile": {"loading": 2.0, "backward": 6.0}}
    console.print(profile_table(cost))
    assert "GPU" not in console.export_text()
    of_gpu = {"loading": 1.0, "backward": 3.0}
    console.print(profile_table(cost | {"gpu_profile": of_gpu, "gpu_share": gpu_share(of_gpu)}))
    text = console.export_text()
    assert "GPU seconds" in text
    assert "at most 75% of training" in text


def fit_with(device: DeviceClock | None, make_module, make_trainer, batches, monkeypatch) -> Sections:
    sections = Sections()
    monkeypatch.setattr(profile.DeviceClock, "of", lambda _: device)
    callbacks = [SplitNetwork(sections), Steps()]
    trainer = make_trainer(2, callbacks=callbacks, profiler=sections, limit_val_batches=0)
    trainer.fit(make_module(freeze_through="stem"), batches(4), batches(1))
    return sections


class Steps(Callback):
    """None of them waits, nor what is counted between them."""

    def __init__(self) -> None:
        self.watched: Any = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.leave()
        if 0 < batch_idx < 3:
            self.watched = no_waiting()
            self.watched.__enter__()

    def leave(self) -> None:
        if self.watched is not None:
            self.watched.__exit__(None, None, None)
            self.watched = None

    def on_exception(self, trainer, pl_module, exception) -> None:
        self.leave()


def test_in_a_fit_the_sections_of_the_device_are_those_of_the_host(make_module, make_trainer, batches, monkeypatch):
    found = fit_with(DeviceClock(Device().event), make_module, make_trainer, batches, monkeypatch).as_dict()
    assert found["gpu_profile"].keys() <= found["profile"].keys()
    assert {"frozen part", "trained part", "backward", "optimizer", "loading"} <= found["gpu_profile"].keys()
    assert "gpu_share" in found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_time_is_that_of_the_work_and_no_step_waits_for_it():
    clock, numbers = DeviceClock.of(torch.device("cuda")), torch.randn(4096, 4096, device="cuda")
    assert clock is not None
    numbers @ numbers
    torch.cuda.synchronize()
    start = time.perf_counter()
    clock.ended("other")
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(20):
        numbers @ numbers
        clock.ended("backward")
    torch.cuda.set_sync_debug_mode("default")
    clock.finish()
    whole = time.perf_counter() - start
    assert 0.5 * whole < clock.seconds["backward"] <= 1.01 * whole
