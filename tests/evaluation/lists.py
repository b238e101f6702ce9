"""Lists of predictions and targets, as the metric takes them."""

from headstart.data.batch import Detections, Frame, pad, padded_targets, presence


def update(metric, images):
    """A batch of (prediction, target)."""
    metric.update(
        detections([prediction for prediction, _ in images]),
        padded_targets([target for _, target in images], 1),
        [Frame(target.image_id, target.original_hw, target.image_hw) for _, target in images],
    )


def detections(predictions):
    """Of lists, padded."""
    most = max(len(found.scores) for found in predictions)
    counts, device = [len(found.scores) for found in predictions], predictions[0].scores.device
    return Detections(
        presence(counts, most, device),
        *(pad([getattr(found, name) for found in predictions], most) for name in ("boxes_xyxy", "scores", "labels")),
    )
