"""The weights inside a training program's checkpoint: which of its dictionaries, and under which prefix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from headstart.errors import UserError

AVERAGED = re.compile(r"(^|_)(ema|swa|averaged?)(_|$)")
"""Names under which programs keep the average of the weights, which is what they measure."""
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into names, anywhere in them."""
NOT_MEASURED = "current_model_state"
"""Lightning's WeightAveraging keeps the weights of the last step there, and their average as `state_dict`."""
DEPTH = 4
"""Of dictionaries in dictionaries, and of prefixes before prefixes."""


@dataclass(frozen=True)
class State:
    """Tensors under the names of whom they are for."""

    tensors: dict[str, Tensor]
    place: str = ""
    """Which dictionary of the file: `model_ema`; empty where the file is one."""
    prefix: str = ""
    """What was taken off each name: `module.`."""
    unused: tuple[str, ...] = ()
    """Names without the prefix: of a loss, an average, another network."""

    def __str__(self) -> str:
        """For the user: what was done, empty where nothing was."""
        unused = f"{len(self.unused)} other tensors left out ({', '.join(self.unused[:2])})" if self.unused else ""
        prefix = f"without the prefix {self.prefix}" if self.prefix else ""
        return ", ".join(part for part in (self.place, prefix, unused) if part)

    @property
    def averaged(self) -> bool:
        return any(AVERAGED.search(word.lower()) for word in re.split(r"[./]", f"{self.place}.{self.prefix}"))


def find_state(content: Any, known: Collection[str], where: str) -> State | None:
    """The tensors in `content` whose names fit most of `known`; None where it holds no dictionary of tensors.

    Where plain and averaged weights both fit, it is the average. Raises `UserError` where two others fit equally well.
    """
    found = [state for place, tensors in _dictionaries(content) for state in _under_prefixes(tensors, place, known)]
    if not found:
        return None
    fitting = {id(state): len(known & state.tensors.keys()) for state in found} if (known := set(known)) else {}
    most = max(fitting.values(), default=0)
    best = [state for state in found if fitting.get(id(state), 0) == most]
    best = [state for state in best if state.averaged] or best
    if most and len(best) > 1:
        names = " and ".join(repr(f"{state.place} {state.prefix}".strip()) for state in best)
        raise UserError(f"{where}: {names} both fit this network. Save the state dict that is meant alone")
    return best[0]


def _dictionaries(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(place, tensors) of each dictionary that holds nothing else; what optimizers keep has numbers as names."""
    if not isinstance(content, Mapping) or not content or depth > DEPTH:
        return
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors and all(isinstance(name, str) for name in content) and _is_state(content):
        yield place, tensors
        return
    for name, value in content.items():
        if isinstance(name, str) and name != NOT_MEASURED:
            yield from _dictionaries(value, f"{place}.{name}".lstrip("."), depth + 1)


def _is_state(content: Mapping[str, Any]) -> bool:
    return all(isinstance(value, Tensor) or name.endswith("_extra_state") for name, value in content.items())


def _under_prefixes(tensors: dict[str, Tensor], place: str, known: Collection[str]) -> Iterator[State]:
    """As the names are, and without each prefix that leaves names which are known."""
    plain = {_unwrapped(name): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):  # two names would become one
        plain = tensors
    wrapper = next((word for word in WRAPPERS if plain is not tensors and any(word in name for name in tensors)), "")
    yield State(plain, place, wrapper)
    known = set(known)
    for prefix in prefixes(plain):
        inner = {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}
        if known & inner.keys():
            yield State(inner, place, prefix + wrapper, tuple(name for name in plain if not name.startswith(prefix)))


def _unwrapped(name: str) -> str:
    for word in WRAPPERS:
        name = name.replace(word, "")
    return name


def prefixes(names: Collection[str]) -> list[str]:
    """`module.`, `module.model.` …, the most frequent first."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        counts.update(".".join(parts[:length]) + "." for length in range(1, min(len(parts), DEPTH + 1)))
    return [prefix for prefix, _ in counts.most_common()]
