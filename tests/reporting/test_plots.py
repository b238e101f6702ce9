"""The picture shows what the table says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from matplotlib.figure import Figure

from headstart.reporting import plots

MakeRun = Callable[..., Any]


@pytest.fixture
def figure(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """Two seeds of full, one of head_only whose mAP of epoch 1 is missing."""
    drawn: list[Figure] = []
    save = Figure.savefig

    def spy(self: Figure, *args: Any, **kwargs: Any) -> None:
        drawn.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    runs = [make_run(0.4, 0, 200.0), make_run(0.6, 1, 220.0)]
    runs.append(make_run(0.3, 0, 50.0, history=(0.0, None, 0.3), strategy__name="head_only"))
    plots.plot_summary(runs, tmp_path / "pictures" / "summary.png")
    with PIL.Image.open(tmp_path / "pictures" / "summary.png") as image:
        assert image.format == "PNG"
    return drawn[0]


def test_each_arm_has_its_mean_as_bar_and_its_seeds_as_points(figure: Figure) -> None:
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 0.3])  # type: ignore[attr-defined]
    points = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]  # type: ignore[arg-type]
    assert points == [[0.4, 0.6], [0.3]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["strategy=full", "strategy=head_only"]


def test_curves_leave_out_epochs_that_were_not_validated(figure: Figure) -> None:
    curves = [(list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[1].lines]  # type: ignore[arg-type]
    assert curves == [([0, 1, 2], [0.0, 0.25, 0.5])] * 2 + [([0, 2], [0.0, 0.3])]


def test_cost_is_drawn_against_what_it_bought(figure: Figure) -> None:
    points = [(list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[2].lines]  # type: ignore[arg-type]
    assert points == [([200.0, 220.0], [0.4, 0.6]), ([50.0], [0.3])]
