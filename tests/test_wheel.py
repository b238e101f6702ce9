"""What is installed from the wheel works outside of any checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(REPOSITORY)])
    (path,) = folder.glob("headstart-*.whl")
    return path


def run(command: list[str], folder: Path | None = None, **variables: str) -> str:
    """stdout; fails with what was printed."""
    environment = {name: value for name, value in os.environ.items() if name != "HEADSTART_DATA"} | variables
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_holds_the_package_the_configuration_and_the_plugin_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "conf").rglob("*.yaml")}
    assert {f"headstart/{path}" for path in shipped} <= set(names)
    assert "hydra_plugins/headstart_launcher/launcher.py" in names
    assert "headstart/reporting/page_files/report.html.j2" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if ".dist-info" not in top} == {"headstart", "hydra_plugins"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_installed_it_finds_its_own_configuration(wheel, tmp_path):
    target = tmp_path / "site"
    run([sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target), str(wheel)])
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "headstart", "train", "dataset=shapes", "--cfg", "job"]
    out = run(command, empty, PYTHONPATH=str(target))
    assert "name: shapes" in out
    code = "import headstart.conf_path as c; print(c.conf_dir())"
    assert run([sys.executable, "-c", code], empty, PYTHONPATH=str(target)).strip() == str(
        target / "headstart" / "conf"
    )
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_in_an_empty_environment_it_trains_from_an_empty_folder(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    run([python, "-m", "pip", "install", "-c", str(REPOSITORY / "constraints.txt"), str(wheel)])
    empty = tmp_path / "empty"
    empty.mkdir()
    out = run([str(environment / "bin" / "headstart"), "train", "dataset=shapes", "trainer.max_epochs=1"], empty)
    assert "Finished: outputs/shapes-" in out
    assert [path.name for path in empty.iterdir()] == ["outputs"]
