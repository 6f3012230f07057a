"""The public names are where the design says, and cost what an import may cost."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import augmentor

DESIGN = {
    "augmentor": {"LatentAugment", "MixedDataset", "AugmentedLoader", "LatentCache", "generate_shards", "ShardDataset",
                  "Autoencoder", "load_autoencoder", "list_autoencoders", "list_policies"},
    "augmentor.albumentations": {"LatentAugment"},
    "augmentor.training": {"AutoencoderTrainer", "GANTrainer"},
    "augmentor.policies": {"Gaussian", "Posterior", "Interpolate", "Extrapolate", "Slerp", "Smote", "ClassGaussian",
                           "Guided", "Compose", "OneOf", "list_policies"},
}  # fmt: skip


@pytest.mark.parametrize("module", DESIGN)
def test_a_star_import_gives_the_names_of_the_design_among_those_that_the_module_says(module):
    space: dict[str, object] = {}
    exec(f"from {module} import *", space)
    names = space.keys() - {"__builtins__"}
    assert DESIGN[module] <= names == set(importlib.import_module(module).__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert set(augmentor.__all__) <= set(dir(augmentor))
    with pytest.raises(AttributeError, match="has no attribute 'LatentAugmentor'"):
        augmentor.LatentAugmentor  # noqa: B018


@pytest.mark.parametrize(
    ("code", "needed", "too_heavy"),
    [
        ("augmentor.__version__; dir(augmentor)", "augmentor",
         {"torch", "torchvision", "numpy", "albumentations", "matplotlib", "sklearn", "h5py", "click"}),
        pytest.param("augmentor.LatentAugment, augmentor.MixedDataset", "torch",
                     {"albumentations", "cv2", "matplotlib", "sklearn", "scipy", "torch_fidelity", "ray"},
                     marks=pytest.mark.slow),
        pytest.param("augmentor.training.GANTrainer, augmentor.policies.Gaussian, augmentor.quality.evaluate",
                     "augmentor", {"albumentations", "cv2", "ray", "flask"}, marks=pytest.mark.slow),
    ],
    ids=["package", "transform", "folders that were not imported"],
)  # fmt: skip
def test_an_import_costs_what_it_needs(code, needed, too_heavy):
    script = f"import augmentor; {code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )
    assert needed in loaded
    assert loaded & too_heavy == set()
