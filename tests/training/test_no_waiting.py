"""Nothing in a training step waits for the device: neither ours nor Lightning's around it."""

from contextlib import ExitStack

from lightning.pytorch.callbacks import Callback

from ..waiting import no_waiting


class StepsDoNotWait(Callback):
    """From the beginning of the second step to that of the last: whole steps, with everything that lies between."""

    def __init__(self, allow=None):
        self.allow = allow
        self.steps = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 1:
            self.watched = ExitStack()
            self.watched.enter_context(no_waiting(self.allow))
        if batch_idx >= 1 and trainer.is_last_batch:
            self.watched.close()
        self.steps += 1

    def on_exception(self, trainer, pl_module, exception):
        self.watched.close()


def test_a_step_of_the_tiny_detector_does_not_wait(make_module, make_trainer, batches):
    watch = StepsDoNotWait()
    trainer = make_trainer(callbacks=[watch], log_every_n_steps=1, gradient_clip_val=1.0)
    trainer.fit(make_module(), batches(4), batches(1))
