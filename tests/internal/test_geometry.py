"""Moving a batch at once is what torchvision does image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as VF

from augmentor._internal.geometry import _affine, _parameters, move_each
from augmentor._internal.random import seeded
from augmentor.training import mild_geometry


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 33)], ids=["grey", "oblong RGB"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_each_image_moves_as_torchvision_moves_it(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, *shape, generator=generator)
    images = (images * 255).to(torch.uint8) if dtype == torch.uint8 else images
    affine = v2.RandomAffine(30, translate=(0.2, 0.3), scale=(0.7, 1.4), interpolation=v2.InterpolationMode.BILINEAR)
    with seeded(3):
        angles, shifts, scales = _parameters(affine, len(images), *shape[1:])
    assert angles.abs().max() <= 30
    assert (shifts.abs() <= torch.tensor([0.2 * shape[2], 0.3 * shape[1]]).ceil()).all()
    moved = _affine(images, angles, shifts, scales)
    for image, angle, shift, scale, result in zip(images, angles, shifts, scales, moved, strict=True):
        expected = VF.affine(
            image, float(angle), [int(v) for v in shift], float(scale), [0.0, 0.0], v2.InterpolationMode.BILINEAR
        )
        assert result.dtype == dtype
        torch.testing.assert_close(
            result.float(), expected.float(), atol=1.01 if dtype == torch.uint8 else 1e-3, rtol=0
        )


def test_every_image_gets_parameters_of_its_own_and_the_same_again_from_the_same_seed(global_rng_untouched):
    images = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)).expand(20, -1, -1, -1)
    both = v2.Compose([v2.RandomHorizontalFlip(), mild_geometry()])
    with seeded(1):
        first = move_each(both, images)
    with seeded(1):
        second = move_each(both, images)
    assert torch.equal(first, second)
    assert len({image.numpy().tobytes() for image in first}) == len(images)


def test_half_of_the_images_are_mirrored():
    images = torch.rand(400, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with seeded(2):
        flipped = (move_each(v2.RandomHorizontalFlip(), images) != images).flatten(1).any(1)
    assert 150 < int(flipped.sum()) < 250


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomAffine(10, shear=5),
        v2.RandomAffine(10, fill=1),
        v2.RandomRotation(9),
        v2.Compose([v2.RandomRotation(9, expand=True), v2.CenterCrop(12)]),  # of different sizes in between
        v2.Compose(
            [v2.ToPILImage(), v2.RandomHorizontalFlip(), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
        ),
    ],
)
def test_other_transforms_are_called_image_by_image(transform):
    images = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    with seeded(4):
        moved = move_each(transform, images)
    with seeded(4):
        assert torch.equal(moved, torch.stack([transform(image) for image in images]))


def test_what_a_pipeline_begins_with_is_done_at_once(monkeypatch):
    images, seen = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(0)), []
    beginning = [mild_geometry(), v2.RandomHorizontalFlip()]
    rest = v2.Lambda(lambda image: seen.append(image) or image / 2)
    with seeded(4):
        moved = move_each(v2.Compose([*beginning, rest]), images)
    with seeded(4):
        expected = move_each(v2.Compose(beginning), images)
    assert torch.equal(torch.stack(seen), expected)
    assert torch.equal(moved, expected / 2)
