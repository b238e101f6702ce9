"""A run of seconds, of drawn shapes."""

TINY = (
    "dataset.num_train=4",
    "dataset.num_val=2",
    "dataset.min_size=64",
    "dataset.max_size=96",
    "dataset.batch_size=2",
    "dataset.num_workers=0",
    "augment=none",
    "training.evaluate_untrained=false",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=csv",
)
