"""Every pair of GAN networks keeps the contract of `gan/networks/_base.py`."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import equal
from torch.nn.utils.parametrize import is_parametrized

from augmentor._internal.weights import load_network, save_network
from augmentor.exceptions import InputError, ShapeError
from augmentor.gan import load_generator
from augmentor.gan.networks import DISCRIMINATORS, get_discriminator, get_generator

# Those that draw with a decoder have no counterpart: tests/gan/test_methods_of_autoencoders.py has them.
pair = pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
classes = pytest.mark.parametrize("num_classes", [0, 3])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)  # initial weights come from the global generator


def labels_for(num_classes: int, rows: int) -> torch.Tensor | None:
    return torch.arange(rows) % num_classes if num_classes else None


@pair
@pytest.mark.parametrize(
    ("shape", "num_classes"),
    [((1, 8, 8), 0), ((1, 28, 28), 3), ((3, 8, 128), 3), ((1, 31, 17), 0)],
    ids=str,
)
def test_shapes_and_ranges(name, shape, num_classes):
    generator = get_generator(name)(shape, latent_dim=5, width=4, num_classes=num_classes)
    discriminator = get_discriminator(name)(shape, width=4, num_classes=num_classes)
    labels = labels_for(num_classes, 3)
    images = generator(torch.randn(3, 5), labels)
    assert images.shape == (3, *shape)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    logits = discriminator(images, labels)
    assert logits.shape == (3,)
    assert logits.isfinite().all()


@pair
def test_generators_are_wholly_averaged_by_their_parameters(name):
    assert not list(get_generator(name).example(3).buffers())


@pair
@classes
def test_gradients_reach_every_parameter(name, num_classes):
    # Width 16, for at width 8 each channel is a group of its own and a bias before the norm has no effect.
    generator = get_generator(name)((1, 16, 16), latent_dim=5, width=16, num_classes=num_classes)
    discriminator = get_discriminator(name)((1, 16, 16), width=16, num_classes=num_classes)
    labels = labels_for(num_classes, 6)
    discriminator(generator(torch.randn(6, 5), labels), labels).sum().backward()
    for network in (generator, discriminator):
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name


@pair
@pytest.mark.parametrize(("num_classes", "training"), [(0, True), (3, True), (3, False)])
def test_a_row_does_not_depend_on_its_companions(name, num_classes, training):
    generator = get_generator(name).example(num_classes).train(training)
    discriminator = get_discriminator(name).example(num_classes).train(training)
    labels, noise = labels_for(num_classes, 6), torch.randn(6, generator.latent_dim)
    two = None if labels is None else labels[:2]
    with torch.no_grad():
        images = generator(noise, labels)
        torch.testing.assert_close(generator(noise[:2], two), images[:2], rtol=1e-5, atol=1e-6)
        # A forward in train mode is one step of the spectral norm's iteration: start both from one state.
        twin = copy.deepcopy(discriminator)
        torch.testing.assert_close(twin(images[:2], two), discriminator(images, labels)[:2], rtol=1e-4, atol=1e-5)


@pair
@classes
def test_saved_networks_come_back_exactly(name, num_classes, tmp_path):
    generator, discriminator = get_generator(name).example(num_classes), get_discriminator(name).example(num_classes)
    labels, noise = labels_for(num_classes, 4), torch.randn(4, generator.latent_dim)
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    for _ in range(3):  # moves weights, and the vectors of the spectral norm away from their start
        optimizer.zero_grad()
        discriminator(generator(noise, labels), labels).sum().backward()
        optimizer.step()

    save_network(generator, tmp_path / "generator.safetensors")
    save_network(discriminator, tmp_path / "discriminator.safetensors")
    torch.manual_seed(1)  # other initial weights than those saved
    loaded = load_generator(tmp_path / "generator.safetensors")
    critic = load_network(tmp_path / "discriminator.safetensors", "discriminator", DISCRIMINATORS)
    assert equal(loaded, generator)
    assert equal(critic, discriminator)
    with torch.no_grad():
        assert torch.equal(loaded(noise, labels), generator.eval()(noise, labels))


def test_every_layer_of_the_residual_discriminator_has_a_spectral_norm():
    discriminator = get_discriminator("resnet")((1, 16, 16), width=8, num_classes=3)
    layers = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.Embedding)
    assert all(is_parametrized(m, "weight") for m in discriminator.modules() if isinstance(m, layers))


@pair
def test_labels_change_images_and_logits(name):
    generator, discriminator = get_generator(name).example(3), get_discriminator(name).example(3)
    noise, zero, one = torch.randn(1, generator.latent_dim), torch.tensor([0]), torch.tensor([1])
    images = generator(noise, zero)
    assert not torch.allclose(images, generator(noise, one), atol=1e-4)
    discriminator.eval()
    assert not torch.allclose(discriminator(images, zero), discriminator(images, one), atol=1e-4)


@pair
def test_wrong_labels_are_refused(name):
    for family, batch in ((get_generator, torch.randn(2, 6)), (get_discriminator, torch.rand(2, 1, 8, 8))):
        with pytest.raises(InputError, match="unconditional"):
            family(name).example()(batch, torch.tensor([0, 1]))
        for labels, said in [
            (None, "no labels"), (torch.tensor([0, 1, 2]), r"class numbers \(2,\)"), (torch.eye(3)[:2], "argmax"),
            (torch.tensor([0, 3]), "from 0 to 2, got 0 to 3"), (torch.tensor([-1, 0]), "got -1 to 0"),
        ]:  # fmt: skip
            with pytest.raises(InputError, match=said):
                family(name).example(3)(batch, labels)


@pair
def test_wrong_inputs_and_settings_are_refused(name):
    generator, discriminator = get_generator(name), get_discriminator(name)
    with pytest.raises(ShapeError, match=r"noise \(B, 6\), got \(2, 5\)"):
        generator.example()(torch.randn(2, 5))
    with pytest.raises(ShapeError, match=r"\(B, 1, 8, 8\), got \(2, 3, 8, 8\)"):
        discriminator.example()(torch.rand(2, 3, 8, 8))
    with pytest.raises(InputError, match="floating"):
        discriminator.example()(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    for shape in [(2, 8, 8), (1, 7, 8), (1, 8, 129)]:
        for family in (generator, discriminator):
            with pytest.raises(ShapeError, match="8 to 128"):
                family(shape)
    with pytest.raises(InputError, match="latent_dim=0"):
        generator(latent_dim=0)
    with pytest.raises(InputError, match="num_classes >= 0"):
        discriminator(num_classes=-1)
