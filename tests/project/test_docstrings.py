"""The examples in the docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import types

import pytest

import augmentor

MODULES = [
    "augmentor",
    *(
        module.name
        for module in pkgutil.walk_packages(augmentor.__path__, "augmentor.")
        if not module.name.endswith("__main__")
    ),
]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples(name: str) -> list[doctest.DocTest]:
    return [test for test in FINDER.find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch, global_rng_untouched):
    import torch

    monkeypatch.chdir(tmp_path)
    for test in examples(name):
        output: list[str] = []
        with torch.random.fork_rng(devices=[]):
            result = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
        assert result.failed == 0, "".join(output)


PUBLIC = [
    (module, name)
    for module in ("augmentor", "augmentor.policies", "augmentor.training", "augmentor.quality", "augmentor.tuning")
    for name in importlib.import_module(module).__all__
    if isinstance(getattr(importlib.import_module(module), name), (type, types.FunctionType))
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_every_public_class_and_function_has_an_example(module, name):
    value = getattr(importlib.import_module(module), name)
    assert any(test.examples for test in FINDER.find(value, name)), f"{module}.{name} shows no call"
