"""`headstart <verb> [overrides]`. Imports nothing heavy: a wrong setting is answered before torch is imported."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from headstart import __version__
from headstart.completion import FLAGS, complete
from headstart.errors import UserError
from headstart.quoting import advice, written_out
from headstart.runs.parent import follow_parent
from headstart.runs.stopping import INTERRUPTED, TOLD, stops_interrupt
from headstart.say import SafeLines, is_main_process
from headstart.visible import masked, visible

USAGE = """\
headstart: transfer learning for object detection

  headstart train [overrides]             fine-tune a detector; -m runs every combination of a study
  headstart evaluate run=<folder>         the mAP of a finished run's exported model
  headstart doctor dataset=…              what is wrong with a data set; fix=<folder> writes a clean copy
  headstart compare <folder>              what the runs of a study found: tables, advice, report.html
  headstart convert dataset=… to=… folder=…   a data set, written as coco, voc or yolo

  headstart <verb> --help                 groups, settings and examples; --help <group>: the settings of one
  headstart --version
"""

VERBS = {
    "train": ("headstart.train", "train"),
    "evaluate": ("headstart.evaluate", "evaluate"),
    "doctor": ("headstart.doctor.verb", "doctor"),
    "compare": ("headstart.compare", "compare"),
    "convert": ("headstart.convert", "convert"),
}
"""Verb -> module and function that does it; the module is imported when the configuration is known to be right."""


WRONG_USAGE = 2
"""Also of any mistake in the settings of `doctor`, whose 1 means that the data is bad."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a verb and exits: 0 done, 1 the user's mistake, a failed run or bad data, 2 wrong usage, 75 another
    process has the run, 130 interrupted."""
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
        print(f"headstart: no verb {verb!r}{_did_you_mean(verb, VERBS)}\n\n{USAGE}", file=sys.stderr)
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

    from headstart.conf_path import conf_dir
    from headstart.config.checks import check_comparison, check_conversion, check_doctor, check_run_folder
    from headstart.config.resolve import register, typed
    from headstart.config.schema import CompareConfig, ConvertConfig, DoctorConfig, EvaluateConfig

    register()

    def checked(config: Any, check: Callable[[Any], None]) -> Any:
        check(config)
        return config

    def read_train(cfg: Any) -> Any:
        from headstart.train import read_single

        return read_single(cfg, HydraConfig.get())

    read: dict[str, Callable[[Any], Any]] = {
        "train": read_train,
        "evaluate": lambda cfg: checked(typed(cfg, EvaluateConfig), check_run_folder),
        "doctor": lambda cfg: checked(typed(cfg, DoctorConfig), check_doctor),
        "compare": lambda cfg: checked(typed(cfg, CompareConfig), check_comparison),
        "convert": lambda cfg: checked(typed(cfg, ConvertConfig), check_conversion),
    }

    def task(cfg: Any) -> None:
        config = read[verb](cfg)
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
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(task_with_command)()
    if raised:
        raise raised[0]


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
        print(f"\nheadstart: {_message(error)}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", mistake))


def _is_users(error: Exception) -> bool:
    """By module and name: neither Lightning nor, for `--version`, Hydra is imported for it."""
    kind = type(error)
    return (
        isinstance(error, UserError)
        or kind.__module__.startswith(("hydra.errors", "omegaconf.errors"))
        or kind.__name__ in ("MisconfigurationException", "ConfigCompositionException")
    )


def _message(error: BaseException) -> str:
    """The message with the cause that Hydra wraps, each line once."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        said = "\n".join([str(seen), *getattr(seen, "__notes__", [])])
        lines += [line for line in said.splitlines() if line.strip() and line not in lines]
        seen = seen.__cause__
    kept = "\n".join(line for line in lines if not any(word in line for word in _OF_HYDRA))
    return masked(visible(kept + _hint(error)))


_OF_HYDRA = (
    "object_type=",
    "reference_type=",
    "To append to your config",
    "Config search path",
    "provider=",
    "schema_",
)
"""In lines that tell the user nothing, or advise what we refuse."""


def _hint(error: BaseException) -> str:
    """Did you mean …, for a misspelt choice, which Hydra names together with the choices there are."""
    if "@source." in str(error):
        return (
            "\nOnly source=pretrained, and sources made of it, are runs with groups of their own. In a study of "
            "several sources each needs a file: conf/source/<name>.yaml, as conf/source/voc2007_1000.yaml."
        )
    available = getattr(error, "options", None)
    missing = getattr(error, "missing_cfg_file", None)
    if available and missing:
        if hint := _launcher_hint(str(missing)):
            return hint
        known = [str(option) for option in available if not str(option).startswith("schema_")]
        return _did_you_mean(str(missing).rpartition("/")[2], known)
    return _key_hint(error) or _quoting_hint(error)


def _quoting_hint(error: BaseException) -> str:
    """How to type a value that Hydra's grammar cannot read, or takes for several."""
    if type(error).__name__ == "InterpolationKeyError":
        return "\n${…} refers to another setting. Where it is part of a name, write \\${…}, and quote it for the shell."
    word = getattr(error, "override", None) or _ambiguous(str(error))
    return f"\n{found}" if word and (found := advice(word)) else ""


def _ambiguous(message: str) -> str | None:
    """The override in Hydra's message about a list without -m; it is nowhere else."""
    found = re.search(r"Ambiguous value for argument '(.*)'$", message, re.MULTILINE)
    return found[1] if found else None


def _launcher_hint(missing: str) -> str:
    """For a launcher that is not installed."""
    group, _, name = missing.rpartition("/")
    if group != "hydra/launcher":
        return ""
    if name == "joblib":
        return "\nhydra/launcher=joblib is not offered: leave it out, and set study.jobs=N to run N cells at a time."
    if name not in _LAUNCHER_EXTRAS:
        return ""
    return f"\nhydra/launcher={name} needs a further package: pip install 'headstart[{_LAUNCHER_EXTRAS[name]}]'"


_LAUNCHER_EXTRAS = {"submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


def _key_hint(error: BaseException) -> str:
    """Did you mean …, for a misspelt key of a node we own."""
    cause: BaseException | None = error
    while cause is not None:
        key = getattr(cause, "key", None)
        fields = getattr(getattr(cause, "object_type", None), "__dataclass_fields__", None)
        if str(key) == "True" and fields is not None and "on" in fields:
            return '\nYAML reads a bare on: as true; write it in quotes, "on":.'
        if key is not None and fields is not None and key not in fields:
            return _did_you_mean(str(key), list(fields))
        cause = cause.__cause__ or cause.__context__
    return ""


def _did_you_mean(word: str, choices: Any) -> str:
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"\nDid you mean {near[0]!r}?" if near else ""
