"""Where the time of a fit goes: all of it is counted once, under the name of what it was for."""

import time

from lightning.pytorch.callbacks import Callback

from headstart.training.profile import Sections, SplitNetwork


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
    whole, found = time.perf_counter() - start, sections.as_dict()
    # One validation batch an epoch goes through the stem, too.
    expected = {"frozen part": 4 * 0.02, "loss": 4 * 0.07, "evaluation": 2 * 0.09, "logging": 2 * 0.05}
    assert {name: found[name] >= least for name, least in expected.items()} == dict.fromkeys(expected, True)
    assert found["trained part"] < sum(expected.values())
    assert 0.9 * whole < sum(found.values()) <= whole
    assert all(not part._forward_hooks for part in detector.modules())
