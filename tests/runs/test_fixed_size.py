"""A network of one size refuses batches of another before the first step, with the settings that give them."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.config import schema as s
from headstart.data.canvases import Canvases
from headstart.errors import UserError
from headstart.runs.fixed_size import refuse_other_canvases


def refuse(side: int | None, *sides_hw: tuple[int, int]) -> None:
    config: Any = SimpleNamespace(
        backbone=s.BackboneConfig("coatnet", s.BackboneLibrary.timm, "coatnet_0_rw_224"),
        model=s.FCOSConfig(s.Architecture.fcos),
    )
    detector: Any = SimpleNamespace(only_side=side, size_divisible=32)
    refuse_other_canvases(config, detector, Canvases(sides_hw))


def test_canvases_of_its_size_and_any_network_of_any_size_are_let_through() -> None:
    refuse(224, (224, 224))
    refuse(None, (224, 256), (256, 224))


@pytest.mark.parametrize("sides_hw", [[(224, 256)], [(224, 224), (256, 224)]])
def test_other_canvases_are_refused_with_the_settings_that_are_taken(sides_hw: list[tuple[int, int]]) -> None:
    words = "dataset.resize=stretch dataset.min_size=224 dataset.max_size=224"
    with pytest.raises(UserError, match=rf"coatnet_0_rw_224.*224 x 224 pixels alone.*{re.escape(words)}"):
        refuse(224, *sides_hw)


def test_a_size_that_no_canvas_has_is_said_to_be_none() -> None:
    with pytest.raises(UserError, match=r"240 x 240 pixels alone.*multiples of 32: choose another backbone"):
        refuse(240, (256, 256))
