"""The gate looks at pixels: autoencoders that are bad on purpose are rejected, and good ones are not."""

from __future__ import annotations

import pickle
import warnings

import pytest
import torch
from sklearn.datasets import load_sample_images
from torchvision.transforms.v2.functional import gaussian_blur, resize

from augmentor import LatentAugment, QualityGate, load_autoencoder
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import ConvVAE
from augmentor.autoencoders.adapters import CallableAutoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning
from augmentor.latents import LatentCache, Latents
from augmentor.quality.real_images import RealImages

SIDE, COUNT = 32, 48


@pytest.fixture(scope="module")
def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces of two photographs, uint8 (160,3,32,32), and which photograph each is of."""
    pieces, labels = [], []
    random = torch.Generator().manual_seed(0)
    for number, image in enumerate(load_sample_images().images):
        whole = torch.from_numpy(image.copy()).permute(2, 0, 1)
        for _ in range(80):
            top, left = (int(torch.randint(side - SIDE, (1,), generator=random)) for side in whole.shape[1:])
            pieces.append(whole[:, top : top + SIDE, left : left + SIDE])
            labels.append(number)
    return torch.stack(pieces), torch.tensor(labels)


@pytest.fixture(scope="module")
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(250))


def with_decoder(autoencoder, image_shape, after) -> CallableAutoencoder:
    """The same autoencoder, but for what becomes of its decoded images."""
    return CallableAutoencoder(
        lambda images: autoencoder.encode(images).mean,
        lambda raw: after(autoencoder.decode(raw, image_shape)),
        image_shape, modules=autoencoder, version="decoder changed",
    )  # fmt: skip


def untrained(image_shape) -> ConvVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ConvVAE(image_shape)


def bad(kind: str, name: str, images: torch.Tensor):
    shape, unit = tuple(images.shape[1:]), images.float() / 255
    after = {
        "mean image": lambda made: unit.mean(0).expand_as(made),
        "one real image": lambda made: unit[5].expand_as(made),
        "blurred": lambda made: gaussian_blur(made, 5, 1.0 if name == "digits" else 2.0),
    }
    return untrained(shape) if kind == "untrained" else with_decoder(load_autoencoder(name), shape, after[kind])


def rejected(autoencoder, policy, images, labels=None, *, residual=0.0) -> float:
    """The share of samples that the default gate turns away."""
    with warnings.catch_warnings(action="ignore", category=AugmentorWarning):
        augment = LatentAugment(autoencoder, policy, residual=residual, gate=QualityGate())
        augment.fit(list(images) if labels is None else images, labels)
        some = None if labels is None else labels[:COUNT]
        made = augment.synthesize(images[:COUNT], some, indices=range(COUNT), seed=0, return_weights=True)
    return float((made[-1] == 0).float().mean())


@pytest.mark.parametrize("kind", ["untrained", "mean image", "one real image", "blurred"])
def test_a_bad_autoencoder_of_digits_is_turned_away(kind, few):
    assert rejected(bad(kind, "digits", few.images), "gaussian(std=0.5)", few.images) >= 0.8


def test_a_blurred_autoencoder_of_photographs_is_turned_away(photographs):
    """Others are in tests/test_bad_autoencoders.py."""
    assert rejected(bad("blurred", "natural", photographs[0]), "smooth(std=0.25)", photographs[0]) >= 0.8


def test_good_digits_pass(few):
    assert rejected("digits", "gaussian(std=0.5)", few.images, few.targets) <= 0.3


@pytest.mark.parametrize("residual", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_good_photographs_pass(residual, photographs):
    assert rejected("natural", "smooth(std=0.25)", *photographs, residual=residual) <= 0.3


def test_images_that_come_back_unchanged_are_copies(few):
    """With the residual of a decoder that gives one image for all, every sample is its source."""
    constant = bad("one real image", "digits", few.images)
    assert rejected(constant, "gaussian(std=0.5)", few.images, residual=1.0) == 1


def test_images_far_from_each_other_may_be_changed_a_little_and_copies_are_still_refused():
    """A change that is small beside the distance to any other image is no copy: pieces that do not overlap."""
    whole = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in load_sample_images().images])
    pieces = whole[:, :, :420, :630].unfold(2, 70, 70).unfold(3, 70, 70).movedim(1, 3).flatten(0, 2)
    pieces = resize(pieces[::2], [SIDE, SIDE], antialias=True)
    augment = LatentAugment("natural", "smooth(std=0.25)", gate=QualityGate(redraws=0), seed=0).fit(list(pieces))
    augment.synthesize(pieces)
    assert augment.gate.counts.novelty < 0.3 * len(pieces)
    latents_alone = QualityGate().fit(augment.reference)  # which does not know what decoding itself changes
    moved = Latents(
        augment.reference.z
        + 0.25 * torch.randn(augment.reference.z.shape[:2], generator=torch.Generator().manual_seed(0))[..., None, None]
    )
    assert augment.gate.score(moved).novelty.min() == 1
    assert latents_alone.score(moved).novelty.max() < 0.5
    copies = Latents(augment.reference.z[:5])
    assert (augment.gate.score(copies).novelty == 0).all()


def test_a_poor_autoencoder_is_named_with_its_figures(few):
    with pytest.warns(
        AugmentorWarning,
        match=r"the gate rejects every sample, because the autoencoder reconstructs these images poorly \(poor: .* dB",
    ):
        LatentAugment(bad("mean image", "digits", few.images), gate=QualityGate()).fit(list(few.images))


@pytest.mark.filterwarnings("ignore:the gate scores latents only")
@pytest.mark.parametrize("channels", [3, 4])
def test_every_sample_of_a_poor_one_is_rejected_unless_everything_is_kept(channels):
    images = torch.rand(40, channels, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    made = {"policy": "gaussian(std=0.5)", "residual": 0.0, "seed": 0}
    with pytest.warns(AugmentorWarning, match="rejects every sample"):
        strict = LatentAugment(untrained((channels, 16, 16)), gate=QualityGate(), **made).fit(images)
    assert (strict.synthesize(images, return_weights=True)[-1] == 0).all()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the gate rejects every sample")
        lenient = LatentAugment(untrained((channels, 16, 16)), gate=QualityGate(keep=1.0), **made).fit(images)
    assert (lenient.synthesize(images, return_weights=True)[-1] == 1).all()


def test_a_feature_that_never_moves_in_the_real_images_says_nothing():
    """Marks on white, in a corner that no real image uses."""
    images = torch.full((12, 1, 28, 28), 255, dtype=torch.uint8)
    for row, place in enumerate(torch.randint(0, 10, (12, 2), generator=torch.Generator().manual_seed(0)).tolist()):
        images[row, 0, place[0] : place[0] + 4, place[1] : place[1] + 4] = 0
    gate = LatentAugment("natural", residual=0.0, gate=QualityGate(), seed=0).fit(list(images)).gate
    assert gate._scale.min() >= 1e-6
    distance = (gate._extractor(images.flip(2)) - gate._centre) / gate._scale
    assert distance.isfinite().all()
    assert distance.abs().max() < 1e3


def test_latents_alone_are_judged_with_a_warning_and_images_can_be_given(few):
    images = few.images[:100]
    cache = LatentCache(list(images), load_autoencoder("digits"))
    augment = LatentAugment("digits", gate=QualityGate(), seed=0)
    with pytest.warns(AugmentorWarning, match=r"fit\(cache, images=dataset\)"):
        augment.fit(cache)
    assert augment.gate.judges == "latents"
    augment.fit(cache, images=list(images))
    from_images = LatentAugment("digits", gate=QualityGate(), seed=0).fit(list(images))
    assert augment.gate.judges == from_images.gate.judges == "latents and pixels (smallnet)"
    _, first = augment.synthesize(images, return_weights=True)
    _, second = from_images.synthesize(images, return_weights=True)
    assert torch.equal(first, second)


def test_images_of_two_channels_are_judged_by_their_latents():
    images = torch.rand(30, 2, 8, 8)
    pixels = CallableAutoencoder(torch.nn.Identity(), torch.nn.Identity(), (2, 8, 8), version="x")
    augment = LatentAugment(pixels, "gaussian(std=0.5)", gate=QualityGate(), seed=0)
    with pytest.warns(AugmentorWarning, match="these have 2"):
        augment.fit(list(images))
    augment.synthesize(images)
    assert augment.gate.judges == "latents"
    assert augment.gate.counts.samples == 30


def test_what_is_judged_is_what_is_handed_out(few, monkeypatch):
    """The images that the extractor sees, rejected ones aside, are those that come back: decoded once."""
    augment = LatentAugment("digits", "gaussian(std=0.5)", gate=QualityGate(redraws=0), residual=0.5).fit(
        list(few.images)
    )
    seen = []
    extractor = augment.gate._extractor

    def watched(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return type(extractor).forward(extractor, images)

    monkeypatch.setattr(extractor, "forward", watched)
    random = SampleRandom(sample_keys(0, 0, range(COUNT)))
    made = augment.perturb(few.images[:COUNT], None, random)
    passed = made.weights == 1
    assert torch.equal(made.images[passed], seen[0][passed])
    assert len(seen) == 1


def test_a_gate_that_judges_pixels_pickles_and_its_answer_does_not_depend_on_the_batch(few):
    images = few.images[:COUNT]
    augment = LatentAugment("digits", "gaussian(std=1.5)", gate=QualityGate(), seed=0).fit(list(few.images))
    again = pickle.loads(pickle.dumps(augment))
    whole, weights = augment.synthesize(images, indices=range(COUNT), return_weights=True)
    parts = [
        again.synthesize(images[at : at + 7], indices=range(COUNT)[at : at + 7], return_weights=True)
        for at in range(0, COUNT, 7)
    ]
    assert torch.equal(torch.cat([part for _, part in parts]), weights)
    assert (torch.cat([part for part, _ in parts]).int() - whole.int()).abs().max() <= 1
    assert 0 < weights.sum() < COUNT


@pytest.mark.parametrize("total", [None, 5000])
def test_real_images_are_taken_at_equal_steps_and_are_bounded(total):
    real = RealImages(total)
    real.extractor.forward = lambda images: images.float().flatten(1)
    batches = ((torch.full((250, 1, 2, 2), 0.5), torch.arange(250) + 250 * part) for part in range(20))
    assert sum(len(images) for images, _ in real.watch(batches)) == 5000
    steps = real.rows.diff()
    assert 1000 <= len(real.rows) <= 2000
    assert (steps == steps[0]).all()
    assert torch.equal(real.labels, real.rows)
    images, labels = real.shown
    assert len(images) == len(labels) <= 256
