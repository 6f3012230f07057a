"""The contract of an autoencoder, held by every registered family. A new family is tested by being registered."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from augmentor._internal.registry import arguments_of, build, describe
from augmentor.autoencoders import Autoencoder, autoencoders, load_autoencoder
from augmentor.autoencoders.blocks import EnlargingConv2d
from augmentor.autoencoders.corruption import CORRUPTIONS
from augmentor.autoencoders.likelihood import LIKELIHOODS
from augmentor.exceptions import InputError, RangeError, ShapeError, UnknownNameError

NAMES = autoencoders.names()
OF_ONE_SIZE = [name for name in NAMES if autoencoders.get(name).example().image_shape[1] is not None]
OF_ANY_SIZE = [name for name in NAMES if name not in OF_ONE_SIZE]
VARIANTS = [("bernoulli", "none"), ("gaussian", "gaussian(std=0.3)"), ("edges", "masking(rate=0.25)")]

of_every_family = pytest.mark.parametrize("name", NAMES)
with_every_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS)


def made(name: str, **changes: object) -> Autoencoder:
    """The family's example with some arguments changed, its first weights the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        example = autoencoders.get(name).example()
        return autoencoders.create(name, {**arguments_of(example), **changes}).eval()


def sized(name: str, height: int, width: int, channels: int = 1) -> Autoencoder:
    """The family's example for images of this shape."""
    return made(name, image_shape=(channels, height, width)) if name in OF_ONE_SIZE else made(name, channels=channels)


def some_images(model: Autoencoder, count: int = 4) -> torch.Tensor:
    channels, height, width = (8 if n is None else n for n in model.image_shape)
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def losses(model: Autoencoder, images: torch.Tensor, seed: int = 0, progress: float = 1.0) -> dict[str, torch.Tensor]:
    return model.training_losses(images, torch.Generator().manual_seed(seed), progress)


# --- encode and decode


@of_every_family
@with_every_likelihood
def test_latents_and_images_have_the_stated_shapes_types_and_ranges(name, likelihood):
    model = made(name, likelihood=likelihood)
    images = some_images(model, 5)
    mean, std = model.encode(images)
    assert (len(mean), mean.dtype) == (5, torch.float32)
    assert mean.isfinite().all()
    assert len(model.latent_shape) == mean.ndim - 1
    assert all(stated in (None, got) for stated, got in zip(model.latent_shape, mean.shape[1:], strict=True))
    assert std is None or (std.shape == mean.shape and (std > 0).all())
    decoded = model.decode(50 * mean)  # far outside, so that the range has to be enforced
    assert (decoded.shape, decoded.dtype) == (images.shape, torch.float32)
    assert 0 <= decoded.min() <= decoded.max() <= 1


@of_every_family
def test_images_of_other_types_and_weights_of_double_precision_give_the_same(name):
    model = made(name)
    images = some_images(model)
    levels = (images * 255).round().to(torch.uint8)
    assert torch.equal(model.encode(levels).mean, model.encode(levels.float() / 255).mean)
    for dtype in (torch.float16, torch.float64):
        torch.testing.assert_close(model.encode(images.to(dtype)).mean, model.encode(images).mean, atol=2e-2, rtol=0)
    expected, got = model(images), model.double()(images)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got.float(), expected, atol=1e-4, rtol=0)


@of_every_family
def test_a_row_does_not_depend_on_its_batch(name):
    model = made(name)
    images = some_images(model, 6)
    torch.testing.assert_close(model(images), torch.cat([model(image[None]) for image in images]), atol=1e-5, rtol=0)


@of_every_family
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (3, 37, 50)], ids=str)
def test_every_size_and_depth_comes_back_as_it_went(name, shape):
    model = sized(name, *shape[1:], shape[0])
    images = torch.rand(2, *shape)
    assert model(images).shape == images.shape
    assert all(loss.isfinite() for loss in losses(model, images).values())


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_a_network_of_any_size_mirrors_what_the_stride_does_not_divide(name):
    model = made(name)
    for size in ((1, 1), (3, 5), (9, 11), (128, 96)):
        images = torch.rand(2, 1, *size)
        assert model(images).shape == images.shape
    height, width = 3 * model.stride - 1, 4 * model.stride - 2
    images = torch.rand(2, 1, height, width)
    mirrored = F.pad(images, (0, 2, 0, 1), mode="reflect")
    assert torch.equal(model.encode(images).mean, model.encode(mirrored).mean)
    assert torch.equal(model(images), model(mirrored)[..., :height, :width])


@pytest.mark.parametrize(("norm", "alike"), [("none", True), ("group", False)])
def test_without_a_norm_a_piece_has_the_codes_that_it_has_in_the_whole(norm, alike):
    model = made("spatial_kl", norm=norm)
    image = torch.rand(1, 1, 96, 96)
    inner = model.encode(image[..., 16:80, 16:80]).mean[..., 5:-5, 5:-5]
    assert torch.allclose(inner, model.encode(image).mean[..., 9:-9, 9:-9], atol=1e-5) is alike


@of_every_family
def test_an_rgb_network_takes_grey_images_and_gives_grey_ones(name):
    model = sized(name, 8, 8, channels=3)
    grey = torch.rand(2, 1, 8, 8, requires_grad=True)
    as_rgb = grey.expand(-1, 3, -1, -1)
    assert torch.equal(model.encode(grey).mean, model.encode(as_rgb).mean)
    torch.testing.assert_close(model(grey), model(as_rgb).mean(1, keepdim=True))
    model(grey).sum().backward()
    assert grey.grad.abs().sum() > 0
    assert model.decode(model.encode(grey).mean).shape[1] == 3  # nothing says that it was grey
    torch.testing.assert_close(losses(model, grey.detach()), losses(model, as_rgb.detach()))
    with pytest.raises(ShapeError, match="takes 3-channel images"):
        model.encode(torch.rand(2, 2, 8, 8))


# --- saved and described


@of_every_family
@pytest.mark.parametrize(("likelihood", "corruption"), VARIANTS)
def test_a_saved_network_is_the_same_bit_for_bit(name, likelihood, corruption, tmp_path):
    model = made(name, likelihood=likelihood, corruption=corruption)
    images = some_images(model)
    model.stats.fit([model.encode(images).mean])
    model.save(tmp_path / "model.safetensors")
    again = load_autoencoder(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert not again.training
    assert describe(again) == describe(model) == describe(autoencoders.build(describe(model)))
    assert torch.equal(again(images), model(images))
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


# --- training losses


@of_every_family
@with_every_likelihood
def test_losses_of_any_images_are_finite_and_reach_every_parameter(name, likelihood):
    model = made(name, likelihood=likelihood).train()
    for images in (torch.zeros(4, 1, 8, 8), torch.ones(4, 1, 8, 8), some_images(model)):
        found = losses(model, images)
        assert all(loss.ndim == 0 and loss.isfinite() and loss >= 0 for loss in found.values())
    torch.stack(list(found.values())).sum().backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.abs().sum() > 0, parameter


@of_every_family
@pytest.mark.parametrize("corruption", [corruption for _, corruption in VARIANTS])
def test_the_generator_is_the_only_randomness_in_the_losses(name, corruption, global_rng_untouched):
    model, clean = made(name, corruption=corruption).train(), made(name)
    images = some_images(model)
    first, again, other = (losses(model, images, seed) for seed in (3, 3, 4))
    assert all(torch.equal(value, again[loss]) for loss, value in first.items())
    if corruption != "none":
        assert first["reconstruction"] not in (other["reconstruction"], losses(clean, images, 3)["reconstruction"])
    assert torch.equal(model.encode(images).mean, clean.encode(images).mean)  # which corruption does not touch


@of_every_family
def test_a_few_steps_lower_the_loss(name):
    model = made(name).train()
    images, seen = some_images(model, 8), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(15):
        loss = losses(model, images)["reconstruction"]
        seen.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert seen[-1] < seen[0]


@pytest.mark.parametrize("name", [name for name in NAMES if "kl_warmup" in arguments_of(made(name))])
def test_the_kl_term_rises_over_the_warm_up(name):
    model = made(name, kl_warmup=0.5)
    at_start, at_quarter, at_half, at_end = (
        losses(model, some_images(model), 0, p)["kl"] for p in (0.0, 0.25, 0.5, 1.0)
    )
    assert at_start == 0
    torch.testing.assert_close(at_quarter, at_half / 2)
    assert torch.equal(at_half, at_end)
    assert at_end > 0


def test_corruption_blackens_a_share_of_the_pixels_or_adds_noise_within_the_range():
    images = torch.rand(8, 3, 32, 32) * 0.9 + 0.05
    masked, noisy = (
        build("corruption", CORRUPTIONS, text)(images, torch.Generator().manual_seed(0))
        for text in ("masking(rate=0.25)", "gaussian(std=0.3)")
    )
    gone = masked == 0
    assert torch.equal(gone, gone[:, :1].expand_as(gone))
    assert abs(float(gone.float().mean()) - 0.25) < 0.02
    assert torch.equal(masked[~gone], images[~gone])
    assert (noisy.min(), noisy.max()) == (0, 1)
    inside = (noisy > 0) & (noisy < 1) & ((images - 0.5).abs() < 0.05)
    assert 0.2 < float((noisy - images)[inside].std()) < 0.35


def test_edges_are_worth_more_than_levels_to_the_loss_for_edges():
    """Two reconstructions with equal squared error: stripes all gone, and stripes a little too bright."""
    stripes = torch.tensor([0.4, 0.6]).repeat(8).expand(1, 1, 16, 16)
    gone, bright = torch.full_like(stripes, 0.5), stripes + 0.1
    squares, edges, flat = (build("likelihood", LIKELIHOODS, s) for s in ("gaussian", "edges", "edges(weight=0)"))
    torch.testing.assert_close(squares.loss(gone, stripes), squares.loss(bright, stripes))
    assert edges.loss(bright, stripes) < 0.6 * edges.loss(gone, stripes)
    torch.testing.assert_close(flat.loss(gone, stripes), flat.loss(bright, stripes))


@pytest.mark.parametrize(("before", "size"), [((1, 3), None), ((4, 4), (7, 8))])
def test_enlarging_is_nearest_neighbours_and_then_the_convolution(before, size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *before, generator=generator, dtype=torch.float64, requires_grad=True)
    conv = EnlargingConv2d(3, 5, size).double()
    nearest = F.interpolate(x, size=size or (2 * before[0], 2 * before[1]), mode="nearest")
    expected, found = F.conv2d(nearest, conv.weight, conv.bias, padding=1), conv(x)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    inputs = [x, *conv.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad((made * weights).sum(), inputs) for made in (found, expected)))


# --- refused


@of_every_family
def test_images_and_latents_that_do_not_fit_are_refused_with_advice(name):
    model = made(name)
    with pytest.raises(ShapeError, match=r"takes 1-channel images.*got 3 channels.*v2\.Grayscale"):
        model.encode(torch.rand(2, 3, 8, 8))
    with pytest.raises(ShapeError, match="add or drop dimensions"):
        model.encode(torch.rand(1, 8, 8))
    with pytest.raises(InputError, match=r"uint8 or floating images, got torch\.int64"):
        model.encode(torch.zeros(2, 1, 8, 8, dtype=torch.int64))
    with pytest.raises(InputError, match="takes a tensor of images"):
        model.encode([[0.0]])
    latents = model.encode(some_images(model)).mean
    for other in (torch.cat([latents, latents], dim=1), latents[0]):
        with pytest.raises(ShapeError, match="decodes raw latents"):
            model.decode(other)
    with pytest.raises(ShapeError, match="smaller than size"):
        model.decode(latents, size=(512, 512))


@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_other_sizes_are_refused_with_advice(name):
    with pytest.raises(ShapeError, match=r"\(B, 1, 8, 8\), got \(2, 1, 9, 8\); resize with v2\.Resize\(\(8, 8\)\)"):
        made(name).encode(torch.rand(2, 1, 9, 8))
    for shape in ((1, 7, 8), (1, 8, 129), (0, 8, 8)):
        with pytest.raises(ShapeError, match="8 to 128"):
            made(name, image_shape=shape)


def test_values_outside_the_range_are_refused_with_what_came():
    model = made("dense")
    for value, said in ((float("nan"), "NaN"), (float("-inf"), "-inf"), (-0.1, "-0.1"), (255.0, "255")):
        images = some_images(model)
        images[1, 0, 3, 3] = value
        with pytest.raises(RangeError, match=rf"\[0, 1\], got .*{said}.*; (scale|replace)"):
            model.encode(images)


@of_every_family
def test_bad_arguments_are_refused(name):
    for changes in ({"likelihood": "poisson"}, {"corruption": "blur"}, {"no_such_argument": 1}):
        with pytest.raises(UnknownNameError):
            made(name, **changes)
    for changes in ({"likelihood": "edges(weight=-1)"}, {"corruption": "masking(rate=1)"}):
        with pytest.raises(InputError):
            made(name, **changes)
    numbers = {"width": 0, "latent_dim": 0, "latent_channels": 0, "downsamples": 0, "kl_warmup": 1.5, "norm": "batch"}
    own = arguments_of(made(name)).keys() & numbers.keys()
    assert own
    for argument in own:
        with pytest.raises(InputError, match=argument):
            made(name, **{argument: numbers[argument]})
