"""The transform as a part of other modules: compiled, copied, pickled, saved in a checkpoint."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from augmentor import LatentAugment

SETTINGS = [{}, {"autoencoder": "digits"}, {"autoencoder": "digits", "policy": "smote", "seed": 3}]


class Model(nn.Module):
    """Owns a transform, as the model of a training loop may."""

    def __init__(self, **settings):
        super().__init__()
        self.augment = LatentAugment(p=1.0, **settings)
        self.layer = nn.Linear(64, 2)

    def forward(self, images):
        return self.layer(self.augment(images).flatten(1))


@pytest.mark.filterwarnings("ignore:policy")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_checkpoint_is_the_same_before_and_after_the_first_batch(settings):
    images, model = torch.rand(4, 1, 8, 8), Model(**settings)
    before = copy.deepcopy(model.state_dict())
    model(images)
    after = model.state_dict()
    assert list(before) == list(after) == ["layer.weight", "layer.bias"]
    for state in (before, after):
        for fresh in (Model(**settings), model):
            fresh.load_state_dict(state)
    assert list(nn.Sequential(model).state_dict()) == ["0.layer.weight", "0.layer.bias"]
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({"layer.weight": before["layer.weight"]})
    weight = next(model.augment.autoencoder.parameters()).clone()
    # Of a checkpoint that held the weights, maybe those of another autoencoder.
    old = {
        **before,
        "augment.autoencoder.encoder.0.weight": torch.zeros(3),
        "augment.autoencoder.other": torch.zeros(3),
    }
    Model(**settings).load_state_dict(old)
    assert torch.equal(next(model.augment.autoencoder.parameters()), weight)


@pytest.mark.filterwarnings("ignore:policy")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))], ids=["copy", "pickle"]
)
def test_copies_made_before_and_after_the_first_batch_make_the_same(settings, again):
    images, augment = torch.rand(4, 1, 8, 8), LatentAugment(p=1.0, **settings)
    early = again(augment)
    torch.manual_seed(0)
    expected = augment(images)
    for twin in (early, again(augment), again(again(augment))):
        torch.manual_seed(0)
        assert torch.equal(twin(images), expected)
        assert repr(twin) == repr(augment)


def test_the_initialisation_of_a_model_does_not_reach_the_autoencoder():
    images, model = torch.rand(4, 1, 8, 8), Model(autoencoder="digits", seed=0)
    expected = model.augment(images)
    model.apply(lambda module: nn.init.zeros_(module.weight) if hasattr(module, "weight") else None)
    assert not model.layer.weight.any()
    assert torch.equal(model.augment(images), expected)


def test_a_compiled_module_or_function_that_holds_one_breaks_its_graph_there():
    images, model = torch.rand(4, 1, 8, 8), Model(autoencoder="digits", seed=0)
    pipeline = v2.Compose([LatentAugment("digits", p=1.0, seed=0), v2.Normalize([0.5], [0.5])])
    for call in (model, lambda batch: 2 * pipeline(batch), lambda batch: 2 * pipeline.transforms[0].synthesize(batch)):
        torch.testing.assert_close(torch.compile(call, backend="aot_eager")(images), call(images))


@pytest.mark.slow
def test_with_the_default_compiler_gradients_reach_what_surrounds_it():
    images, model = torch.rand(4, 1, 8, 8), Model(autoencoder="digits", seed=0)
    compiled = torch.compile(model)(images)
    torch.testing.assert_close(compiled, model(images))
    compiled.sum().backward()
    assert model.layer.weight.grad is not None
