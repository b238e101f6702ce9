"""`headstart push`: a finished run's model and card to a repository on huggingface.co. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.config.checks_transfer import EXPORTED
from headstart.config.schema import PushConfig
from headstart.errors import UserError
from headstart.records.record import RunRecord
from headstart.reporting.card import CARD, PICTURE
from headstart.say import say

_SHOWN = re.compile(rf"^!\[[^\]]*\]\({re.escape(PICTURE)}\)\n+", re.MULTILINE)


def push(config: PushConfig) -> None:
    """Says what goes, and sends it in one commit. Raises `UserError` where the hub takes it not.

    record.json stays here: it tells of the machine. So do detections and pictures, but for the card's where asked.
    """
    folder = Path(config.run).expanduser()
    record = RunRecord.read(folder / "record.json")
    if record.status != "finished":
        raise UserError(f"{folder}: the run is {record.status}. The command that started it goes on with it.")
    files = files_of(folder, config.picture)
    if config.picture and PICTURE not in files:
        raise UserError(f"picture=true: {folder} has no {PICTURE}. Leave it out.")
    for line in _plan(config, files, (folder / PICTURE).is_file()):
        say(line)
    if config.dry_run:
        say("dry_run=true: nothing was sent.")
        return
    say(f"Sent: {_send(config, files)}")


def files_of(folder: Path, picture: bool) -> dict[str, bytes | Path]:
    """Name in the repository -> content; the card shows its picture where that goes with it."""
    text = (folder / CARD).read_text(encoding="utf-8")
    card = text if picture else _SHOWN.sub("", text)
    files: dict[str, bytes | Path] = {CARD: card.encode(), **{name: folder / name for name in EXPORTED}}
    return files | ({PICTURE: folder / PICTURE} if picture and (folder / PICTURE).is_file() else {})


def _plan(config: PushConfig, files: dict[str, bytes | Path], has_picture: bool) -> Sequence[str]:
    sizes = {name: len(held) if isinstance(held, bytes) else held.stat().st_size for name, held in files.items()}
    seen_by = "seen by you alone" if config.private else "seen by everyone"
    lines = [f"To {config.repo} on huggingface.co; if it is made for it, {seen_by} (private=…):"]
    lines += [f"  {name}  {size / 1e6:,.2f} MB" for name, size in sizes.items()]
    if config.picture:
        lines.append(f"{PICTURE} shows a picture of the validation data: see that you may show it.")
    elif has_picture:
        lines.append(f"Not sent: {PICTURE}, which shows a picture of the validation data (picture=true sends it).")
    return lines


def _send(config: PushConfig, files: dict[str, bytes | Path]) -> str:
    """Where it is to be seen then."""
    try:
        import huggingface_hub as hub
    except ImportError:
        raise UserError("headstart push needs a further package: pip install 'headstart[hub]'") from None
    api: Any = hub.HfApi()
    try:
        api.create_repo(config.repo, private=config.private, exist_ok=True)
        operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=held) for name, held in files.items()]
        return str(api.create_commit(config.repo, operations, commit_message="A model from headstart").repo_url)
    except (hub.errors.HfHubHTTPError, hub.errors.LocalTokenNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"repo={config.repo}: huggingface.co took nothing ({first}). `hf auth login` logs in; the account must be "
            "allowed to write there."
        ) from error
