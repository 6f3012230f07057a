"""Names of members: claims, misses, and the text form."""

from __future__ import annotations

import pytest

from augmentor._internal.registry import Registry, arguments_of, describe, did_you_mean
from augmentor.exceptions import InputError, UnknownNameError


@pytest.fixture
def fruits() -> Registry:
    registry: Registry = Registry("fruit")

    @registry.register("apple")
    class Apple:
        def __init__(self, weight: float = 1.0, colours: object = ("red",), core: bool = True):
            self.weight, self.colours, self.core = weight, colours, core

    @registry.register("bowl")
    class Bowl:
        def __init__(self, *fruits: object, label: object = None):
            self.fruits, self.label = fruits, label

    return registry


def test_names_are_sorted_and_given_once(fruits):
    assert fruits.names() == ["apple", "bowl"]
    first = fruits.get("apple")
    assert first.name == "apple"
    with pytest.raises(ValueError, match=r"fruit name 'apple' is already used by .*Apple"):
        fruits.register("apple")(type("Other", (), {}))
    assert fruits.get("apple") is first


def test_a_miss_names_the_nearest_and_lists_the_rest(fruits):
    with pytest.raises(UnknownNameError, match="unknown fruit 'aple'; did you mean 'apple'\\? known: apple, bowl"):
        fruits.get("aple")
    assert did_you_mean("zzzz", ["apple"]) == "; known: apple"
    assert did_you_mean("zzzz", []) == "; known: none"


def test_arguments_are_literals_and_members_and_the_text_form_is_a_fixed_point(fruits):
    for text in ("apple", " apple ", "apple(1.0)"):
        assert arguments_of(fruits.build(text)) == {"weight": 1.0, "colours": ("red",), "core": True}
    for text, value in {"1e-3": 1e-3, "None": None, "[1, 'b', -2.0, True]": [1, "b", -2.0, True]}.items():
        assert fruits.build(f"apple(colours={text})").colours == value
    bowl = fruits.build("bowl(apple, bowl(apple(weight=2)), label=[apple(weight=3), 3, None])")
    assert [member.name for member in bowl.fruits] == ["apple", "bowl"]
    assert bowl.fruits[1].fruits[0].weight == 2
    assert bowl.label[0].weight == 3
    assert describe(fruits.build(describe(bowl))) == describe(bowl)


@pytest.mark.parametrize(
    "spec",
    ["", "apple(weight=)", "apple; bowl", "3", "apple.name", "a\0b", "apple()()", "lambda: 0",
     "bowl(" * 20000 + ")" * 20000],
    ids=lambda spec: spec[:20],
)  # fmt: skip
def test_what_is_not_a_name_or_a_call_is_refused(fruits, spec):
    with pytest.raises(InputError):
        fruits.build(spec)


def test_arguments_are_never_evaluated(fruits):
    for text in ("__import__('os')", "1 if True else 2", "[x for x in (1,)]", "apple.weight", "f'{1}'", "{[]: 1}"):
        with pytest.raises(InputError):
            fruits.build(f"apple({text})")


def test_unknown_and_superfluous_arguments_are_refused(fruits):
    with pytest.raises(UnknownNameError, match="fruit 'apple' has no argument 'wieght'; did you mean 'weight'"):
        fruits.build("apple(wieght=1)")
    with pytest.raises(InputError, match=r"fruit 'apple'.*its arguments are"):
        fruits.build("apple(1, 2, 3, 4)")
    with pytest.raises(InputError, match="multiple values"):
        fruits.build("apple(1, weight=2)")
    with pytest.raises(UnknownNameError):
        fruits.build("apple(**{'weight': 1})")
    assert fruits.create("apple", {"weight": 4}).weight == 4
    with pytest.raises(UnknownNameError):
        fruits.create("apple", {"size": 4})
    with pytest.raises(UnknownNameError):
        fruits.create("pear", {})


def test_defaults_reach_only_arguments_that_exist_and_are_not_given(fruits):
    assert fruits.build("apple", weight=7, size=3).weight == 7
    assert fruits.build("apple(weight=2)", weight=7).weight == 2
    assert fruits.build("apple(2)", weight=7).weight == 2
    assert fruits.build("bowl(apple)", weight=7).fruits[0].weight == 1.0


def test_a_hyphen_in_a_name_may_be_an_underscore():
    trees: Registry = Registry("tree")

    @trees.register("horse-chestnut")
    class HorseChestnut:
        def __init__(self, height: float = -1.0):
            self.height = height

    assert trees.get("horse_chestnut") is trees.get("horse-chestnut")
    for text in ("horse-chestnut(height=-2)", " horse_chestnut(-2)"):
        assert trees.build(text).height == -2
    assert describe(trees.build("horse-chestnut")) == "horse-chestnut(height=-1.0)"
    with pytest.raises(UnknownNameError, match="did you mean 'horse-chestnut'"):
        trees.build("horse-chesnut")
