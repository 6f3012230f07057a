"""Transforming a batch at once is what torchvision does image by image."""

from __future__ import annotations

import itertools

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as VF

from augmentor._internal.each_image import transform_each
from augmentor._internal.geometry import EdgeAffine, mild_geometry
from augmentor._internal.random import seeded
from augmentor.exceptions import InputError

BILINEAR = v2.InterpolationMode.BILINEAR


def some_images(count=5, channels=1, height=12, width=12):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "dtype", "angle", "scale", "shear", "fill"),
    [
        ((1, 12, 12), torch.uint8, 30.0, 0.7, [0.0, 0.0], 0),
        ((3, 10, 16), torch.float32, -12.0, 1.4, [0.0, 0.0], 0.6),
        ((1, 12, 12), torch.float32, 20.0, 0.9, [15.0, -25.0], 0),
        ((1, 12, 12), torch.uint8, -20.0, 1.1, [-30.0, 0.0], 255),
    ],
    ids=["grey levels", "oblong RGB, grey outside", "sheared", "sheared along x, white outside"],
)
def test_each_image_moves_as_torchvision_moves_it(shape, dtype, angle, scale, shear, fill):
    """Angle, scale and shear are given by ranges of one value; the shift is one of whole pixels in its range."""
    images = some_images(8, *shape)
    images = (images * 255).to(torch.uint8) if dtype == torch.uint8 else images
    along = [shear[0], shear[0]] + ([shear[1], shear[1]] if shear[1] else [])
    transform = v2.RandomAffine((angle, angle), (0.2, 0.3), (scale, scale), along, interpolation=BILINEAR, fill=fill)
    with seeded(3):
        moved = transform_each(transform, images)
    assert moved.dtype == dtype
    shifts = list(itertools.product(range(-3, 4), range(-4, 5)))
    found = set()
    for image, result in zip(images, moved, strict=True):
        inside = image.float() - fill  # with a fill, torchvision itself weighs border pixels twice
        expected = torch.stack([VF.affine(inside, angle, list(s), scale, shear, BILINEAR) for s in shifts]) + fill
        error = (expected - result.float()).abs().flatten(1).amax(1)
        assert error.min() <= (1.01 if dtype == torch.uint8 else 1e-3)
        found.add(shifts[int(error.argmin())])
    assert len(found) > 3
    assert all(abs(x) <= round(0.2 * shape[2]) and abs(y) <= round(0.3 * shape[1]) for x, y in found)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_nearest_pixels_are_those_of_torchvision(dtype):
    images = some_images(8, 3, 20, 20)
    images = (images * 255).to(torch.uint8) if dtype == torch.uint8 else images
    transform = v2.RandomAffine((25, 25), scale=(1.2, 1.2), fill=1)
    moved, expected = transform_each(transform, images), torch.stack([transform(image) for image in images])
    assert len(moved[0].unique()) < images[0].numel() / 1.4  # what is 1.2 times as large has lost pixels, made up none
    assert set(moved.unique().tolist()) <= {*images.unique().tolist(), 1}
    assert float((moved != expected).float().mean()) < 0.01  # at most where a place is halfway between two pixels


def test_edges_are_repeated_outside_of_an_image_alone_and_in_a_batch():
    images = some_images(20, 3, 24, 24) * 0.2 + 0.8
    edge = mild_geometry("edge")
    assert edge(torch.rand(4, 3, 16, 16)).shape == (4, 3, 16, 16)
    with seeded(0):
        usual = transform_each(mild_geometry(), images)
        made = transform_each(edge, images), torch.stack([edge(image) for image in images])
    assert usual.min() < 0.1  # its black corners
    for moved in made:
        assert float(moved.min()) > 0.79
        assert len(moved.flatten(1).sum(1).unique()) == 20
    still = EdgeAffine(0, interpolation=BILINEAR)
    torch.testing.assert_close(still(images[0]), images[0])
    picture = VF.to_pil_image(images[0])
    assert (edge(picture).size, edge(picture).mode) == (picture.size, "RGB")
    turned, expected = EdgeAffine((30, 30), interpolation=BILINEAR), v2.RandomAffine((30, 30), interpolation=BILINEAR)
    inside = (slice(None), slice(8, 16), slice(8, 16))
    torch.testing.assert_close(turned(images[0])[inside], expected(images[0])[inside], atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="got 'reflect'"):
        mild_geometry("reflect")


def test_every_image_gets_parameters_of_its_own_and_the_same_again_from_the_same_seed(global_rng_untouched):
    images, made = some_images(1, 1, 28, 28).expand(20, -1, -1, -1), []
    for _ in range(2):
        with seeded(1):
            made.append(transform_each(v2.Compose([v2.RandomHorizontalFlip(), mild_geometry()]), images))
    assert torch.equal(*made)
    assert len(made[0].unique(dim=0)) == len(images)


JITTERS = {
    "brightness": v2.ColorJitter(brightness=0.8),
    "contrast": v2.ColorJitter(contrast=0.8),
    "saturation": v2.ColorJitter(saturation=0.8),
    "hue": v2.ColorJitter(hue=0.5),
    "all": v2.ColorJitter(0.8, 0.8, 0.8, 0.2),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", JITTERS)
def test_colours_change_as_torchvision_changes_them_with_the_same_seed(name, dtype):
    grey = some_images(4, 1, 9, 12).expand(-1, 3, -1, -1)
    images = torch.cat([some_images(40, 3, 9, 12), grey, torch.zeros(1, 3, 9, 12), torch.ones(1, 3, 9, 12)])
    images = (images * 255).round().to(torch.uint8) if dtype == torch.uint8 else images
    before = images.clone()
    with seeded(4):
        changed = transform_each(JITTERS[name], images)
    with seeded(4):
        expected = torch.stack([JITTERS[name](image) for image in images])
    assert changed.dtype == dtype
    assert torch.equal(images, before)
    error = (changed.double() - expected.double()).abs() * (1 if dtype == torch.uint8 else 255)
    assert error.max() <= 5  # where a level is rounded the other way, what follows may make it more
    assert float((error > 0.1).double().mean()) < 1e-3
    assert float((changed.double() - images.double()).abs().mean()) * (1 if dtype == torch.uint8 else 255) > 5


@pytest.mark.parametrize(
    "crop",
    [
        v2.RandomCrop(12, padding=3),
        v2.RandomCrop((12, 12), padding=(1, 4), fill=7),
        v2.RandomCrop((10, 14), padding=(1, 2, 3, 4), padding_mode="reflect"),
        v2.RandomCrop(8),
        v2.RandomCrop(20, pad_if_needed=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_those_of_torchvision_with_the_same_seed(crop, channels):
    images = (some_images(20, channels, 12, 12) * 255).to(torch.uint8)
    with seeded(4):
        cropped = transform_each(crop, images)
    with seeded(4):
        assert torch.equal(cropped, torch.stack([crop(image) for image in images]))


def test_a_crop_larger_than_its_image_is_refused_as_in_torchvision():
    with pytest.raises(ValueError, match="Required crop size"):
        transform_each(v2.RandomCrop(20), some_images())


class Inverted(v2.RandomHorizontalFlip):
    """Inherits from a transform that is done at once, and does something else."""

    def transform(self, inpt, params):
        return 1 - inpt


@pytest.mark.parametrize(
    "transform",
    [
        Inverted(p=1.0),
        v2.ColorJitter(0.4),  # of grey images
        v2.RandomCrop(12, padding=2, fill={torch.Tensor: 1}),
        v2.RandomAffine(10, shear=5, center=[3, 3]),
        v2.Compose([v2.RandomRotation(9, expand=True), v2.CenterCrop(12)]),  # of different sizes in between
        v2.Compose([v2.ToPILImage(), v2.RandomHorizontalFlip(), v2.PILToTensor(), v2.ToDtype(torch.float32, True)]),
    ],
)
def test_other_transforms_are_called_image_by_image(transform):
    images = some_images()
    with seeded(4):
        moved = transform_each(transform, images)
    with seeded(4):
        assert torch.equal(moved, torch.stack([transform(image) for image in images]))


def test_what_a_pipeline_begins_or_ends_with_is_done_at_once():
    images, seen = some_images(), []
    moving = [mild_geometry(), v2.RandomHorizontalFlip(), v2.RandomCrop(12, padding=2)]
    middle = v2.Lambda(lambda image: seen.append(image) or image / 2)
    with seeded(4):
        moved = transform_each(v2.Compose([*moving, middle, *moving]), images)
    with seeded(4):
        first = transform_each(v2.Compose(moving), images)
        expected = transform_each(v2.Compose(moving), first / 2)
    assert torch.equal(torch.stack(seen), first)
    assert torch.equal(moved, expected)


def test_shear_leaves_what_a_seed_draws_for_angles_shifts_and_scales():
    images, made = some_images(8, 1, 28, 28), []
    for shear in (None, [-1e-4, 1e-4, -1e-4, 1e-4]):
        with seeded(5):
            made.append(
                transform_each(v2.RandomAffine(20, (0.2, 0.2), (0.7, 1.3), shear, interpolation=BILINEAR), images)
            )
            after = torch.rand(1)
        made.append(after)
    torch.testing.assert_close(made[0], made[2], atol=1e-3, rtol=0)
    assert made[1] != made[3]  # only where there is shear something is drawn for it
