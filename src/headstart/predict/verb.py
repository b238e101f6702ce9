"""`headstart predict`: what a finished run's model finds in pictures and videos of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import torch
from rich.progress import Progress

from headstart.config.checks_transfer import source_folder
from headstart.config.schema import Precision, PredictConfig, Save
from headstart.errors import UserError
from headstart.inference.found import Found
from headstart.inference.model import Model, load
from headstart.predict.inputs import Item, inputs_of
from headstart.predict.large import is_large, look_at_large
from headstart.predict.looking import look, watch
from headstart.predict.reading import batches
from headstart.predict.writing import WRITERS, Entry, Names
from headstart.records.record import RunRecord
from headstart.replacing import whole_folder
from headstart.say import console, say
from headstart.visible import one_line

MOST_NAMED = 20
"""Skipped files that are named one by one in the terminal; skipped.txt has all."""


class Skipped(UserError):
    """Some could not be read; all others are written."""

    exit_code = 3


@dataclass
class Tally:
    """What was looked at."""

    pictures: int = 0
    with_any: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Name and why."""

    def add(self, found: Found) -> None:
        self.pictures += 1
        self.with_any += len(found) > 0
        self.classes.update(found.names)


def predict(config: PredictConfig) -> Path:
    """Writes what the model finds; the folder. Raises `UserError` for a mistake, and `Skipped`, when all is written,
    where a picture could not be read."""
    inputs = inputs_of(config.images)
    folder = source_folder(str(Path(config.run).expanduser()))
    model = _loaded(config, folder)
    least = model.least(_by_class(config, model.class_names))
    target = Path(config.output).expanduser() if config.output else _free(Path("outputs", "predict", _name(folder)))
    for line in (*inputs.notes, _thresholds_line(config, model, least)):
        say(line)
    tally = Tally()
    with whole_folder(target.absolute(), "output") as unfinished:
        _write(inputs.items, model, least, config, unfinished, tally)
    say(_summary(tally))
    say(f"Written: {target} ({', '.join(save.value for save in config.save)})")
    if tally.skipped:
        raise Skipped(_skipped(tally, target))
    return target


def _loaded(config: PredictConfig, folder: Path) -> Model:
    try:
        device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={config.device} is not there ({str(error).splitlines()[0]}): use cpu.") from None
    precision = config.precision or _precision_of(folder, device)
    autocast = None if precision is Precision.float32 else getattr(torch, precision.value)
    tile = config.tile if config.tile.size is not None else None
    return load(folder, device, config.batch_size, autocast, tile, config.postprocess, config.extension)


def _precision_of(folder: Path, device: torch.device) -> Precision:
    """That of the run, on such a device."""
    if not (folder / "record.json").is_file():
        return Precision.float32
    said = RunRecord.read(folder / "record.json").environment
    alike = (said.get("device") == "cpu") == (device.type == "cpu")
    kinds = {"bf16-mixed": Precision.bfloat16, "16-mixed": Precision.float16}
    return kinds.get(str(said.get("precision")), Precision.float32) if alike else Precision.float32


def _by_class(config: PredictConfig, class_names: Sequence[str]) -> dict[str, float] | None:
    """What is set: of all classes, and of some."""
    written = {name.replace(" ", "_"): name for name in class_names}
    some = {name if name in class_names else written.get(name, name): v for name, v in config.thresholds.items()}
    every = dict.fromkeys(class_names, config.threshold) if config.threshold is not None else {}
    return {**every, **some}


def _thresholds_line(config: PredictConfig, model: Model, least: Mapping[str, float]) -> str:
    def why(name: str) -> str:
        if name.replace(" ", "_") in config.thresholds or name in config.thresholds or config.threshold is not None:
            return "set"
        return "best F1 on validation" if name in model.chosen else "validation chose none"

    groups: dict[tuple[float, str], list[str]] = {}
    for name in model.class_names:
        groups.setdefault((least[name], why(name)), []).append(name)
    parts = [f"{_some(names)} {score:.4g} ({words})" for (score, words), names in groups.items()]
    return f"Least score: {'; '.join(parts[:8])}{'; …' if len(parts) > 8 else ''}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _free(wanted: Path) -> Path:
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return wanted if not wanted.exists() else next(path for path in numbered if not path.exists())


def _name(folder: Path) -> str:
    return folder.resolve().name


def _write(
    items: Sequence[Item], model: Model, least: Mapping[str, float], config: PredictConfig, folder: Path, tally: Tally
) -> None:
    names, draws, find = Names(), Save.pictures in config.save, partial(model.found, least=least)
    bar = Progress(console=console, transient=True, disable=not config.enable_progress_bar)
    with ExitStack() as opened:
        writers = [opened.enter_context(WRITERS[save](folder, model.class_names, names)) for save in config.save]
        task = opened.enter_context(bar).add_task("predicting", total=len(items))

        def put(entry: Entry) -> None:
            for writer in writers:
                writer(entry)
            tally.add(entry.found)

        pictures, large = [], []
        for item in (item for item in items if not item.is_video):
            (large if is_large(item) else pictures).append(item)
        for part in batches(pictures, config.batch_size, config.max_pixels):
            tally.skipped += [(item.name, why) for item, why in part.failed]
            look(part.pictures, find, draws, put)
            bar.advance(task, len(part.pictures) + len(part.failed))
            part.pictures.clear()
        for item in large:
            tally.skipped += [
                (item.name, why) for why in look_at_large(item, model, least, config.max_pixels, draws, put)
            ]
            bar.advance(task)
        for item in (item for item in items if item.is_video):
            drawn = folder / "pictures" / f"{names.of(item.name)}.mp4" if draws else None
            tally.skipped += [(item.name, why) for why in watch(item, find, config.batch_size, drawn, put)]
            bar.advance(task)
    if tally.skipped:
        lines = (f"{one_line(name)}: {one_line(why)}\n" for name, why in tally.skipped)
        (folder / "skipped.txt").write_text("".join(lines), encoding="utf-8", errors="backslashreplace")


def _summary(tally: Tally) -> str:
    counts = ", ".join(f"{name} {number:,}" for name, number in tally.classes.most_common(10))
    found = f"{tally.classes.total():,} detections in {tally.with_any:,} of them" if counts else "nothing found"
    return f"Looked at {tally.pictures:,} pictures: {found}{f' ({counts})' if counts else ''}"


def _skipped(tally: Tally, target: Path) -> str:
    lines = [f"  {name}: {why}" for name, why in tally.skipped[:MOST_NAMED]]
    more = [f"  … and {len(tally.skipped) - MOST_NAMED} more"] if len(tally.skipped) > MOST_NAMED else []
    files = "1 file was" if len(tally.skipped) == 1 else f"{len(tally.skipped)} files were"
    head = f"{files} skipped, all others are written ({target / 'skipped.txt'}):"
    return "\n".join([head, *lines, *more])
