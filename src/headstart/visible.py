"""Names and texts of strangers, made harmless where they are shown. Imports nothing heavy.

Shown as they are, they could clear a terminal, write into its title or clipboard, or forge a line; a cell of a
spreadsheet that begins with `=` is a formula; and an address may hold a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""All but tab and newline, what turns the direction of writing, and halves of characters, which no file can hold."""
_IN_ADDRESS = re.compile(r"(?<=://)[^/?#\s]+@")
"""Up to the last `@` before the path: a password may have one."""
_IN_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:token|key|secret|password|signature|sig)[\w.-]*=)[^&#\s]+")
_NAMES = re.compile(r"(?i)(^|_)(key|token|secret|password|passwd|credentials?|pat)(_|$)")
_LEAST = 8
"""Characters of a secret: shorter ones would mask words."""
MASK = "***"


def visible(text: str) -> str:
    """What would be obeyed is written out instead: ESC as `\\x1b`."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """As `visible`, and newlines as well: for names, which may forge no line."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def cell(value: Any) -> Any:
    """For a CSV: text that a spreadsheet would calculate gets an apostrophe before it, numbers are as they are."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return value
    try:
        float(value)
    except ValueError:
        return value if value == "-" else f"'{value}"
    return value


def masked(value: Any, environ: Mapping[str, str] | None = None) -> Any:
    """Every text in `value` without passwords in addresses, and without what a variable called `…_KEY`, `…_TOKEN`,
    `…_SECRET` or `…_PASSWORD` holds."""
    return _masked(value, _secrets(os.environ if environ is None else environ))


def _secrets(environ: Mapping[str, str]) -> list[str]:
    """The longest first; a path to a key is none."""
    found = {value for name, value in environ.items() if _NAMES.search(name) and len(value) >= _LEAST}
    return sorted((value for value in found if not os.path.exists(value)), key=len, reverse=True)


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return _IN_QUERY.sub(rf"\1{MASK}", _IN_ADDRESS.sub(f"{MASK}@", value)) if "://" in value else value
    if isinstance(value, dict):
        return {_masked(key, secrets): _masked(item, secrets) for key, item in value.items()}
    return [_masked(item, secrets) for item in value] if isinstance(value, list | tuple) else value
