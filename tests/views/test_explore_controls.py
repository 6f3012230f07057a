"""Sliders: from the signature of any policy, those made of others included, and back to a policy."""

from __future__ import annotations

import pytest

from augmentor._internal.registry import describe
from augmentor.exceptions import InputError
from augmentor.policies import LatentPolicy, get_policy, list_policies, policies
from augmentor.views.explore.controls import adjusted, controls


def values(policy: LatentPolicy) -> dict[str, object]:
    return {control.path: control.value for control in controls(policy)}


@pytest.mark.parametrize("name", list_policies())
def test_every_policy_has_sliders_that_reach_the_usual_strengths_and_change_nothing_else(name):
    policy = policies.get(name).example()
    found = [control for control in controls(policy) if control.kind != "bool"]
    assert found, "no number to move"
    for control in found:
        assert control.low <= control.value <= control.high
        usual = [values(strength).get(control.path, control.low) for strength in policies.get(name).strengths()]
        assert control.low <= min(usual) <= max(usual) <= control.high
        other = control.low + (1 if control.kind == "int" else 0.25)
        changed = adjusted(policy, {control.path: other})
        assert values(changed) == {**values(policy), control.path: other}
        assert str(get_policy(str(changed))) == str(changed)
    assert str(adjusted(policy, {})) == str(policy)


def test_a_new_policy_has_sliders_by_itself():
    class Twist(LatentPolicy):
        name = "twist"

        def __init__(self, angle: float = 0.5, turns: int = 3, mirrored: bool = False, axis: str = "x"):
            self.angle, self.turns, self.mirrored, self.axis = angle, turns, mirrored, axis

        @classmethod
        def strengths(cls):
            return cls(0.25), cls(0.5), cls(1.5)

    twist = Twist(axis="y")
    assert [(c.name, c.kind, c.value, c.low, c.high) for c in controls(twist)] == [
        ("angle", "float", 0.5, 0.0, 3.0), ("turns", "int", 3, 1, 6), ("mirrored", "bool", False, False, False),
    ]  # fmt: skip
    changed = adjusted(twist, {"angle": 2, "mirrored": True})
    assert describe(changed) == "twist(angle=2.0, turns=3, mirrored=True, axis='y')"


@pytest.mark.parametrize("moved", [{"strength": 1.0}, {"std": "much"}, {"std": True}], ids=str)
def test_what_is_no_value_of_a_slider_is_refused(moved):
    with pytest.raises(InputError, match=r"for policy gaussian\(std=0.5\); expected std \(float\)"):
        adjusted(get_policy("gaussian(std=0.5)"), moved)
