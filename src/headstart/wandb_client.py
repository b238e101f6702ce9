"""How W&B is reached: online or offline, and where its files lie. Imports no torch, and wandb when used."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart import limits
from headstart.config.schema import WandbConfig, WandbMode
from headstart.errors import UserError
from headstart.visible import masked

PROJECT = "headstart"
SERVER = "https://api.wandb.ai"
STAGING = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache"}
_staged: dict[str, str] = {}
"""What `stage_beside` set, as against what the user did."""


def connection(mode: WandbMode) -> str:
    """`online`, `offline`, or what the user's `WANDB_MODE` says, which goes first, as W&B's users expect.

    `auto` is online only for those who are logged in: nothing here ever asks for an account.
    """
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    if mode is not WandbMode.auto:
        return mode.value
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    """By the places where `wandb login` and its users put a key."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import wandb
    import wandb.errors
    from wandb.sdk.lib.wbauth import read_netrc_auth

    try:
        return read_netrc_auth(host=wandb.Settings().base_url) is not None  # W&B knows its server's former names
    except wandb.errors.AuthenticationError:  # what is there is no key
        return False


def project_of(config: WandbConfig) -> str:
    return config.project or PROJECT


def stage_beside(folder: Path) -> None:
    """Pictures and tables are staged in the user's home by default: a copied `folder` would be incomplete.

    A folder that the user named in the environment stays. `UserError` where W&B would obey a stranger.
    """
    _refuse_settings_of_strangers()
    for variable, name in STAGING.items():
        if os.environ.get(variable) in (None, _staged.get(variable)):
            os.environ[variable] = _staged[variable] = str((folder / "wandb" / name).absolute())


def _refuse_settings_of_strangers() -> None:
    """W&B reads settings in the folder that a command is given in: the address that the key is sent to, proxies, …"""
    import wandb

    path = Path(wandb.Settings().settings_workspace)
    if not path.is_file():
        return
    content = configparser.ConfigParser(interpolation=None)
    try:
        content.read_string(limits.read_text(path, limits.SETTINGS_BYTES, "a file of settings"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no settings that W&B can read ({error}); remove the file.") from None
    address = os.environ.get("WANDB_BASE_URL", SERVER)
    harmless = {"base_url": address, "project": None, "entity": None}  # what `wandb init` writes
    for name, value in (pair for section in content.values() for pair in section.items()):
        if harmless.get(name, "") not in (value.rstrip("/"), None):
            raise UserError(
                f"{path}: {name}={value}: W&B obeys this file, and whoever wrote it would have what is logged, "
                "and your key. Remove the line; if it is yours, say it in your home, or in the environment, "
                f"WANDB_{name.upper()}."
            )


@contextmanager
def command_without_secrets() -> Iterator[None]:
    """W&B writes down the command that it is begun in: without the passwords that stand in it."""
    command = sys.argv
    sys.argv = masked(command)
    try:
        yield
    finally:
        sys.argv = command


def where_to_look(run: Any) -> str:
    """The line that tells the user where a run is."""
    if run.settings._offline:
        return f"W&B, offline: wandb sync {Path(run.dir).parent}"
    return f"W&B: {run.url}"
