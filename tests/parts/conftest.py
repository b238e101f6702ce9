"""Parts are tested on the same sources and batches as the rest of a transfer."""

from ..transfer.conftest import batch, train, weights_of

__all__ = ["batch", "train", "weights_of"]
