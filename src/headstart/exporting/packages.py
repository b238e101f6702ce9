"""What exporting needs besides Headstart."""

from __future__ import annotations

from importlib.util import find_spec

from headstart.errors import UserError


def needs(*packages: str) -> None:
    """Raises `UserError` where one of the packages of headstart[onnx] is not installed."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise UserError(f"ONNX needs the packages {', '.join(missing)}: pip install 'headstart[onnx]'")
