"""Lists of predictions and targets, as the metric takes them."""

from headstart.data.batch import Frame, detections, padded_targets


def update(metric, images):
    """A batch of (prediction, target)."""
    metric.update(
        detections([prediction for prediction, _ in images]),
        padded_targets([target for _, target in images], 1),
        [Frame(target.image_id, target.original_hw, target.image_hw) for _, target in images],
    )
