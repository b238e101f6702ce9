"""Sweeps of Hydra's override grammar -> the search space of an Optuna study. Imports no torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from headstart.errors import UserError
from headstart.runs.idle import WITHOUT_EFFECT

EXAMPLE = "for instance: 'optimizer.lr=tag(log, interval(1e-4,1e-2))' strategy=full,head_only"


@dataclass(frozen=True)
class SearchSpace:
    """What is swept, by its key on the command line, and the overrides that every cell has."""

    distributions: Mapping[str, BaseDistribution]
    """Choices are texts as Hydra reads them after the `=`."""
    fixed: tuple[str, ...]

    def overrides(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The command line of a cell; the same values give the same text."""
        return (*self.fixed, *self.swept(params))

    def swept(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Of a cell's command line, what is its own."""
        return tuple(f"{key}={_text(params[key], space)}" for key, space in self.distributions.items())

    def probes(self) -> list[dict[str, Any]]:
        """Points that hold every choice and both ends of every interval at least once."""
        ends = {key: _ends(space) for key, space in self.distributions.items()}
        first = {key: values[0] for key, values in ends.items()}
        return [first] + [first | {key: value} for key, values in ends.items() for value in values[1:]]

    def combinations(self) -> list[dict[str, Any]]:
        """Every point. Raises `UserError` for an interval, which has no end of them."""
        values = [_values(key, space) for key, space in self.distributions.items()]
        return [dict(zip(self.distributions, point, strict=True)) for point in itertools.product(*values)]

    def describe(self) -> dict[str, Any]:
        """For a study to know whether it is the same space."""
        return {key: json.loads(distribution_to_json(space)) for key, space in sorted(self.distributions.items())}


def search_space(arguments: Sequence[str], loader: ConfigLoader) -> SearchSpace:
    """Raises `UserError` for what cannot be searched."""
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    swept = [override for override in overrides if override.is_sweep_override()]
    if not swept:
        raise UserError(f"hydra/sweeper=optuna: nothing is swept. Name what is to be searched, {EXAMPLE}")
    keys = [override.get_key_element() for override in overrides]
    for override in swept:
        _refuse(override, keys, loader)
    return SearchSpace(
        {override.get_key_element(): _distribution(override) for override in swept},
        tuple(str(override.input_line) for override in overrides if not override.is_sweep_override()),
    )


def _refuse(override: Override, keys: Sequence[str], loader: ConfigLoader) -> None:
    line, key = override.input_line, override.key_or_group
    if keys.count(override.get_key_element()) > 1:
        raise UserError(f"{line}: {key} is given twice; leave one out.")
    if key == "dataset" or key.startswith(("monitor.", "evaluation.")):
        raise UserError(f"{line}: the values of such trials are not comparable. Give one, and start a study for each.")
    if key.startswith(tuple(f"{setting}." for setting in WITHOUT_EFFECT)) or key in WITHOUT_EFFECT:
        raise UserError(f"{line}: {key} cannot change what a run finds; give one value.")
    if override.is_choice_sweep():
        return
    if options := loader.get_group_options(key, results_filter=ObjectType.CONFIG):
        names = ",".join(option for option in options if not option.startswith("schema_"))
        raise UserError(f"{line}: {key} is chosen by name and has no numbers. Name choices: {key}={names}")


def _distribution(override: Override) -> BaseDistribution:
    sweep = override._value if isinstance(override._value, Sweep) else Sweep()  # a glob is no Sweep and has no tags
    is_interval = isinstance(sweep, IntervalSweep)
    if unknown := sorted(sweep.tags - ({"log"} if is_interval else set())):
        remedy = "the one tag is log" if is_interval else "only an interval takes one, tag(log, interval(low,high))"
        raise UserError(f"{override.input_line}: the tag {unknown[0]} has no effect here; {remedy}.")
    if isinstance(sweep, IntervalSweep):
        return _interval(override, sweep)
    if isinstance(sweep, RangeSweep) and not sweep.shuffle:
        return _range(override, sweep)
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise UserError(f"{override.input_line}: there is no such choice.")
    return CategoricalDistribution(sorted(choices) if getattr(sweep, "shuffle", False) else choices)


def _interval(override: Override, sweep: IntervalSweep) -> BaseDistribution:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if low >= high:
        raise UserError(f"{override.input_line}: the interval ends at {high:g}, not above its start {low:g}.")
    if log and low <= 0:
        raise UserError(f"{override.input_line}: log needs a start above 0; it is {low:g}.")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _range(override: Override, sweep: RangeSweep) -> BaseDistribution:
    """The very numbers of Hydra's grid: without the stop."""
    numbers = [_rounded(number) for number in sweep.range()]
    if not numbers:
        raise UserError(f"{override.input_line}: the range is empty.")
    low, high, step = min(numbers), max(numbers), abs(sweep.step)
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), step=int(step))
    return FloatDistribution(low, high, step=step)


def _ends(space: BaseDistribution) -> Sequence[Any]:
    if isinstance(space, CategoricalDistribution):
        return space.choices
    assert isinstance(space, IntDistribution | FloatDistribution)
    return (space.low, space.high) if space.low < space.high else (space.low,)


def _values(key: str, space: BaseDistribution) -> Sequence[Any]:
    if isinstance(space, CategoricalDistribution):
        return space.choices
    assert isinstance(space, IntDistribution | FloatDistribution)
    if space.step is None:
        raise UserError(f"hydra.sweeper.sampler=grid: {key} is an interval. Give a range(start,stop,step) or choices.")
    count = round((space.high - space.low) / space.step) + 1
    return [_rounded(space.low + i * space.step) for i in range(count)]


def _text(value: Any, space: BaseDistribution) -> str:
    stepped = isinstance(space, FloatDistribution) and space.step is not None
    return str(_rounded(value) if stepped else value)


def _rounded(number: Any) -> Any:
    """0.1 + 0.2 is 0.3."""
    return float(f"{number:.12g}") if isinstance(number, float) else number
