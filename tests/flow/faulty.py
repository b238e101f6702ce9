"""`headstart` as it is, with an event at a place that a test names: a program that the tests of faults start.

    python faulty.py <event> <place> train …

At the place (`train`, `val`, `read`, `worker`) it touches `at-<rank>` in its folder, and then `waits`, goes on slowly
(`slow`), or is killed (`dies`), on the ranks that are named (`waits:1`); once, where that file is not there yet.
"""

import os
import signal
import sys
import time
from pathlib import Path

RANK = os.environ.get("LOCAL_RANK", "0")


def happen(event: str) -> None:
    what, _, ranks = event.partition(":")
    if RANK not in (ranks or "0123456789"):
        return
    first = not Path(f"at-{RANK}").exists()
    Path(f"at-{RANK}").touch()
    if what == "slow":
        time.sleep(0.2)
    elif what == "waits" and first:
        time.sleep(1000)
    elif what == "blocks" and first:  # where Python runs no handler
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        time.sleep(1000)
    elif what == "dies" and first:
        os.kill(os.getpid(), signal.SIGKILL)


def arm(event: str, place: str) -> None:
    from headstart.data import catalog
    from headstart.data.dataset import DetectionDataset
    from headstart.training.module import DetectionModule

    losses, validation, get, read = (
        DetectionModule._losses,
        DetectionModule.validation_step,
        DetectionDataset.__getitems__,
        catalog.read,
    )

    def at_losses(self, batch):
        if self.trainer.current_epoch >= 1:
            happen(event)
        return losses(self, batch)

    def at_validation(self, *batch):
        if self.trainer.current_epoch >= 1:
            happen(event)
        return validation(self, *batch)

    def at_item(self, keys):
        if isinstance(keys[0], tuple) and keys[0][0] >= 2:
            happen(event)
        return get(self, keys)

    def at_read(*given):
        happen(event)
        return read(*given)

    if place == "train":
        DetectionModule._losses = at_losses
    elif place == "val":
        DetectionModule.validation_step = at_validation
    elif place == "worker":
        DetectionDataset.__getitems__ = at_item
    elif place == "read":
        catalog.read = at_read


if __name__ == "__main__":
    event, place, *arguments = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it,
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and `nohup` this
    from headstart.cli import main

    arm(event, place)
    main(arguments)
