"""The public surface is a decision: these names, at this cost of import, each with a text that explains it."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import augmentor

NAMES = [
    "LatentAugment",
    "QualityGate",
    "AugmentedLoader",
    "MixedDataset",
    "ShardDataset",
    "LatentCache",
    "Autoencoder",
    "load_autoencoder",
    "list_autoencoders",
    "list_policies",
    "generate_shards",
    "tune",
    "LatentSampler",
    "__version__",
]
TRAINERS = ["AutoencoderTrainer", "GANTrainer", "System", "get_system", "get_augmentation"]
POLICIES = [
    "Gaussian",
    "Posterior",
    "Interpolate",
    "Extrapolate",
    "Slerp",
    "Smote",
    "ClassGaussian",
    "Guided",
    "Adversarial",
    "Compose",
    "OneOf",
]
OTHERS = ["augmentor.training", "augmentor.policies", "augmentor.autoencoders", "augmentor.data", "augmentor.gan",
          "augmentor.quality", "augmentor.tuning"]  # fmt: skip


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has imported after running the code."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(result.stdout.split())


def test_the_public_names_are_those_that_were_decided():
    assert augmentor.__all__ == NAMES
    assert set(NAMES) <= set(dir(augmentor))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_resolves_and_explains_itself(name):
    value = getattr(augmentor, name)
    if name != "__version__":
        assert (value.__doc__ or "").strip()
        assert value.__module__.startswith("augmentor.")


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'LatentAugmentor'"):
        augmentor.LatentAugmentor  # noqa: B018


def test_star_import_gives_exactly_the_public_names():
    space: dict[str, object] = {}
    exec("from augmentor import *", space)
    assert space.keys() - {"__builtins__"} == set(NAMES)


@pytest.mark.parametrize(("module", "names"), [("augmentor.training", TRAINERS), ("augmentor.policies", POLICIES)])
def test_trainers_and_policies_are_where_the_contract_says(module, names):
    assert set(names) <= set(importlib.import_module(module).__all__)


@pytest.mark.parametrize("module", OTHERS)
def test_every_public_class_and_function_and_its_methods_have_a_docstring(module):
    home = importlib.import_module(module)
    for name in home.__all__:
        value = getattr(home, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert value.__doc__, f"{module}.{name} has no docstring"
        if inspect.isclass(value):
            for attribute, member in vars(value).items():
                if attribute.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
                    continue
                assert inspect.getdoc(getattr(value, attribute)), f"{module}.{name}.{attribute} has no docstring"


def test_importing_the_package_imports_nothing_heavy():
    loaded = modules_after("import augmentor; augmentor.__version__; dir(augmentor)")
    assert "augmentor" in loaded
    assert (
        loaded & {"torch", "torchvision", "numpy", "albumentations", "matplotlib", "sklearn", "h5py", "click"} == set()
    )


def test_the_transform_imports_neither_albumentations_nor_matplotlib_nor_sklearn():
    loaded = modules_after("import augmentor; augmentor.LatentAugment, augmentor.MixedDataset")
    assert "torch" in loaded
    assert loaded & {"albumentations", "cv2", "matplotlib", "sklearn", "scipy", "torch_fidelity", "ray"} == set()


def test_folders_are_reached_without_importing_them_first():
    code = "import augmentor; augmentor.training.GANTrainer, augmentor.policies.Gaussian, augmentor.quality.evaluate"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
