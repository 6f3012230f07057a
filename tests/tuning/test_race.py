"""The race on tasks whose truth is known: what wins, what never may, what is skipped, what it costs, how it resumes."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from augmentor import tune
from augmentor._internal.random import fold
from augmentor.exceptions import AugmentorError, BudgetError, InputError, OutputError
from augmentor.tuning import Score, Task
from augmentor.tuning.journal import Journal
from augmentor.tuning.race import Race
from augmentor.tuning.result import plot
from augmentor.tuning.verdict import crossed_p_value, paired_p_value


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
        if isinstance(level, Exception):
            raise level
        chance = np.random.default_rng([self.seed, cell, fold(0, name)])
        return level + 0.3 * np.sin(7 * cell) + self.noise * chance.normal()

    def prepare(self, cell, deadline):
        self.spend(self.pre, deadline)
        self.prepared.append(cell)

    def spend(self, seconds, deadline):
        left = deadline - self.time
        self.time += min(seconds, left)
        if seconds > left:
            raise BudgetError("out of time", left / seconds)

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


def run(task, budget=1000.0, **options):
    return tune(None, task=task, budget=budget, progress=False, **options)


def many(count: int, gain: float = 0.0) -> dict[str, float]:
    return {f"policy {number}": gain for number in range(count)}


# The answer


def test_a_setting_that_is_better_wins_and_is_named():
    result = run(Known({**many(8, 0.4), "good": 2.0}))
    assert result.answer == "latent"
    assert result.config["setting"] == {"policy": "good"}
    assert result.config["best_control"] == "control geometric"
    assert result.sentence.startswith("Use policy good")
    assert next(row["fate"] for row in result.table if not row["control"]) == "wins"


def test_a_setting_that_only_beats_the_weaker_controls_does_not_win():
    result = run(Known({**many(4, 0.4), "fair": 0.9}))
    assert result.answer == "none"
    assert result.config["best_control"] == "control geometric"
    assert result.sentence.startswith("None")


def test_lower_is_better_where_the_task_says_so():
    task = Known({"bad": 3.0, "good": -1.0}, controls={"none": 0.0, "geometric": 1.0})
    task.larger_is_better = False
    result = run(task)
    assert (result.answer, result.config["setting"]) == ("latent", {"policy": "good"})
    assert result.config["best_control"] == "control none"


@pytest.mark.parametrize(("kind", "noise"), [(Known, 1.0), (Images, 0.1)])
def test_noise_alone_is_hardly_ever_taken_for_a_gain(kind, noise):
    answers = Counter()
    for seed in range(40):
        task = kind(many(12), controls=dict.fromkeys(("none", "geometric"), 0.0), noise=noise, seed=seed)
        answers[run(task, 300.0, seed=seed).answer] += 1
    assert answers["none"] >= 37


def test_a_gain_of_fifteen_points_is_found_with_fifty_images():
    found, gains = 0, []
    for seed in range(20):
        task = Images({**many(6), "good": 0.55}, controls={"none": 0.0, "geometric": -0.3}, seed=seed)
        result = run(task, 300.0, seed=seed)
        found += result.answer == "latent" and result.config["setting"] == {"policy": "good"}
        gains.append(np.mean(result.config["final"]) - np.mean(result.config["control_final"]))
    assert 0.1 < np.mean(gains) < 0.2
    assert found >= 14


def test_a_larger_budget_finds_a_smaller_gain_by_more_repeats():
    found, gains = Counter(), []
    for seed, budget in itertools.product(range(20), (12.0, 300.0)):
        task = Images({"good": 0.9}, controls={"none": 0.0}, seed=seed)
        task.luck = 3.0  # as with few labels, where most of what differs is the luck of single trainings
        result = run(task, budget, seed=seed)
        found[budget] += result.answer == "latent"
        gains.append(np.mean(result.config["final"]) - np.mean(result.config["control_final"]))
    assert 0.08 < np.mean(gains) < 0.14
    assert found[12.0] <= 12
    assert found[300.0] >= 18


def test_a_control_that_looked_poor_in_the_search_has_to_be_beaten_too():
    task = Known({**many(3, 0.3), "good": 0.8}, controls={"none": 0.0, "geometric": 0.1})
    task.levels["geometric"] = task.levels["none"] = 0.0
    plain = task.evaluate
    # Fresh cells show what geometry can do; before, it only looked as good as the other.
    task.evaluate = lambda setting, cell, deadline: (
        plain(setting, cell, deadline) + (cell >= 6 and setting.get("control") == "geometric")
    )
    result = run(task)
    assert (result.answer, result.config["best_control"]) == ("none", "control geometric")
    assert all(row["p_value"] == 1.0 for row in result.table if row["final"] and not row["control"])
    assert [len(row["final"]) for row in result.table if row["control"]] == [10, 10]


def test_the_final_is_held_on_cells_that_decided_nothing_before():
    task = Known({**many(5), "good": 2.0})
    result = run(task)
    cells = {name: {cell for called, cell in task.calls if called == name} for name in ("none", "geometric", "good")}
    assert cells["none"] == set(range(6))
    assert cells["geometric"] == cells["good"] == set(range(16))
    (best,) = [row for row in result.table if row["fate"] == "wins"]
    assert (len(best["search"]), len(best["final"])) == (6, 10)
    assert result.config["final"] == best["final"]


def test_the_paired_test_is_students():
    differences = [0.02, 0.03, -0.01, 0.02, 0.03, 0.01]
    assert paired_p_value(differences) == pytest.approx(ttest_1samp(differences, 0, alternative="greater").pvalue)
    assert paired_p_value([-d for d in differences]) == pytest.approx(1 - paired_p_value(differences))
    assert (paired_p_value([0.1, 0.1]), paired_p_value([0.0, 0.0]), paired_p_value([0.5])) == (0.0, 1.0, 1.0)


def test_the_test_over_samples_is_students_where_trainings_have_no_luck():
    # In each training as many gain as in any other: only the samples differ.
    rng = np.random.default_rng(0)
    by_sample = rng.permutation([1] * 12 + [0] * 24 + [-1] * 3)
    samples, trainings = np.tile(np.arange(39), 2), np.repeat(np.arange(2), 39)
    student = ttest_1samp(by_sample, 0, alternative="greater").pvalue
    assert crossed_p_value([*by_sample] * 2, samples, trainings) == pytest.approx(student)
    assert crossed_p_value([*-by_sample] * 2, samples, trainings) == pytest.approx(1 - student)
    assert crossed_p_value([*by_sample] * 2, samples, trainings, [7] * 78) == pytest.approx(student)


def test_luck_that_a_training_shares_among_its_samples_is_no_gain():
    # The same 20 of 60 differences of 1 and 10 of -1, once spread over six trainings and once owed to three of them.
    spread_out = [1, 1, 0, -1, 0, 0] * 10
    lumped = [1] * 20 + [0] * 30 + [-1] * 10
    samples, trainings = [*range(30)] * 2, np.repeat(np.arange(6), 10)
    assert crossed_p_value(spread_out, samples, trainings) < 0.12
    assert crossed_p_value(lumped, samples, trainings) > 0.2
    assert crossed_p_value([1] * 10, range(10), [0] * 10) == 1.0  # one training tells nothing


def test_what_trainings_share_is_as_uncertain_as_few_trainings_are():
    # 60 samples once each, in three trainings whose means are 0.8, 0.4 and 0: the trainings' variance stands for all.
    gains = [1] * 16 + [0] * 4 + [1] * 8 + [0] * 12 + [0] * 20
    p_value = crossed_p_value(gains, range(60), np.repeat(np.arange(3), 20))
    of_samples = np.var(gains, ddof=1) / 60
    of_trainings = np.var([0.8, 0.4, 0.0], ddof=1) / 3
    variance = of_samples + of_trainings - np.var(gains) / 60
    free = variance**2 / (of_samples**2 / 59 + of_trainings**2 / 2)
    assert 2 <= free < 2.2
    assert p_value == pytest.approx(t.sf(0.4 / np.sqrt(variance), free))


def test_weights_of_samples_stand_for_shares():
    # One class of six that gains, one of two that loses as much: half and half, there is no gain.
    by_class, weights = [1, 1, 0, 1, 1, 0, -1, -1], [1 / 6] * 6 + [1 / 2] * 2
    samples, trainings = [*range(8)] * 2, [0, 1] * 8
    assert crossed_p_value(by_class * 2, samples, trainings) == pytest.approx(0.226, abs=0.001)
    # By hand: mean -1/6, n = 1 / (6 / 12**2 + 2 / 4**2) = 6, variance 0.125 * 6 / 5, 5 degrees of freedom.
    assert crossed_p_value(by_class * 2, samples, trainings, weights * 2) == pytest.approx(0.658, abs=0.001)


def test_differences_that_cancel_within_samples_tell_nothing():
    both_ways = [-1, -1, 1, 1, 1, 1, 1, -1, -1, -1]
    assert crossed_p_value(both_ways, [0, 1, 2, 3, 4] * 2, [0, 1, 0, 1, 2, 5, 4, 3, 4, 3]) == 1.0


def test_the_final_takes_whole_repeats_of_the_cross_validation():
    for budget, repeats in ((1000.0, 10), (100.0, 5), (20.0, 1)):
        task = Images(many(30), controls={"none": 0.0, "geometric": 0.0})
        result = run(task, budget)
        finals = {len(row["final"]) for row in result.table} - {0}
        assert finals == {3 * repeats}, budget
        assert f"over 50 samples, {repeats} fresh repeat" in result.sentence


def test_whether_each_image_came_out_right_is_kept(tmp_path):
    task = Images(many(3), controls={"none": 0.0})
    result = run(task, out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/trials.jsonl").read_text().splitlines()]
    assert {len(line["right"]) for line in lines} == {16, 17}
    for line in lines:
        assert line["score"] == pytest.approx(line["right"].count("1") / len(line["right"]))
    again = Images(many(3), controls={"none": 0.0})
    assert run(again, out=tmp_path / "run").table == result.table
    assert again.calls == []


# The race


def test_the_controls_run_on_every_cell_that_any_setting_reaches():
    task = Known({**many(10, 0.2), "good": 2.0})
    run(task)
    for _, cell in [call for call in task.calls if call[1] < 6]:
        assert {("none", cell), ("geometric", cell), ("mixup", cell)} <= set(task.calls)


def test_poor_settings_are_given_up_after_few_cells():
    task = Known({**many(20, -2.0), "good": 2.0})
    result = run(task)
    cells = Counter(name for name, cell in task.calls if cell < 6)
    assert cells["good"] == 6
    poor = [cells[name] for name in many(20)]
    assert min(poor) == 1
    assert sum(poor) < 60  # of 120
    for row in result.table:
        if row["fate"].startswith("pruned"):
            assert row["fate"] == f"pruned after {len(row['search'])}"
    assert max(poor) <= 3  # half-way at most, as the controls are better


def test_no_cell_is_scored_twice_and_the_whole_space_is_tried():
    task = Known(many(9, 0.5))
    result = run(task)
    assert max(Counter(task.calls).values()) == 1
    assert {name for name, _ in task.calls} == {*task.gains, *task.levels}
    assert "9 of 9 settings" in result.sentence


def test_a_setting_that_cannot_be_used_drops_out_and_says_why():
    result = run(Known({"broken": InputError("needs a spread"), "good": 2.0}))
    assert result.answer == "latent"
    assert [row["fate"] for row in result.table if row["setting"] == {"policy": "broken"}] == ["needs a spread"]
    with pytest.raises(InputError, match="none of 2 settings can be used here: needs a spread"):
        run(Known(dict.fromkeys("ab", InputError("needs a spread"))))


class BreaksLater(Known):
    """Settings called "broken" can be scored on the first cell alone."""

    def evaluate(self, setting, cell, deadline):
        score = super().evaluate(setting, cell, deadline)
        if setting.get("policy") == "broken" and cell > 0:
            raise InputError("needs another image")
        return score


def test_a_setting_that_drops_out_half_way_does_not_come_to_the_final():
    task = BreaksLater({"broken": 3.0, "good": 2.0})
    result = run(task)
    assert [cell for name, cell in task.calls if name == "broken"] == [0, 1]
    assert result.answer == "latent"
    assert result.config["setting"] == {"policy": "good"}
    rejected = run(Known({"good": 2.0}))  # nothing doubles its p
    assert [row["p_value"] for row in result.table if row["setting"] == {"policy": "good"}] == [
        row["p_value"] for row in rejected.table if row["setting"] == {"policy": "good"}
    ]


def test_a_control_that_fails_is_an_error():
    with pytest.raises(AugmentorError, match="no such geometry"):
        run(Known(many(2), controls={"none": 0.0, "geometric": InputError("no such geometry")}))


# The budget


@pytest.mark.parametrize("budget", [40, 55, 80, 150, 400])
@pytest.mark.parametrize("pre", [0.0, 2.0])
def test_the_budget_is_never_passed(budget, pre):
    durations = {"policy 3": 9.0, "policy 5": 0.1, "geometric": 2.0}
    task = Known({**many(30, 0.2), "policy 7": 2.0}, seconds=lambda name: durations.get(name, 1.0), pre=pre)
    result = run(task, budget)
    assert task.time - 100 <= budget
    assert result.answer == "latent" or budget < 400


def test_the_budget_is_used():
    task = Known(many(300, 0.2))
    run(task, 200)
    assert 100 + 120 < task.time <= 100 + 200
    assert max(cell for _, cell in task.calls) == 15  # the final was held in full


def test_a_budget_that_is_larger_than_any_final_goes_to_the_search():
    task = Images(many(300), controls={"none": 0.0, "geometric": 0.0})
    result = run(task, 1000.0)
    assert {len(row["final"]) for row in result.table} == {0, 30}
    assert task.time - 100 > 900


def test_a_final_that_no_longer_fits_is_no_win():
    task = Images({"slow": 0.5}, controls={"none": 0.0}, seconds=lambda name: 13.0 if name == "slow" else 1.0)
    result = run(task, 40.0)
    assert result.answer == "none"
    assert "the budget allowed 0 of at least 3 cells" in result.sentence


def test_one_training_of_each_is_no_final():
    def task():
        whole = Images({"good": 3.0}, controls={"none": 0.0}, noise=0.0)
        whole.folds = 1
        return whole

    with pytest.raises(BudgetError, match="a budget of 5 s is too small"):  # two cells of the search, one of the final
        run(task(), 5.0)
    for budget in (6.0, 8.0, 9.0, 10.0, 11.0, 20.0):
        result = run(task(), budget)
        finals = [len(row["final"]) for row in result.table if not row["control"]]
        assert result.answer == ("latent" if finals[0] >= 2 else "none")
        assert result.answer == "latent" or "the budget allowed" in result.sentence


def test_a_budget_that_cannot_do_says_how_much_could():
    with pytest.raises(BudgetError, match=r"a budget of 5 s is too small: .* at least about 24 s") as error:
        run(Known(many(3)), 5)
    enough = int(str(error.value).split("about ")[1].split(" s")[0])
    assert run(Known(many(3)), enough).answer in ("latent", "none")
    with pytest.raises(BudgetError, match=r"at least about 2\d\d s"):  # not even one control
        run(Known(many(3), seconds=10.0), 3)


class Opens(Known):
    """Something that takes 30 s has to be made before all else."""

    opens = True

    def open(self, deadline):
        self.spend(30.0, deadline)
        self.calls.append(("open", None))


def test_what_controls_need_is_made_once_and_first_and_counted_once(tmp_path):
    task = Opens(many(3))
    least = 24  # seconds, see above
    run(task, 30.0 + least, out=tmp_path / "run")
    assert task.calls[0] == ("open", None)
    assert task.calls.count(("open", None)) == 1
    again = Opens(many(3))
    run(again, 30.0 + least, out=tmp_path / "run")
    assert again.calls == []
    with pytest.raises(BudgetError, match="a budget of 20 s is too small: it was spent before the first control"):
        run(Opens(many(3)), 20.0, out=tmp_path / "other")
    with pytest.raises(BudgetError, match="at least about 270 s"):
        run(Opens(many(3), seconds=10.0), 38.0, out=tmp_path / "other")
    assert run(Opens(many(3), seconds=10.0), 270.0).answer == "none"
    assert not (tmp_path / "other").exists()


class Heedless(Known):
    """Its first step takes 30 s whatever the deadline is."""

    opens = True

    def open(self, deadline):
        self.time += 30.0


@pytest.mark.parametrize(
    ("task", "budget"),
    [(Heedless(many(3)), 20.0), (Heedless(many(3), seconds=10.0), 45.0), (Known(many(3), seconds=10.0), 15.0)],
    ids=["opened too late", "one control", "one control and a half"],
)
def test_a_budget_that_ends_among_the_controls_is_too_small(task, budget, tmp_path):
    with pytest.raises(BudgetError, match="is too small"):
        run(task, budget, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_was_not_tried_is_said():
    assert "of 200 settings were tried" in run(Known(many(200)), 60.0).sentence


@pytest.mark.parametrize("budget", [0, -3, float("inf"), float("nan"), "10m"])
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


def test_stopped_anywhere_it_goes_on_to_the_same_files(tmp_path):
    def fresh():
        return Known({**many(12, 0.3), "good": 1.2}, pre=1.0)

    whole = run(fresh(), 150.0, out=tmp_path / "whole")
    lines = (tmp_path / "whole/trials.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 40
    for count in (1, 7, 20, len(lines) - 5, len(lines)):
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
    result = run(Known({**many(30, 0.3), "good": 2.0}), 300.0, out=tmp_path / "run")
    assert json.loads((tmp_path / "run/policy.json").read_text()) == result.config
    table = (tmp_path / "run/table.md").read_text()
    assert table == result.markdown()
    for name in ("none", "geometric", "mixup"):
        assert f"control {name}" in table
    assert table.count("\n| ") == len(result.table)
    assert (tmp_path / "run/tune.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in Path(tmp_path / "run").iterdir()) == [
        "policy.json", "run.json", "table.md", "trials.jsonl", "tune.png",
    ]  # fmt: skip


def test_all_controls_are_drawn(monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.axvline", lambda axis, at, **style: drawn.append(at))
    controls = {f"control {number}": float(number) for number in range(7)}
    task = Known(many(2), controls=controls, noise=0.0)
    race = Race(task, Journal(None, task.clock), budget=1000.0, seed=0, progress=False)
    plot(task, race.run())
    assert len(set(drawn)) == 7


def test_a_budget_that_was_too_small_leaves_nothing_behind(tmp_path):
    with pytest.raises(BudgetError):
        run(Known(many(2)), 5, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    run(Known(many(2)), out=tmp_path / "run")


def test_a_folder_with_another_run_is_refused(tmp_path):
    run(Known(many(2)), out=tmp_path / "run")
    with pytest.raises(OutputError, match=r"budget: 1000\.0 there, 999\.0 asked"):
        run(Known(many(2)), 999.0, out=tmp_path / "run")
    with pytest.raises(OutputError, match="holds a run already"):
        run(Known(many(2)), out=tmp_path / "run", resume=False)
    journal = tmp_path / "run/trials.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[3:]))
    with pytest.raises(OutputError, match="remove the folder to start again"):
        run(Known(many(2)), out=tmp_path / "run")
    journal.write_text("nonsense\n")
    with pytest.raises(OutputError, match="is not the journal"):
        run(Known(many(2)), out=tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds other things"):
        run(Known(many(2)), out=tmp_path / "mine")
