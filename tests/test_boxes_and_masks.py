"""Boxes, masks and keypoints of a sample: refused where things move in the image, passed where they stay."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision import tv_tensors
from torchvision.transforms import v2

from augmentor import AugmentedLoader, LatentAugment, MixedDataset, list_policies
from augmentor.exceptions import InputError
from augmentor.policies import get_policy, policies
from augmentor.shards import generate_shards

KEEPING = [name for name in list_policies() if policies.get(name).example().keeps_geometry]
PLACES = {
    "boxes": tv_tensors.BoundingBoxes([[1, 1, 4, 4]], format="XYXY", canvas_size=(8, 8)),
    "mask": tv_tensors.Mask(torch.ones(1, 8, 8, dtype=torch.uint8)),
    "keypoints": tv_tensors.KeyPoints([[2, 3]], canvas_size=(8, 8)),
}
every_place = pytest.mark.parametrize("place", PLACES)


@pytest.fixture(scope="module")
def photograph():
    """(3,256,256), uint8."""
    return torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1)[:, 60:316, 200:456].contiguous()


@pytest.mark.parametrize("name", list_policies())
def test_a_policy_says_whether_it_keeps_geometry(name):
    assert isinstance(policies.get(name).example().keeps_geometry, bool)


def test_policies_made_of_others_keep_geometry_if_all_of_these_do():
    assert KEEPING == ["smooth"]
    assert get_policy("compose(smooth, smooth(std=0.5))").keeps_geometry
    assert get_policy("one_of(smooth, smooth(std=0.5))").keeps_geometry
    assert not get_policy("compose(smooth, gaussian)").keeps_geometry


@every_place
@pytest.mark.parametrize("name", [*list_policies()])
def test_what_moves_things_is_refused_also_in_batches_data_sets_loaders_and_shards(name, place, digits, tmp_path):
    policy = policies.get(name).example()
    augment = LatentAugment("digits", policy).fit(digits.subset(torch.arange(100)))
    image, where = tv_tensors.Image(digits.images[0]), PLACES[place]
    items = [(image, {"labels": 3, place: where})] * 2
    for use in (
        lambda: augment({"image": image, place: where, "label": 3}),
        lambda: augment(image, {"labels": torch.tensor([3]), place: where}),
        lambda: v2.Compose([augment])(image, where),
        lambda: MixedDataset(items, augment),
        lambda: generate_shards(items, augment, tmp_path / "out", num_samples=2),
        lambda: list(AugmentedLoader([(digits.images[:2], [where, where])], augment)),
    ):
        with pytest.raises(InputError, match=r"boxes, masks or keypoints.*'smooth'"):
            use()
    assert not (tmp_path / "out").exists()


@every_place
def test_a_policy_that_keeps_geometry_passes_them_untouched_but_not_with_latents_that_are_vectors(photograph, place):
    sample = {"image": tv_tensors.Image(photograph), place: PLACES[place], "label": 1}
    out = LatentAugment("natural", "smooth", p=1.0)(sample)
    assert out[place] is sample[place]
    assert not torch.equal(out["image"], photograph)
    with pytest.raises(InputError, match="moves objects"):
        LatentAugment("digits", "smooth", p=1.0)({**sample, "image": tv_tensors.Image(torch.rand(1, 8, 8))})


def test_what_is_chosen_for_a_data_set_is_asked_whether_it_keeps_geometry(digits):
    sample = {"image": tv_tensors.Image(digits.images[0]), "mask": PLACES["mask"]}
    assert torch.equal(LatentAugment()(sample)["mask"], sample["mask"])  # natural
    augment = LatentAugment()
    augment.choose_for(digits)
    for use in (lambda: augment(sample), lambda: MixedDataset([(sample["image"], sample)], LatentAugment())):
        with pytest.raises(InputError, match="moves objects"):
            use()


@pytest.mark.parametrize("name", KEEPING)
def test_with_a_policy_that_keeps_geometry_things_stay_where_they_are(photograph, name):
    strong = policies.get(name).strengths()[2]
    made = LatentAugment("natural", strong, p=1.0, seed=0)(photograph.expand(4, -1, -1, -1))
    before, after = edges(photograph[None]), edges(made)
    for one in after:
        fits = {shift: correlation(before[0], torch.roll(one, shift, (0, 1))) for shift in SHIFTS}
        assert max(fits, key=fits.get) == (0, 0)
        assert fits[0, 0] > 0.8


@every_place
def test_a_loader_passes_lists_of_them_once_more_with_a_policy_that_keeps_geometry(photograph, place):
    where = [PLACES[place], PLACES[place].clone()]
    batch = {
        "image": photograph[None].repeat(2, 1, 1, 1),
        place: [tv_tensors.wrap(w, like=PLACES[place]) for w in where],
    }
    (out,) = AugmentedLoader([batch], LatentAugment("natural", "smooth"), ratio=1.0)
    assert out["image"].shape[0] == 4
    assert len(out[place]) == 4
    assert out[place][2] is batch[place][0]


def test_a_mixed_data_set_refuses_masks_that_are_plain_tensors_arrays_or_pictures(digits, photograph):
    image, mask = digits.images[0], torch.zeros(1, 8, 8)
    for other in (mask, mask[0].numpy().astype("uint8"), Image.new("L", (8, 8))):
        for item in ((image, other), {"image": image, "mask": other}, (image, {"mask": other})):
            with pytest.raises(InputError, match="one image per item"):
                MixedDataset([item] * 2, LatentAugment("digits", "gaussian"))
    item = (photograph, torch.zeros(1, *photograph.shape[1:]))
    assert MixedDataset([item] * 2, LatentAugment("natural", "smooth"))[2][1] is item[1]
    assert MixedDataset([(image, torch.zeros(1, 4, 4))] * 2, LatentAugment("digits", "gaussian"))[2]  # of another size


SHIFTS = [(down, right) for down in range(-3, 4) for right in range(-3, 4)]


def edges(images):
    """How steep the brightness is at each pixel (B,H,W)."""
    grey = images.float().mean(1, keepdim=True)
    steps = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None]
    return torch.hypot(F.conv2d(grey, steps), F.conv2d(grey, steps.mT))[:, 0]


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
