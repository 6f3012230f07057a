"""The race on tasks whose truth is known: what wins, what never may, what is skipped, what it costs, how it resumes."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest

from augmentor import tune
from augmentor._internal.random import fold
from augmentor.exceptions import AugmentorError, BudgetError, InputError, OutputError
from augmentor.tuning import Cost, Score, Task


class Known(Task):
    """Scores are a level for each setting or control, an effect of the cell, and noise; time is counted, not passed."""

    name = "points"

    def __init__(self, gains, *, noise=0.1, seconds=1.0, controls=None, seed=0, pre=0.0):
        self.gains, self.noise, self.seconds, self.seed, self.pre = gains, noise, seconds, seed, pre
        self.levels = controls or {"none": 0.0, "geometric": 1.0, "mixup": 0.5}
        self.controls, self.prepares = tuple(self.levels), pre > 0
        self.space = {"policy": tuple(gains)}
        self.time, self.calls, self.prepared = 100.0, [], []
        self.clock = lambda: self.time

    def evaluate(self, setting, cell, deadline):
        name = setting.get("control") or setting["policy"]
        self.spend(self.seconds(name) if callable(self.seconds) else self.seconds, deadline)
        self.calls.append((name, cell))
        level = self.levels[name] if "control" in setting else self.gains[name]
        level = level(cell) if callable(level) else level
        if isinstance(level, Exception):
            raise level
        noise = np.random.default_rng([self.seed, cell, fold(0, name)])
        return level + 0.3 * np.sin(7 * cell) + self.noise * noise.normal()

    def prepare(self, cell, deadline):
        self.spend(self.pre, deadline)
        self.prepared.append(cell)

    def spend(self, seconds, deadline):
        left = deadline - self.time
        self.time += min(seconds, left)
        if seconds > left:
            raise BudgetError("out of time")

    def settings(self):
        return {"task": "known", "gains": [repr(gain) for gain in self.gains.values()], "seed": self.seed}


class Images(Known):
    """Each of 50 images comes out right by its difficulty, its liking for a setting, and a training's luck."""

    folds, count, luck = 3, 50, 0.5

    def evaluate(self, setting, cell, deadline):
        level = super().evaluate(setting, cell, deadline)
        name = fold(0, setting.get("control") or setting["policy"])
        image = np.random.default_rng(self.seed).normal(size=self.count)
        image += 0.5 * np.random.default_rng([self.seed, name]).normal(size=self.count)
        luck = self.luck * np.random.default_rng([self.seed, cell, name]).normal(size=self.count)
        rows = self.samples(cell)
        right = level + image[rows] + luck[rows] > 0
        return Score(right.mean(), right)

    def samples(self, cell):
        repeat, number = divmod(cell, self.folds)
        return np.random.default_rng([self.seed, repeat]).permutation(self.count)[number :: self.folds]


class Estimated(Known):
    """Knows beforehand what it will cost."""

    estimates = True

    def estimate(self):
        seconds = self.seconds if callable(self.seconds) else lambda name: self.seconds
        return Cost(seconds("geometric"), seconds("policy 0"))


class Opens(Known):
    """Something that takes 30 s has to be made before all else."""

    opens = True

    def open(self, deadline):
        self.spend(30.0, deadline)
        self.calls.append(("open", None))


def run(task, budget=1000.0, **options):
    return tune(None, task=task, budget=budget, progress=False, **options)


def many(count: int, gain: float = 0.0) -> dict[str, float]:
    return {f"policy {number}": gain for number in range(count)}


def row_of(result, policy):
    return next(row for row in result.table if row["setting"] == {"policy": policy})


# The answer


@pytest.mark.parametrize(
    ("gains", "sign", "answer", "setting", "control"),
    [
        ({**many(8, 0.4), "good": 2.0}, 1, "latent", "good", "geometric"),
        ({**many(4, 0.4), "fair": 0.9}, 1, "none", "fair", "geometric"),  # only better than the weaker controls
        ({"bad": 3.0, "good": -1.0}, -1, "latent", "good", "none"),
    ],
)
def test_a_setting_that_beats_all_controls_wins(gains, sign, answer, setting, control):
    task = Known(gains)
    task.larger_is_better = sign > 0
    result = run(task)
    assert result.answer == answer
    assert result.config["setting"] == {"policy": setting}
    assert result.config["best_control"] == f"control {control}"
    assert result.sentence.startswith(f"Use policy {setting}" if answer == "latent" else "None")


@pytest.mark.parametrize(("kind", "noise"), [(Known, 1.0), (Images, 0.1)])
def test_noise_alone_is_hardly_ever_taken_for_a_gain(kind, noise):
    answers = Counter()
    for seed in range(40):
        task = kind(many(12), controls=dict.fromkeys(("none", "geometric"), 0.0), noise=noise, seed=seed)
        answers[run(task, 300.0, seed=seed).answer] += 1
    assert answers["none"] >= 37


@pytest.mark.parametrize(
    ("others", "gain", "luck", "budget", "found"),
    [
        (6, 0.55, 0.5, 300.0, range(14, 21)),  # fifteen points
        (0, 0.9, 3.0, 12.0, range(13)),  # eleven points, and much luck of single trainings
        (0, 0.9, 3.0, 300.0, range(18, 21)),
    ],
)
def test_a_gain_with_fifty_images_is_found_by_enough_repeats(others, gain, luck, budget, found):
    wins = 0
    for seed in range(20):
        task = Images({**many(others), "good": gain}, controls={"none": 0.0, "geometric": -0.3}, seed=seed)
        task.luck = luck
        result = run(task, budget, seed=seed)
        wins += result.answer == "latent" and result.config["setting"] == {"policy": "good"}
    assert wins in found


def test_a_control_that_looked_poor_in_the_search_has_to_be_beaten_too():
    # Fresh cells show what geometry can do; before, it only looked as good as the other.
    result = run(Known({**many(3, 0.3), "good": 0.8}, controls={"none": 0.0, "geometric": lambda cell: cell >= 6}))
    assert (result.answer, result.config["best_control"]) == ("none", "control geometric")


def test_the_final_is_held_on_cells_that_decided_nothing_before():
    task = Known({**many(5), "good": 2.0})
    result = run(task)
    cells = {name: {cell for called, cell in task.calls if called == name} for name in ("mixup", "geometric", "good")}
    assert cells["mixup"] == set(range(6))  # far behind, so it is spared the final
    assert cells["geometric"] == cells["good"] == set(range(16))
    assert result.config["final"] == row_of(result, "good")["final"]


@pytest.mark.parametrize(("budget", "repeats"), [(1000.0, 10), (20.0, 1)])
def test_the_final_takes_whole_repeats_of_the_cross_validation(budget, repeats):
    result = run(Images(many(30), controls={"none": 0.0, "geometric": 0.0}), budget)
    assert {len(row["final"]) for row in result.table} - {0} == {3 * repeats}
    assert f"over 50 samples, {repeats} new repeat" in result.sentence


# The controls


class Usual(Images):
    """Twelve controls; settings go on top of the best."""

    def __init__(self, levels, gains=None, **rest):
        super().__init__(gains or {"good": 0.0}, controls={f"c{n}": level for n, level in enumerate(levels)}, **rest)
        self.settled = []

    def settle(self, control):
        self.settled.append(control)


def test_half_of_the_controls_leave_after_each_rung_and_the_default_stays():
    task = Usual([0.0] * 12)
    run(task, 1000.0)
    cells = Counter(name for name, cell in task.calls if cell < 6 and name.startswith("c"))
    assert min(cells.values()) == 3
    assert sum(count > 3 for count in cells.values()) <= 6
    assert cells["c0"] == 6


def test_controls_that_are_far_behind_leave_and_settings_go_on_top_of_the_best():
    task = Usual([0.0] * 10 + [2.0, 1.6], noise=0.01)
    result = run(task, 1000.0)
    assert (result.config["best_control"], task.settled) == ("control c10", ["c10"])
    assert row_of_control(result, "c5")["fate"] == "dropped after cell 3"


def test_settings_go_on_top_of_the_best_control_that_takes_them_and_have_to_beat_the_others_too():
    task = Usual([0.0] * 10 + [2.0, 1.6], {"good": 1.8}, noise=0.01)
    task.takes_settings = lambda control: control != "c10"
    result = run(task, 1000.0)
    assert task.settled == ["c11"]
    assert (result.answer, result.config["best_control"]) == ("none", "control c10")


def test_the_default_is_recommended_unless_another_is_better_beyond_the_luck_of_the_best_of_several():
    found = Counter()
    for seed in range(30):
        task = Usual([0.0] * 6, seed=seed)
        found[run(task, 150.0, seed=seed).config["best_control"] == "control c0"] += 1
    assert found[True] > 22  # of 30; 15 if a lead of one standard error were enough, 5 if the best score decided
    assert run(Usual([0.0, 0.0, 1.5, 0.0]), 150.0).config["best_control"] == "control c2"


def test_a_small_budget_still_names_a_control_that_is_much_better():
    assert run(Usual([0.0] * 11 + [3.0]), 40.0).config["best_control"] == "control c11"


def row_of_control(result, name):
    return next(row for row in result.table if row["setting"] == {"control": name})


# The race


def test_poor_settings_are_given_up_after_few_cells():
    task = Known({**many(20, -2.0), "good": 2.0})
    run(task)
    cells = Counter(name for name, cell in task.calls if cell < 6)
    assert cells["good"] == 6
    poor = [cells[name] for name in many(20)]
    assert sum(poor) < 60  # of 120
    assert max(poor) <= 3  # half-way at most, as the controls are better


def test_the_whole_space_is_tried_no_cell_twice_and_controls_on_every_cell():
    task = Known(many(9, 0.5))
    result = run(task)
    assert max(Counter(task.calls).values()) == 1
    assert {name for name, _ in task.calls} == {*task.gains, *task.levels}
    assert "9 of 9 settings" in result.sentence
    searched = {cell for _, cell in task.calls if cell < 6}
    assert {(name, cell) for name in task.levels for cell in searched} <= set(task.calls)


def test_a_setting_that_cannot_be_used_drops_out_and_says_why():
    result = run(Known({"broken": InputError("needs a std"), "good": 2.0}))
    assert result.answer == "latent"
    assert row_of(result, "broken")["fate"] == "needs a std"
    with pytest.raises(InputError, match="none of 2 settings can be used here: needs a std"):
        run(Known(dict.fromkeys("ab", InputError("needs a std"))))
    with pytest.raises(AugmentorError, match="no such geometry"):  # a control has to be usable
        run(Known(many(2), controls={"none": 0.0, "geometric": InputError("no such geometry")}))


def test_a_setting_that_drops_out_half_way_does_not_come_to_the_final():
    task = Known({"broken": lambda cell: InputError("needs another image") if cell else 3.0, "good": 2.0})
    result = run(task)
    assert [cell for name, cell in task.calls if name == "broken"] == [0, 1]
    assert (result.answer, result.config["setting"]) == ("latent", {"policy": "good"})


# The budget


@pytest.mark.parametrize(("budget", "pre"), [(40, 0.0), (400, 2.0)])
def test_the_budget_is_never_passed(budget, pre):
    durations = {"policy 3": 9.0, "policy 5": 0.1, "geometric": 2.0}
    task = Known({**many(30, 0.2), "policy 7": 2.0}, seconds=lambda name: durations.get(name, 1.0), pre=pre)
    result = run(task, budget)
    assert task.time - 100 <= budget
    assert result.answer == "latent" or budget < 400


def test_the_budget_is_used():
    task = Images(many(100), controls={"none": 0.0})
    result = run(task, 300.0)  # larger than any final: the rest goes to the search
    assert {len(row["final"]) for row in result.table} == {0, 30}
    assert task.time - 100 > 270


def test_a_budget_that_cannot_do_says_how_much_could():
    said = r"a budget of 11 s is too small: .* at least about 12 s"  # two controls, then five cells of two rows
    with pytest.raises(BudgetError, match=said):
        run(Known({"good": 3.0}), 11)
    assert run(Known({"good": 3.0}), 12).answer == "none"


def test_controls_that_do_not_fit_are_left_out_and_named():
    slow = {"default": 1.0, "quick": 1.2, "slow": 5.0, "none": 0.0}
    task = Images({"good": 3.0}, controls=slow, seconds=lambda name: 30.0 if name == "slow" else 1.0)
    result = run(task, 30.0)
    assert task.time - 100 <= 30.0
    fates = {row["setting"]["control"]: row["fate"] for row in result.table if row["control"]}
    assert fates["slow"] == "not scored: budget too small"
    assert "not scored: budget too small" not in (fates["default"], fates["quick"], fates["none"])
    assert "the budget did not suffice for control default, control slow." in result.sentence
    assert (result.answer, result.config["best_control"]) == ("none", "control quick")
    assert "did not suffice" not in run(task, 3000.0).sentence


def test_a_control_that_was_left_out_is_not_beaten():
    class Short(Images):
        """So short of time for one control that it is left out at once."""

        def evaluate(self, setting, cell, deadline):
            if setting.get("control") == "slow":
                raise BudgetError("out of time")
            return super().evaluate(setting, cell, deadline)

    controls = {"default": 0.0, "slow": 5.0, "none": 0.0}
    assert run(Images({"good": 3.0}, controls=controls | {"slow": 0.0})).answer == "latent"
    result = run(Short({"good": 3.0}, controls=controls))
    assert (result.answer, "the budget did not suffice for control slow." in result.sentence) == ("none", True)


def test_an_estimate_refuses_a_small_budget_before_anything_is_done(tmp_path):
    task = Estimated(many(3), seconds=10.0)
    with pytest.raises(BudgetError, match=r"at least about 150 s; increase"):  # a quarter more, in case it is too low
        run(task, 149, out=tmp_path / "run")
    assert (task.calls, list(tmp_path.iterdir())) == ([], [])
    slow = Estimated(many(3), seconds=lambda name: 30.0 if name.startswith("policy") else 1.0)
    with pytest.raises(BudgetError, match=r"at least about 197 s; increase"):
        run(slow, 196)


def test_one_line_says_beforehand_what_the_budget_is_worth(capsys):
    for kind, budget, least, whole in ((Estimated, 25, 15, 29), (Estimated, 100, 15, 29), (Known, 13, 13, 23)):
        task = kind({"good": 3.0})
        tune(None, task=task, budget=budget)
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "Estimated time" in line)
        assert f"about {least} s to compare one latent setting with the default augmentation; {whole} s to" in line
        assert (f"With {budget} s the answer can only be 'none'" in line) == (budget < whole)


@pytest.mark.parametrize(
    ("budget", "answer", "unmet"), [(13, "none", ["none", "mixup"]), (22, "none", ["mixup"]), (23, "latent", [])]
)
def test_a_small_budget_compares_one_setting_with_the_best_control_first(budget, answer, unmet):
    task = Known({"good": 3.0, **many(5)})
    result = run(task, budget)
    compared = {name: {cell for called, cell in task.calls if called == name} for name in ("geometric", "good")}
    assert compared == {"geometric": {0, *range(6, 11)}, "good": set(range(6, 11))}  # no cell chose it
    assert (result.answer, result.config["setting"]) == (answer, {"policy": "good"})
    assert row_of(result, "good")["p_value"] < 0.001
    said = f"the budget did not suffice for {', '.join(f'control {name}' for name in unmet)}"
    assert (said in result.sentence) == bool(unmet)
    assert "1 of 6 settings were tried" in result.sentence


def test_a_setting_that_cannot_be_used_leaves_the_small_budget_to_the_next():
    result = run(Known({"broken": InputError("needs a std"), "good": 3.0}, seconds=1.0), 24.0)
    assert (result.answer, result.config["setting"]) == ("latent", {"policy": "good"})


@pytest.mark.parametrize(("slow", "said", "cells"), [
    (13.0, r"The best setting, policy slow, has points [\d.]+; ", 3),  # it runs on one cell
    (99.0, "policy slow was not scored in time; ", 1),
])  # fmt: skip
def test_if_settings_are_too_slow_for_a_final_the_budget_goes_to_the_controls(slow, said, cells, tmp_path):
    controls = {"default": 0.0, "better": 2.0, **{f"other {i}": 0.1 for i in range(12)}, "none": 0.0}
    task, again = (
        Images({"slow": 3.0}, controls=controls, seconds=lambda name: slow if name == "slow" else 1.0) for _ in range(2)
    )
    result = run(task, 40.0, out=tmp_path)
    assert task.time - 100 <= 40.0
    assert (result.answer, result.config["best_control"]) == ("none", "control better")
    assert re.search(said + "the best control, control better, has ", result.sentence)
    assert "the budget was sufficient for 0 cells of the final comparison; at least 3 are needed" in result.sentence
    assert min(len(row["search"]) for row in result.table if row["control"] and not row["fate"]) >= cells
    assert (run(again, 40.0, out=tmp_path).sentence, again.calls) == (result.sentence, [])


def test_a_final_that_is_cut_short_is_no_win():
    class Slowing(Images):
        """Another process takes the processor in the final."""

        def evaluate(self, setting, cell, deadline):
            self.seconds = 4.0 if cell > 6 else 1.0
            return super().evaluate(setting, cell, deadline)

    result = run(Slowing({"good": 5.0}, controls={"none": 0.0}), 22.0)
    assert (result.answer, result.config["best_control"]) == ("none", "control none")
    assert "the budget was sufficient for 1 cell of the final comparison; at least 3" in result.sentence


def test_what_controls_need_is_made_once_and_first_and_counted_once(tmp_path):
    task, again = Opens(many(3)), Opens(many(3))
    run(task, 30.0 + 13.0, out=tmp_path)  # the least, see above
    assert task.calls[0] == ("open", None)
    assert task.calls.count(("open", None)) == 1
    run(again, 30.0 + 13.0, out=tmp_path)
    assert again.calls == []


@pytest.mark.parametrize(("kind", "seconds", "budget"), [(Opens, 1.0, 20.0), (Opens, 10.0, 45.0), (Known, 10.0, 15.0)])
def test_a_budget_that_is_too_small_leaves_nothing_behind(kind, seconds, budget, tmp_path):
    with pytest.raises(BudgetError, match="is too small"):
        run(kind(many(3), seconds=seconds), budget, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budget", [0, float("nan"), "10m"])
def test_a_budget_is_a_positive_number(budget):
    with pytest.raises(InputError, match="positive number of seconds"):
        run(Known(many(2)), budget)


# The folder


def test_the_same_seed_gives_the_same_answer_and_another_another_search():
    def tried(seed):
        task = Known(many(60, 0.3))
        result = run(task, 120.0, seed=seed)
        return task.calls, result.table, result.config

    assert tried(1) == tried(1)
    assert tried(1)[0] != tried(2)[0]


def test_stopped_anywhere_it_resumes_to_the_same_files(tmp_path):
    def fresh():
        return Images({**many(12, 0.3), "good": 1.2}, pre=1.0)

    whole = run(fresh(), 150.0, out=tmp_path / "whole")
    lines = (tmp_path / "whole/trials.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 40
    for count in (7, len(lines) - 5, len(lines)):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "run.json").write_bytes((tmp_path / "whole/run.json").read_bytes())
        torn = b'{"setting": {"pol' if count < len(lines) else b""
        (folder / "trials.jsonl").write_bytes(b"".join(lines[:count]) + torn)
        task = fresh()
        assert run(task, 150.0, out=folder).config == whole.config
        assert len(task.calls) + len(task.prepared) == len(lines) - count
        for name in ("policy.json", "table.md", "trials.jsonl", "tune.png"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_the_files_say_what_was_found(tmp_path):
    result = run(Known({**many(30, 0.3), "good": 9.0}), 400.0, out=tmp_path)
    assert json.loads((tmp_path / "policy.json").read_text()) == result.config
    table = (tmp_path / "table.md").read_text()
    assert table == result.markdown()
    assert table.count("\n| ") == len(result.table)
    assert (tmp_path / "tune.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_with_another_run_is_refused(tmp_path):
    run(Known(many(2)), out=tmp_path / "run")
    with pytest.raises(OutputError, match=r"budget: 1000\.0 stored, 999\.0 given"):
        run(Known(many(2)), 999.0, out=tmp_path / "run")
    with pytest.raises(OutputError, match="already contains a run"):
        run(Known(many(2)), out=tmp_path / "run", resume=False)
    journal = tmp_path / "run/trials.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[3:]))
    with pytest.raises(OutputError, match="remove the folder to start again"):
        run(Known(many(2)), out=tmp_path / "run")
    journal.write_text("nonsense\n")
    with pytest.raises(OutputError, match="is not the journal"):
        run(Known(many(2)), out=tmp_path / "run")
