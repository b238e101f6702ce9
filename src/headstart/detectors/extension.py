"""A detector of the user's own, in a Python file of theirs (docs/extending/detector.md).

The file is code. It is run because the user's configuration or command names it, and never because the file of a model
does: an exported model of it says that it needs one, and no more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config.plain import escaped
from headstart.config.schema import BackboneConfig, ExtensionConfig
from headstart.detectors.interface import Detector, stage_of_tensor
from headstart.errors import UserError

_named: list[str] = []
"""Files that this process was told to run, the last one last."""


def name_file(path: str | Path) -> None:
    """The user names it: it may be run from now on."""
    _named.append(str(path))


def named_file(whose: str) -> str:
    """Raises `UserError` where none was named, in this process, for the model `whose`."""
    if not _named:
        raise UserError(
            f"{whose} is of a detector in a Python file of its user's. That is code, and is run only where you name "
            'it: extension=<the file>, in Python headstart.load(…, extension="<the file>")'
        )
    return _named[-1]


def build_extension(config: ExtensionConfig, backbone: BackboneConfig, class_names: Sequence[str]) -> Detector:
    """`build(model, settings, backbone, class_names)` of the file, held to the contract. Raises `UserError` where it
    does not keep it, or was not named by the user."""
    if config.file not in _named:
        raise UserError(f"model.file={config.file}: no command names this file, and it is not run")
    module = _module(config.file)
    settings = _settings(module, config)
    detector = _called(config.file, _member(module, "build", config.file), config, settings, backbone, class_names)
    _refuse_other(detector, config.file, class_names)
    detector.code = file_digest(config.file)
    return detector


def file_digest(path: str | Path) -> str:
    """Of what the file holds. Raises `UserError` where it cannot be read."""
    try:
        return hashlib.blake2b(Path(path).expanduser().read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise UserError(f"model.file={path} cannot be read ({error.strerror})") from None


def _module(path: str) -> ModuleType:
    """Run once, as long as it holds the same."""
    name = f"headstart_extension_{file_digest(path)}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(path).expanduser())
        if spec is None or spec.loader is None:
            raise UserError(f"model.file={path} is no Python file: its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses look for the names in their annotations
        try:
            _called(path, spec.loader.exec_module, module)
        except UserError:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _called(path: str, call: Any, *given: Any) -> Any:
    """Errors of the file's own are told with its line."""
    try:
        return call(*given)
    except UserError:
        raise
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).name == Path(path).name
        ]
        line = f", line {lines[-1]}" if lines else ""
        raise UserError(f"model.file={path}{line}: {type(error).__name__}: {error}") from error


def _member(module: ModuleType, name: str, path: str) -> Any:
    if not hasattr(module, name):
        raise UserError(
            f"model.file={path} has no {name}: it needs a dataclass Settings and a function "
            "build(model, settings, backbone, class_names) that gives a Detector"
        )
    return getattr(module, name)


def _settings(module: ModuleType, config: ExtensionConfig) -> Any:
    """`model.settings` as the file's own dataclass."""
    schema = _member(module, "Settings", config.file)
    known = ", ".join(field.name for field in dataclasses.fields(schema)) or "none"
    try:
        node = OmegaConf.merge(OmegaConf.structured(schema), escaped(config.settings))
        missing = sorted(OmegaConf.missing_keys(node))
        found = OmegaConf.to_object(node) if not missing else None
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model.settings: {reason}. The settings of {config.file}: {known}") from None
    if missing:
        raise UserError(f"model.settings: {', '.join(missing)} is not set. The settings of {config.file}: {known}")
    return found


def _refuse_other(detector: Any, path: str, class_names: Sequence[str]) -> None:
    if not isinstance(detector, Detector):
        raise UserError(f"model.file={path}: build gives {type(detector).__name__}, which is no Detector")
    if tuple(detector.class_names) != tuple(class_names):
        raise UserError(f"model.file={path}: its class_names are {detector.class_names}, not those given to build")
    try:
        stage_of_tensor(detector)
    except AssertionError as error:
        raise UserError(f"model.file={path}: its stages do not hold every tensor once: {error}") from None
