"""`headstart <verb> [overrides]`. Imports nothing heavy: a wrong setting is answered before torch is imported."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from headstart import __version__
from headstart.completion import FLAGS, complete
from headstart.errors import UserError
from headstart.hints import did_you_mean, message
from headstart.quoting import written_out
from headstart.runs.parent import follow_parent
from headstart.runs.stopping import INTERRUPTED, TOLD, stops_interrupt
from headstart.say import SafeLines, is_main_process

USAGE = """\
headstart: transfer learning for object detection

  headstart train [overrides]             fine-tune a detector; -m runs every combination of a study
  headstart evaluate run=<folder>         the mAP of a finished run's exported model
  headstart rescore run=<folder> …        the same from the detections it has kept: other thresholds, classes merged
  headstart predict run=<folder> images=…  what a finished run's model finds in pictures or a video
  headstart export run=<folder> to=…      its model as ONNX, NMS inside, or as a program of torch.export
  headstart doctor dataset=…              what is wrong with a data set; fix=<folder> writes a clean copy
  headstart compare <folder>              what the runs of a study found: tables, advice, report.html
  headstart report <folder>               report.html of a run anew: curves, errors, its worst pictures
  headstart look dataset=…                what is in a data set: look.html, with pictures as training sees them
  headstart convert dataset=… to=… folder=…   a data set, written as coco, voc or yolo
  headstart sources model=… backbone=…    what learning can start from: installed, cached, to download, your runs
  headstart push run=<folder> repo=…      a finished run's model and its card, to huggingface.co

  headstart <verb> --help                 groups, settings and examples; --help <group>: the settings of one
  headstart --version
"""

VERBS = {
    "train": ("headstart.train", "train"),
    "evaluate": ("headstart.evaluate", "evaluate"),
    "rescore": ("headstart.rescore", "rescore"),
    "predict": ("headstart.predict.verb", "predict"),
    "export": ("headstart.exporting.verb", "export"),
    "doctor": ("headstart.doctor.verb", "doctor"),
    "compare": ("headstart.compare", "compare"),
    "report": ("headstart.report", "report"),
    "look": ("headstart.look.verb", "look"),
    "convert": ("headstart.convert", "convert"),
    "sources": ("headstart.sources.verb", "sources"),
    "push": ("headstart.push", "push"),
}
"""Verb -> module and function that does it; the module is imported when the configuration is known to be right."""


WRONG_USAGE = 2
"""Also of any mistake in the settings of `doctor`, whose 1 means that the data is bad."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a verb and exits: 0 done, 1 the user's mistake, a failed run or bad data, 2 wrong usage, 3 pictures were
    skipped and all others predicted, 75 another process has the run, 130 interrupted."""
    # Waiting threads that spin take the core from those that work: two runs at once were 13 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    follow_parent()
    if logging.lastResort is not None:  # what warnings are printed by
        logging.lastResort.setFormatter(SafeLines())
    if not {"", os.getcwd()} & set(
        sys.path
    ):  # a study's cells are `python -m`: that would import a stranger's torch.py
        os.environ.setdefault("PYTHONSAFEPATH", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        sys.exit(0 if arguments else WRONG_USAGE)
    if arguments[0] in ("-V", "--version"):
        print(f"headstart {__version__}")
        sys.exit(0)
    if arguments[0] in FLAGS:
        return complete(arguments, None, VERBS, _run_verb)
    verb = arguments[0]
    if verb not in VERBS:
        print(f"headstart: no verb {verb!r}{did_you_mean(verb, VERBS)}\n\n{USAGE}", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    overrides = arguments[1:]
    if overrides and overrides[0] in FLAGS:
        return complete(overrides, verb, VERBS, _run_verb)
    if help_asked := next((argument for argument in overrides if argument in ("-h", "--help")), None):
        return _guarded(lambda: _print_help(verb, overrides, overrides.index(help_asked)))
    _guarded(lambda: _run_verb(verb, written_out(verb, overrides)), WRONG_USAGE if verb == "doctor" else 1)


def _print_help(verb: str, arguments: list[str], position: int) -> None:
    """`--help` or `--help <group>`, the user's folders of configuration included."""
    from headstart.conf_path import conf_dir
    from headstart.config.help import help_text

    after = arguments[position + 1 : position + 2]
    group = after[0] if after and "=" not in after[0] and not after[0].startswith("-") else None
    given = [arguments[i + 1] for i, word in enumerate(arguments[:-1]) if word in ("--config-dir", "-cd")]
    print(help_text(verb, group, [conf_dir(), *map(Path, given)]))


def _run_verb(verb: str, overrides: list[str]) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import ConfigCompositionException

    from headstart.conf_path import conf_dir
    from headstart.config.resolve import register

    register()

    def task(cfg: Any) -> None:
        config = _readers()[verb](cfg)
        # Lightning starts further processes with this very command, unless it sees Hydra: then with another.
        HydraConfig.instance().cfg = None
        module, function = VERBS[verb]
        getattr(import_module(module), function)(config)

    # Hydra reads sys.argv, and Lightning starts further processes from it: there it must be the user's command.
    command, raised = sys.argv, []

    def task_with_command(cfg: Any) -> None:
        sys.argv = command
        try:
            task(cfg)
        except Exception as error:  # Hydra would print a line of its own about it
            raised.append(error)

    sys.argv = [command[0], *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions of Hydra itself reach `_guarded`, which prints them
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(task_with_command)()
    except ConfigCompositionException:
        from headstart.study.source_file import write_for

        if remedy := write_for(overrides):
            raise UserError(remedy) from None
        raise
    except ValueError as error:
        raise _without_a_name(error, overrides) from None
    if raised:
        raise raised[0]


def _readers() -> dict[str, Callable[[Any], Any]]:
    """Verb -> what makes its settings of Hydra's, checked."""
    from hydra.core.hydra_config import HydraConfig

    from headstart.config import checks_exported, schema
    from headstart.config import checks_verbs as checks
    from headstart.config.resolve import typed

    def of(kind: type, check: Callable[[Any], None]) -> Callable[[Any], Any]:
        def read(cfg: Any) -> Any:
            check(config := typed(cfg, kind))
            return config

        return read

    return {
        "train": lambda cfg: _read_train(cfg, HydraConfig.get()),
        "evaluate": lambda cfg: checks_exported.read_evaluate(cfg, HydraConfig.get().overrides.task),
        "rescore": of(schema.RescoreConfig, checks.check_rescoring),
        "predict": of(schema.PredictConfig, checks.check_prediction),
        "export": of(schema.ExportConfig, checks_exported.check_export),
        "doctor": of(schema.DoctorConfig, checks.check_doctor),
        "compare": of(schema.CompareConfig, checks.check_comparison),
        "report": of(schema.ReportConfig, checks.check_report),
        "look": of(schema.LookConfig, checks.check_look),
        "convert": of(schema.ConvertConfig, checks.check_conversion),
        "sources": of(schema.SourcesConfig, lambda config: None),
        "push": of(schema.PushConfig, checks.check_push),
    }


def _read_train(cfg: Any, hydra_config: Any) -> Any:
    from headstart.train import read_single

    return read_single(cfg, hydra_config)


def _without_a_name(error: ValueError, overrides: list[str]) -> Exception:
    """Hydra's own, or what to tell who gave a group of choices no name."""
    from headstart.conf_path import conf_dir

    if not str(error).startswith("Config group override"):
        return error
    groups = ", ".join(word for word in overrides if (conf_dir() / word.partition("=")[0]).is_dir())
    return UserError(f"{groups}: a group takes the name of one of its files; --help <group> lists them")


def _guarded(action: Callable[[], None], mistake: int = 1) -> None:
    """A mistake of the user is one message and no traceback; `HEADSTART_DEBUG=1` shows it."""
    if os.environ.get("HEADSTART_DEBUG"):
        return action()
    try:
        with stops_interrupt():
            action()
    except KeyboardInterrupt:
        if is_main_process():
            print(TOLD, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader has seen enough: `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if not _is_users(error):
            raise
        print(f"\nheadstart: {message(error)}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", mistake))


def _is_users(error: Exception) -> bool:
    """By module and name: neither Lightning nor, for `--version`, Hydra is imported for it."""
    kind = type(error)
    return (
        isinstance(error, UserError)
        or kind.__module__.startswith(("hydra.errors", "omegaconf.errors"))
        or kind.__name__ in ("MisconfigurationException", "ConfigCompositionException")
    )
