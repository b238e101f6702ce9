"""The size of the house: what can be read in one sitting stays so."""

import ast
import statistics
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
FILES = sorted(SRC.rglob("*.py"))


def functions() -> list[tuple[str, int]]:
    """Name and number of lines, the docstring not counted."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                lines = (node.end_lineno or 0) - node.lineno + 1
                if doc:
                    lines -= (first.end_lineno or 0) - first.lineno + 1
                found.append((f"{path.name}: {node.name}", lines))
    return found


def test_no_file_is_longer_than_250_lines() -> None:
    assert len(FILES) > 60
    long = {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 250}
    assert not long, long


def test_functions_are_short() -> None:
    lengths = dict(functions())
    assert {name: n for name, n in lengths.items() if n > 60} == {}
    assert statistics.median(lengths.values()) < 10


def test_the_lightning_module_is_glue() -> None:
    assert len((SRC / "headstart" / "training" / "module.py").read_text().splitlines()) <= 150
