"""The examples in the docstrings run and print what they say, and everything public has a text and an example."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch

import augmentor

MODULES = [module.name for module in pkgutil.walk_packages(augmentor.__path__, "augmentor.")]
FINDER = doctest.DocTestFinder(exclude_empty=True)
PUBLIC = [
    (module, name)
    for module in ("augmentor", "augmentor.policies", "augmentor.autoencoders", "augmentor.data", "augmentor.gan",
                   "augmentor.training", "augmentor.quality", "augmentor.tuning")
    for name in importlib.import_module(module).__all__
]  # fmt: skip
WITH_EXAMPLES = ("augmentor", "augmentor.policies", "augmentor.training", "augmentor.quality", "augmentor.tuning")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "augmentor.tuning._tune" else ())
     for name in MODULES if not name.endswith("__main__")],
)  # fmt: skip
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch, global_rng_untouched):
    monkeypatch.chdir(tmp_path)
    for test in FINDER.find(importlib.import_module(name)):
        output: list[str] = []
        with torch.random.fork_rng(devices=[]):
            result = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
        assert result.failed == 0, "".join(output)


def test_all_that_is_public_has_a_docstring_and_the_main_things_an_example():
    lacking = []
    for module, name in PUBLIC:
        value, place = getattr(importlib.import_module(module), name), f"{module}.{name}"
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        shown = any(test.examples for test in FINDER.find(value, name)) or module not in WITH_EXAMPLES
        lacking += [place] * (not value.__doc__) + [f"{place} example"] * (not shown)
        members = vars(value).items() if inspect.isclass(value) else ()
        lacking += [
            f"{place}.{attribute}"
            for attribute, member in members
            if not attribute.startswith("_")
            and (inspect.isfunction(member) or isinstance(member, property))
            and not inspect.getdoc(getattr(value, attribute))
        ]
    assert lacking == []
