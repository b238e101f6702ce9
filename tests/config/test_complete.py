"""A configuration of an older version has the settings that came since, at their defaults, and keeps what it says."""

from typing import Any

from omegaconf import DictConfig

from headstart.config.complete import completed
from headstart.config.resolve import resolve, resolved_dict


def without(node: Any, *names: str) -> Any:
    """The nested dict without these settings."""
    if not isinstance(node, dict):
        return node
    return {key: without(value, *names) for key, value in node.items() if key not in names}


NOT_A_DEFAULT = [
    "dataset.batch_size=3",
    "strategy=head_only",
    "source=pretrained",
    "dataset@source.dataset=shapes_source",
]


def test_a_whole_configuration_stays_as_it_is(compose: Any) -> None:
    config = resolved_dict(resolve(compose(*NOT_A_DEFAULT)))
    assert completed(config) == config


def test_missing_settings_get_their_defaults_in_a_source_that_is_a_run_too(compose: Any) -> None:
    config = resolved_dict(resolve(compose("source=pretrained", "dataset@source.dataset=shapes_source")))
    old = without(config, "subset_seed", "ema_decay", "channels_last", "cosine_scale", "evaluation", "detect_anomaly")
    assert "subset_seed" not in old["source"]["dataset"]
    assert completed(old) == config


def test_of_schemas_with_the_same_settings_the_one_that_the_values_name_counts() -> None:
    model = completed({"model": {"architecture": "ssdlite", "score_threshold": 0.05}})["model"]
    assert model["reduced_tail"] is True
    assert "reduced_tail" not in completed({"model": {"architecture": "ssd", "score_threshold": 0.05}})["model"]


def test_a_data_set_that_is_called_like_a_format_is_not_taken_for_one() -> None:
    settings = {"name": "coco", "root": "coco", "data_yaml": None}
    assert "train_json" not in completed({"dataset": settings})["dataset"]


def test_what_no_schema_knows_stays(compose: Any) -> None:
    assert completed({"dataset": {"gone": 1}, "data_dir": "x"})["dataset"]["gone"] == 1
    assert isinstance(compose(), DictConfig)
