"""Imports point one way, and what must answer at once imports nothing heavy."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "headstart"
MODULES = {".".join(path.relative_to(SRC).with_suffix("").parts): path for path in SRC.rglob("*.py")}

LAYERS = (
    {
        "errors",
        "conf_path",
        "say",
        "completion",
        "replacing",
        "turns",
        "limits",
        "visible",
        "libraries",
        "runs.parent",
        "runs.stopping",
    },
    {"config"},
    {"data.types"},
    {"records", "wandb_client"},
    {"data"},
    {"detectors"},
    {"inference"},
    {"transfer"},
    {"features"},
    {"evaluation"},
    {"analysis"},
    {"parts.part"},
    {"training"},
    {"build"},
    {"parts"},
    {"runs"},
    {"study"},
    {"search"},
    {"reporting"},
    {"quoting", "hints"},
    {"run", "train", "evaluate", "rescore", "compare", "convert", "demo", "doctor", "look", "looking", "report"}
    | {"sources", "predict", "push", "exporting"},
    {"cli", "__main__", "__init__"},
)
"""A module imports from its own layer and from those above; the more special prefix counts."""

MAY_NOT_IMPORT = {
    "data": {"detectors", "transfer", "training"},
    "records": {"data", "detectors"},
    "reporting": {"data", "detectors", "transfer", "training", "evaluation"},
    "analysis": {"data", "detectors", "transfer", "training", "inference"},
    "evaluation": {"transfer", "inference"},
}
"""What the order of the layers alone would allow."""

LIGHT = (
    "headstart.cli",
    "headstart.config.help",
    "headstart.config.resolve",
    "headstart.study.launcher",
    "headstart.train",
)
NO_TORCH = (
    *LIGHT,
    "headstart.analysis.summary",
    "headstart.compare",
    "headstart.doctor.verb",
    "headstart.reporting.summary",
    "headstart.reporting.plots",
    "headstart.reporting.wandb_comparison",
    "headstart.records.record",
    "headstart.report",
    "headstart.sources.verb",
)


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file names in import statements, those within functions included."""
    return imports_in(path.read_text(), MODULES)


def imports_in(source: str, modules: Container[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "headstart":
            inside = node.module.removeprefix("headstart").removeprefix(".")
            names = {".".join(filter(None, (inside, alias.name))) for alias in node.names}
            found |= {name if name in modules else inside or "__init__" for name in names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("headstart.") for a in node.names if a.name.startswith("headstart.")}
    return found


def circle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other, in their order; empty where there are none.

    What is imported within functions or for type checkers alone counts: who reads one must read the other.
    """
    packages = {module.removesuffix(".__init__"): module for module in sources}
    graph = {
        module: {packages.get(name, name) for name in imports_in(text, sources)} for module, text in sources.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def layer(module: str) -> int:
    prefixes = {".".join(module.split(".")[:n]) for n in (1, 2)}
    return max(i for i, names in enumerate(LAYERS) if names & prefixes and _best(names & prefixes, prefixes))


def _best(found: set[str], prefixes: set[str]) -> bool:
    """The longest prefix that any layer names decides: `data.types` is not `data`."""
    named = [prefix for prefix in prefixes if any(prefix in names for names in LAYERS)]
    return max(named, key=len) in found


def test_every_module_has_its_layer() -> None:
    assert len(MODULES) > 60
    assert all(layer(module) >= 0 for module in MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_to_the_layers_above(module: str) -> None:
    for other in imports_of(MODULES[module]):
        if module in ("cli", "demo") and other in ("run", "evaluate"):
            continue
        assert layer(other) <= layer(module), f"{module} imports {other}"


@pytest.mark.parametrize(("package", "forbidden"), MAY_NOT_IMPORT.items())
def test_packages_keep_apart(package: str, forbidden: set[str]) -> None:
    for module, path in MODULES.items():
        if module.split(".")[0] == package:
            wrong = {other for other in imports_of(path) if other.split(".")[0] in forbidden and other != "data.types"}
            assert not wrong, f"{module} imports {wrong}"


def test_no_modules_import_each_other() -> None:
    assert circle({module: path.read_text() for module, path in MODULES.items()}) == []


CIRCLES = {
    "two": {"a": "from headstart.b import x", "b": "import headstart.a"},
    "through a third": {"a": "from headstart import b", "b": "import headstart.c", "c": "from headstart.a import x"},
    "through a package": {"p.__init__": "from headstart.p.a import x", "p.a": "from headstart.p import y"},
    "within a function": {"a": "import headstart.b", "b": "def f():\n    import headstart.a"},
    "for type checkers": {"a": "import headstart.b", "b": "if TYPE_CHECKING:\n    import headstart.a"},
}


@pytest.mark.parametrize("sources", CIRCLES.values(), ids=CIRCLES)
def test_a_circle_is_found(sources: dict[str, str]) -> None:
    assert set(circle(sources)) == set(sources)


def test_what_answers_at_once_imports_nothing_heavy() -> None:
    heavy = ("torch", "lightning", "timm", "wandb", "matplotlib", "pandas")
    assert loaded_by(LIGHT, heavy) == []


def test_reports_need_no_torch() -> None:
    assert loaded_by(NO_TORCH, ("torch", "lightning", "timm", "wandb")) == []


def loaded_by(modules: tuple[str, ...], heavy: tuple[str, ...]) -> list[str]:
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return result.stdout.split()
