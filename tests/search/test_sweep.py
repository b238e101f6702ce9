"""Optuna's study ends with the trials that were asked for, whatever happens on the way; cells are played here."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("optuna", reason="hydra/sweeper=optuna is an extra: pip install 'headstart[optuna]'")

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState

from headstart import cli
from headstart.errors import UserError
from headstart.runs.parent import TRIALS
from headstart.search import sweep as optuna_sweep
from headstart.search import trials as optuna_study
from headstart.search.settings import SamplerName, Settings
from headstart.search.space import SearchSpace, search_space
from headstart.study.cells import CellResult, Watch

LR = "optimizer.lr=tag(log,interval(1e-4,1e-2))"
STRATEGY = "strategy=full,head_only,partial_freeze"


class NoConfig:
    """In place of Hydra's loader: `strategy` is the one group."""

    def get_group_options(self, name: str, results_filter: Any = None) -> list[str]:
        return ["full", "head_only", "schema_base"] if name == "strategy" else []


def space_of(*arguments: str) -> SearchSpace:
    return search_space(arguments, NoConfig())  # type: ignore[arg-type]


class Cells:
    """In place of the launcher: what a cell finds is a function of its settings."""

    def __init__(self, play: Callable[[dict[str, str]], CellResult | float], epochs: int = 0) -> None:
        self.play, self.epochs = play, epochs
        self.batches: list[list[dict[str, str]]] = []

    @property
    def seen(self) -> list[dict[str, str]]:
        return [cell for batch in self.batches for cell in batch]

    def __call__(self, job_overrides: Sequence[Sequence[str]], first: int, watch: Watch) -> list[CellResult]:
        cells = [{word.partition("=")[0]: word.partition("=")[2] for word in words} for words in job_overrides]
        self.batches.append(cells)
        return [self.one(place, cell, watch) for place, cell in enumerate(cells)]

    def one(self, place: int, cell: dict[str, str], watch: Watch) -> CellResult:
        found = self.play(cell)
        if isinstance(found, CellResult):
            return found
        history: list[Mapping[str, Any]] = [{"epoch": "0", "val/map": ""}]
        for epoch in range(1, self.epochs + 1):
            history.append({"epoch": str(epoch), "val/map": str(found * epoch / self.epochs)})
            if watch(place, history):
                return CellResult((), Path(f"run-at-epoch-{epoch}"), "stopped")
        return CellResult((), Path("run"), "finished", value=found)


def plugin(name: str) -> ModuleType:
    """As Hydra has loaded it: at its first start it executes the modules of plugins that were imported before."""
    Plugins.instance()
    return importlib.import_module(name)


def ended(status: str, reason: str = "") -> CellResult:
    return CellResult((), Path("run"), status, reason)


def learning_rate(cell: dict[str, str]) -> float:
    return float(cell["optimizer.lr"])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study(monkeypatch):
    """`study(play, *overrides)`: the command with played cells; gives these."""

    def call(play: Callable[[dict[str, str]], Any], *overrides: str, epochs: int = 0) -> Cells:
        cells = Cells(play, epochs)
        launcher = plugin("hydra_plugins.headstart_launcher.launcher").HeadstartLauncher
        played = lambda self, words, first, watch: cells(words, first, watch)  # noqa: E731
        monkeypatch.setattr(launcher, "run_batch", played, raising=False)
        words = ["train", "-m", "hydra/sweeper=optuna", *overrides]
        monkeypatch.setattr(sys, "argv", ["headstart", *words])
        cli.main(words)
        return cells

    return call


def stored(folder: Path = Path("outputs")) -> list[optuna.trial.FrozenTrial]:
    (file,) = (folder / ".study").glob("optuna-*.db")
    (name,) = optuna.get_all_study_names(f"sqlite:///{file}")
    return optuna.load_study(study_name=name, storage=f"sqlite:///{file}").trials


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=x,y,null", CategoricalDistribution(["x", "y", "null"])),
        ("a=choice('p q',[1,2])", CategoricalDistribution(["p\\ q", "[1,2]"])),
        ("a=shuffle(y,x)", CategoricalDistribution(["x", "y"])),
        ("a=range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("a=range(5,1)", None),
        ("a=range(6,1,-2)", IntDistribution(2, 6, step=2)),
        ("a=range(0.1,0.45,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("a=interval(0,1)", FloatDistribution(0.0, 1.0)),
        ("a=int(interval(1,8))", IntDistribution(1, 8)),
        ("a=tag(log,int(interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("a=tag(log, interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
    ],
)
def test_each_sweep_of_hydras_grammar_is_the_distribution_that_it_means(override, expected):
    if expected is None:
        with pytest.raises(UserError, match="range is empty"):
            space_of(override)
    else:
        assert space_of(override).distributions == {"a": expected}


@pytest.mark.parametrize(
    "override", ["a=range(0.1,0.9,0.2)", "a=range(9,1,-3)", "+a=x,null,'b c'", "a=range(1,1.35,0.1)"]
)
def test_a_grid_of_ours_has_the_cells_of_hydras(override):
    (parsed,) = OverridesParser.create().parse_overrides([override])
    space = space_of(override)
    ours = {space.overrides(point) for point in space.combinations()}
    values = [re.sub(r"(\.\d*?)0{9,}\d$", r"\1", value) for value in parsed.sweep_string_iterator()]  # 0.1 + 0.2 is 0.3
    assert ours == {(f"{parsed.get_key_element()}={value}",) for value in values}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=1"], "nothing is swept.*for instance"),
        (["strategy=interval(0,1)"], "strategy is chosen by name.*strategy=full,head_only$"),
        (["a=tag(log,interval(0,1))"], "log needs a start above 0"),
        (["a=interval(2,1)"], "not above its start"),
        (["a=tag(lgo,interval(1,2))"], "the tag lgo has no effect here; the one tag is log"),
        (["a=tag(log,choice(1,2))"], "only an interval takes one"),
        (["a=1,2", "a=3"], "given twice"),
        (["dataset=bccd,kangaroo"], "not comparable"),
        (["monitor.name=val/map,val/map_50"], "not comparable"),
        (["study.jobs=1,2"], "cannot change what a run finds"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_a_remedy(arguments, message):
    with pytest.raises(UserError, match=message):
        space_of(*arguments)


def test_the_settings_of_every_trial_are_those_of_its_cell_and_fixed_ones_reach_all(study):
    cells = study(learning_rate, LR, STRATEGY, "seed=3", "study.jobs=2", "hydra.sweeper.n_trials=5")
    assert [len(batch) for batch in cells.batches] == [2, 2, 1]
    assert all(cell["seed"] == "3" for cell in cells.seen)
    assert {cell["strategy"] for cell in cells.seen} <= {"full", "head_only", "partial_freeze"}
    for cell, trial in zip(cells.seen, stored(), strict=True):
        assert (float(cell["optimizer.lr"]), cell["strategy"]) == (
            trial.params["optimizer.lr"],
            trial.params["strategy"],
        )
        assert trial.value == float(cell["optimizer.lr"])


def test_a_search_asks_for_a_number_of_cells_at_a_time(study, capsys):
    with pytest.raises(SystemExit):
        study(learning_rate, LR, "study.jobs=auto")
    assert "Use study.jobs=N." in capsys.readouterr().err


def test_n_trials_is_the_number_of_the_whole_study_however_often_the_command_is_given(study):
    assert len(study(learning_rate, LR, "hydra.sweeper.n_trials=3").seen) == 3
    assert len(study(learning_rate, LR, "hydra.sweeper.n_trials=3").seen) == 0
    assert len(study(learning_rate, LR, "hydra.sweeper.n_trials=5", "logger=csv", "study.jobs=2").seen) == 2
    assert len({trial.params["optimizer.lr"] for trial in stored()}) == 5  # no start repeats the numbers of another


def test_every_run_is_told_among_how_many_trials_it_stands_and_nothing_else_is(study):
    told = []
    study(lambda cell: float(told.append(os.environ[TRIALS]) or 0.5), "hydra.sweeper.n_trials=3", LR)
    assert told == ["3"] * 3
    assert TRIALS not in os.environ


def test_another_search_is_another_study(study):
    for differing in ([LR], ["optimizer.lr=interval(1e-4,1e-2)"], [LR, "seed=1"], [LR, "hydra.sweeper.sampler=random"]):
        assert len(study(learning_rate, *differing, "hydra.sweeper.n_trials=1").seen) == 1
    assert len(list(Path("outputs/.study").glob("*.db"))) == 4


def run_to_the_end(file: Path, sampler: SamplerName) -> list[list[dict[str, str]]]:
    """The study as `sweep` runs it, without Hydra; gives the batches of this start."""
    space = space_of("lr=interval(0,1)", "strategy=full,head_only")
    settings = Settings(n_trials=6, sampler=sampler)
    study = optuna_study.open_study(file, "test", {}, "max", optuna.pruners.NopPruner())
    cells = Cells(lambda cell: float(cell["lr"]), epochs=1)
    optuna_sweep._run(optuna_sweep.Trials(study, space, settings, jobs=2), cells, "val/map")
    return cells.batches


WRITES = (
    "create_new_study",
    "create_new_trial",
    "set_study_user_attr",
    "set_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_state_values",
)


def die_before(monkeypatch: pytest.MonkeyPatch, write: int) -> list[str]:
    """The process ends before its so-manieth write to the storage. Gives the writes so far."""
    done: list[str] = []

    def mortal(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if len(done) == write:
                raise KeyboardInterrupt
            done.append(name)
            return original(*arguments, **named)

        return call

    for name in WRITES:
        monkeypatch.setattr(_CachedStorage, name, mortal(name, getattr(_CachedStorage, name)))
    return done


@pytest.mark.parametrize("tried", [slice(3, None, 9), pytest.param(slice(None), marks=pytest.mark.slow)])
def test_a_study_killed_before_any_of_its_writes_ends_as_an_undisturbed_one(monkeypatch, tmp_path, tried):
    few_at_random = lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)  # noqa: E731
    monkeypatch.setattr(optuna_study, "TPESampler", few_at_random)
    with monkeypatch.context() as patch:
        writes = die_before(patch, -1)
        batches = run_to_the_end(tmp_path / "undisturbed.db", SamplerName.tpe)
    expected = [cell for batch in batches for cell in batch]
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert set(writes) == set(WRITES)
    for write in range(len(writes))[tried]:
        file = tmp_path / f"{write}.db"
        with monkeypatch.context() as patch:
            die_before(patch, write)
            with pytest.raises(KeyboardInterrupt):
                run_to_the_end(file, SamplerName.tpe)
        told = len(trials_in(file, TrialState.COMPLETE))
        again = run_to_the_end(file, SamplerName.tpe)
        rest = [batch[max(0, told - 2 * number) :] for number, batch in enumerate(batches)]
        assert again == [batch for batch in rest if batch]  # nothing is run again whose result was told
        trials = trials_in(file, TrialState.COMPLETE)
        assert [trial.number for trial in trials] == list(range(6))
        assert [str(trial.params["lr"]) for trial in trials] == [cell["lr"] for cell in expected]
        assert [trial.value for trial in trials] == [float(cell["lr"]) for cell in expected]


def trials_in(file: Path, state: TrialState) -> list[optuna.trial.FrozenTrial]:
    if "test" not in optuna.get_all_study_names(f"sqlite:///{file}"):
        return []
    return optuna.load_study(study_name="test", storage=f"sqlite:///{file}").get_trials(states=(state,))


def test_a_grid_takes_every_combination_once_though_it_was_interrupted(study):
    words = (STRATEGY, "optimizer.lr=1e-3,1e-2", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=50")
    deaths = [4]

    def mortal(cell: dict[str, str]) -> float:
        deaths[0] -= 1
        if deaths[0] == 0:
            raise KeyboardInterrupt
        return learning_rate(cell)

    with pytest.raises(SystemExit) as stopped:
        study(mortal, *words)
    assert stopped.value.code == 130
    study(mortal, *words)
    found = sorted((trial.params["strategy"], trial.params["optimizer.lr"]) for trial in stored())
    assert found == [(s, lr) for s in ("full", "head_only", "partial_freeze") for lr in ("0.001", "0.01")]


def test_a_failed_trial_does_not_end_the_study_and_is_run_again_by_the_same_command(study, capsys):
    broken = True

    def play(cell: dict[str, str]) -> CellResult | float:
        return ended("failed", "no [disk] left") if broken and cell["strategy"] != "full" else learning_rate(cell)

    words = (LR, STRATEGY, "hydra.sweeper.n_trials=6")
    with pytest.raises(SystemExit) as stopped:
        study(play, *words)
    assert stopped.value.code == 1
    found = capsys.readouterr()
    failed = [trial for trial in stored() if trial.state is TrialState.FAIL]
    assert 0 < len(failed) < 6
    assert f"{len(failed)} of 6 trials failed; the same command runs those again" in found.err
    assert "failed: no [disk] left" in found.out
    broken = False
    cells = study(play, *words)
    assert [float(cell["optimizer.lr"]) for cell in cells.seen] == [trial.params["optimizer.lr"] for trial in failed]
    assert "6 trials, 6 finished" in capsys.readouterr().out


def test_what_is_not_applicable_is_learnt_from_not_proposed_again_and_no_failure(study, capsys):
    def play(cell: dict[str, str]) -> CellResult | float:
        bad = cell["source"] == "scratch" and cell["strategy"] == "head_only"
        return ended("not applicable", "would freeze noise") if bad else 0.5

    words = ("source=scratch,imagenet", "strategy=full,head_only", "hydra.sweeper.sampler=random")
    cells = study(play, *words, "hydra.sweeper.n_trials=12", "hydra.sweeper.seed=1")
    bad = [cell for cell in cells.seen if (cell["source"], cell["strategy"]) == ("scratch", "head_only")]
    assert len(cells.seen) == 12
    assert len(bad) == 1
    out = capsys.readouterr().out
    assert "1 not applicable" in out
    assert "not applicable: would freeze noise" in out
    (refused,) = [trial for trial in stored() if trial.user_attrs.get("status") == "not applicable"]
    assert (refused.state, refused.value) == (TrialState.PRUNED, None)


def test_a_space_in_which_nothing_can_run_comes_to_an_end(study):
    cells = study(lambda cell: ended("not applicable"), "strategy=full,head_only", "hydra.sweeper.n_trials=100")
    assert sorted(cell["strategy"] for cell in cells.seen) == ["full", "head_only"]


def test_a_run_that_found_no_value_is_a_failed_trial(study, capsys):
    with pytest.raises(SystemExit):
        study(lambda cell: CellResult((), Path("run"), "finished"), LR, "hydra.sweeper.n_trials=1")
    assert "it found no val/map" in capsys.readouterr().out


def test_two_trials_that_are_the_same_run_are_not_run_at_the_same_time(study):
    cells = study(lambda cell: 0.5, "strategy=full,head_only", "study.jobs=4", "hydra.sweeper.n_trials=8")
    assert len(cells.seen) == 8
    assert all(len({cell["strategy"] for cell in batch}) == len(batch) for batch in cells.batches)
    assert all(trial.state is TrialState.COMPLETE for trial in stored())


def test_a_run_that_is_below_the_median_is_ended_after_a_third_of_the_epochs_and_no_sooner(study, capsys):
    def play(cell: dict[str, str]) -> float:
        return 0.9 if len(stored()) <= 5 else 0.1

    words = (LR, "trainer.max_epochs=9", "hydra.sweeper.n_trials=6")
    study(play, *words, epochs=9)
    *good, hopeless = stored()
    assert all(trial.state is TrialState.COMPLETE for trial in good)
    assert (hopeless.state, hopeless.user_attrs["folder"]) == (TrialState.PRUNED, "run-at-epoch-3")
    assert hopeless.intermediate_values == pytest.approx({1: 0.1 / 9, 2: 0.2 / 9, 3: 0.3 / 9})
    assert "5 finished, 1 pruned" in capsys.readouterr().out


def test_without_a_pruner_every_run_comes_to_its_end(study):
    study(
        lambda cell: 0.9 if len(stored()) <= 5 else 0.1,
        LR,
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.pruner=null",
        epochs=9,
    )
    assert all(trial.state is TrialState.COMPLETE for trial in stored())


def test_the_best_is_the_lowest_where_the_monitor_says_so_and_its_command_is_shown(study, capsys):
    words = (LR, "seed=3", "study.jobs=2", "monitor.name=train/loss", "monitor.mode=min", "hydra.sweeper.n_trials=4")
    cells = study(learning_rate, *words)
    lowest = min((cell["optimizer.lr"] for cell in cells.seen), key=float)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"The best again: headstart train seed=3 monitor.name=train/loss monitor.mode=min optimizer.lr={lowest}"
    )


def test_a_study_at_work_in_another_process_is_left_alone(study, capsys):
    study(learning_rate, LR, "hydra.sweeper.n_trials=1")
    (file,) = Path("outputs/.study").glob("*.db")
    with optuna_study.locked(file, "x"), pytest.raises(SystemExit):
        study(learning_rate, LR, "hydra.sweeper.n_trials=2")
    assert "is at work in another process" in capsys.readouterr().err
    assert len(study(learning_rate, LR, "hydra.sweeper.n_trials=2").seen) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["strategy=full,head_onyl"], "Did you mean 'head_only'?"),
        (["optimizer.lrr=interval(0,1)"], "optimizer.lrr"),
        (["trainer.max_epochs=interval(1,8)"], "could not be converted to Integer"),
        ([LR, "rerun=true"], "rerun=true: a study goes on"),
        ([LR, "hydra.sweeper.n_trials=0"], "at least one trial"),
        ([LR, "hydra.sweeper.sampler=grid"], "optimizer.lr is an interval. Give a range"),
        ([LR, "hydra.sweeper.storage=postgresql://x/y"], "Give sqlite:///<file>"),
        ([LR, "hydra.sweeper.study_name=a/b"], "use letters, digits"),
        ([LR, "hydra.sweeper.pruner=hyperband", "trainer.max_epochs=-1"], "set trainer.max_epochs"),
        ([LR, "hydra/launcher=basic"], "hydra/launcher=basic"),
        ([LR, "hydra.sweeper.sampler=tpee"], "tpee"),
    ],
)
def test_mistakes_end_the_command_before_the_first_trial(study, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        study(lambda cell: pytest.fail("a cell was run"), *words)
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err


def test_a_name_given_to_another_study_is_refused(study, capsys):
    named = ("hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=1")
    study(learning_rate, LR, *named)
    for other in ([LR, "seed=1"], ["optimizer.lr=interval(1e-4,1e-2)"]):
        with pytest.raises(SystemExit):
            study(learning_rate, *other, *named)
        assert "study_name=mine: the study in" in capsys.readouterr().err
    assert len(study(learning_rate, LR, *named, "hydra.sweeper.seed=1").seen) == 0


def test_without_the_extra_the_message_says_what_to_install(monkeypatch, study, capsys):
    monkeypatch.setattr(plugin("hydra_plugins.headstart_optuna.sweeper"), "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        study(learning_rate, LR)
    assert stopped.value.code == 1
    message = "hydra/sweeper=optuna needs optuna: pip install 'headstart[optuna]'"
    assert capsys.readouterr().err.strip() == f"headstart: {message}"


def test_hydras_start_does_not_load_optuna():
    code = (
        "import sys, hydra.plugins.sweeper; before = set(sys.modules); import hydra_plugins.headstart_optuna.sweeper;"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.split(".")[0] in ("optuna", "sqlalchemy", "filelock", "numpy", "torch")]
