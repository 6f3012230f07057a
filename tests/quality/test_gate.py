"""`QualityGate`: keeps what is worth training on, and says what it did."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from augmentor import load_autoencoder
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.exceptions import InputError, ReferenceSetError
from augmentor.latents import Latents, ReferenceSet
from augmentor.quality import GateCounts, GateScores, QualityGate

COUNT = 300


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def draws(count: int, first: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(0, 0, range(first, first + count)))


def noise(std: float):
    """What a policy does: noise from each sample's own sequence."""

    def draw(source: Latents, random: SampleRandom) -> Latents:
        return Latents(source.z + std * random.normal(*source.z.shape[1:]), source.posterior_std, source.labels)

    return draw


@pytest.fixture(scope="module")
def two_classes() -> ReferenceSet:
    labels = torch.arange(COUNT) % 2
    return ReferenceSet(normal(COUNT, 6) + 4 * labels[:, None], labels, 2)


@pytest.fixture(scope="module")
def fitted(two_classes) -> QualityGate:
    return QualityGate().fit(two_classes)


@pytest.fixture
def gate(fitted) -> QualityGate:
    return copy.deepcopy(fitted)


@pytest.fixture
def source(two_classes) -> Latents:
    rows = torch.arange(0, COUNT, 3)
    return Latents(two_classes.z[rows], None, two_classes.labels[rows])


# --- acceptance


def test_it_keeps_the_good_and_rejects_the_off_class_and_the_copies(digits):
    """A known third of the samples are good (held out), a third off-class, a third copies."""
    autoencoder, labels = load_autoencoder("digits"), digits.targets

    def encoded(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return autoencoder.stats.standardise(autoencoder.encode(images).mean).float()

    z = encoded(digits.images)
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(z), generator=random)
    good, moved, copied, known = order[:300], order[300:600], order[600:900], order[600:]
    gate = QualityGate().fit(ReferenceSet(z[known], labels[known], 10))
    shake = torch.randint(-6, 7, digits.images[copied].shape, generator=random)
    shaken = (digits.images[copied].int() + shake).clamp(0, 255).to(torch.uint8)
    kinds = {
        "good": Latents(z[good], None, labels[good]),
        "off-class": Latents(z[moved], None, (labels[moved] + torch.randint(1, 10, (300,), generator=random)) % 10),
        "copies": Latents(z[copied], None, labels[copied]),
        "nearly copies": Latents(z[copied] + 0.03 * normal(300, z.shape[1]), None, labels[copied]),
        "copied images": Latents(encoded(digits.images[copied]), None, labels[copied]),
        "nearly copied images": Latents(encoded(shaken), None, labels[copied]),
    }
    kept = {kind: float(gate.passes(latents).float().mean()) for kind, latents in kinds.items()}
    assert kept.pop("good") >= 0.9
    assert all(share <= 0.1 for share in kept.values()), kept


@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_about_keep_of_fresh_real_samples_pass(keep, two_classes):
    gate = QualityGate(keep).fit(two_classes)
    labels = torch.arange(600) % 2
    fresh = Latents(normal(600, 6, seed=1) + 4 * labels[:, None], None, labels)
    share = float(gate.passes(fresh).float().mean())
    assert keep - 0.1 < share < 1
    lenient = QualityGate(1.0).fit(two_classes)
    assert lenient.passes(fresh).all()


def test_it_tells_them_apart_in_a_reference_set_too_large_to_search():
    """Two classes on a curved sheet in 32 dimensions, which holds 20,000 samples."""
    directions = normal(3, 32, seed=9)

    def real(count: int, seed: int) -> Latents:
        labels = torch.arange(count) % 2
        place = normal(count, 3, seed=seed) + 5 * labels[:, None] * torch.tensor([1.0, 0, 0])
        return Latents(torch.sin(place @ directions) + 0.1 * normal(count, 32, seed=seed + 1), None, labels)

    known, good = real(20_000, 0), real(1000, 10)
    gate = QualityGate().fit(ReferenceSet(known.z, known.labels, 2))
    kinds = {
        "off-class": Latents(good.z, None, 1 - good.labels),
        "copies": Latents(known.z[:1000], None, known.labels[:1000]),
        "nearly copies": Latents(known.z[:1000] + 0.01 * normal(1000, 32, seed=5), None, known.labels[:1000]),
        "elsewhere": Latents(2 * good.z, None, good.labels),
    }
    assert gate.passes(good).float().mean() >= 0.9
    passed = {kind: float(gate.passes(latents).float().mean()) for kind, latents in kinds.items()}
    assert all(share <= 0.1 for share in passed.values()), passed


# --- scores


def test_scores_are_shares_of_real_samples(gate, source):
    scores = gate.score(Latents(source.z + 0.3 * normal(*source.z.shape), None, source.labels), source)
    assert list(scores.each()) == ["fidelity", "novelty", "agreement"]
    for share in scores.each().values():
        assert share.shape == (len(source),)
        assert 0 <= float(share.min()) <= float(share.max()) <= 1
    torch.testing.assert_close(scores.fidelity * COUNT, (scores.fidelity * COUNT).round())


@pytest.mark.parametrize(("what", "lowest"), [("far", "fidelity"), ("off-class", "agreement"), ("copy", "novelty")])
def test_each_kind_of_bad_has_its_own_score(gate, two_classes, what, lowest):
    one = two_classes.z[:1]
    # Between two samples, so that it is no copy.
    near = (two_classes.z[:1] + two_classes.z[two_classes.nearest(one, 2)[1][0, 1]]) / 2
    made = {
        "far": Latents(one + 40, None, two_classes.labels[:1] + 1),
        "off-class": Latents(near, None, torch.tensor([1])),
        "copy": Latents(one, None, two_classes.labels[:1]),
    }[what]
    scores = {name: float(share) for name, share in gate.score(made).each().items()}
    assert scores.pop(lowest) == 0
    assert what == "off-class" or min(scores.values()) > 0.02


def test_latents_that_are_no_numbers_do_not_pass_and_none_have_no_scores(gate):
    z = torch.zeros(3, 6)
    z[0], z[1, 2], z[2] = torch.nan, torch.inf, 1e30
    assert not gate.passes(Latents(z, None, torch.zeros(3, dtype=torch.int64))).any()
    nothing = gate.score(Latents(z[:0], None, torch.zeros(0, dtype=torch.int64)))
    assert [len(share) for share in nothing.each().values()] == [0, 0, 0]


def test_without_labels_or_with_one_class_there_are_two_scores(two_classes, gate):
    plain = QualityGate().fit(ReferenceSet(two_classes.z))
    scores = plain.score(Latents(two_classes.z + 0.2, None, two_classes.labels))
    assert scores.agreement is None
    assert list(scores.each()) == ["fidelity", "novelty"]
    assert gate.score(Latents(two_classes.z + 0.2)).agreement is None  # only the reference set has labels
    one_class = QualityGate().fit(ReferenceSet(two_classes.z, torch.zeros(COUNT, dtype=torch.int64)))
    assert one_class.score(Latents(two_classes.z, None, two_classes.labels * 0)).agreement is None


def test_a_class_that_the_reference_set_lacks_does_not_agree(gate, source):
    foreign = Latents(source.z + 0.2, None, torch.full((len(source),), 7))
    assert (gate.score(foreign, source).agreement == 0).all()
    assert not gate.passes(foreign, source).any()


def test_soft_labels_are_compared_as_a_whole(gate, two_classes):
    one = two_classes.z[two_classes.labels == 0][:50]
    sure, turned = torch.tensor([1.0, 0.0]).expand(50, 2), torch.tensor([0.0, 1.0]).expand(50, 2)
    right = gate.score(Latents(one + 0.1, None, sure), Latents(one, None, sure)).agreement
    wrong = gate.score(Latents(one + 0.1, None, turned), Latents(one, None, turned)).agreement
    whole = gate.score(Latents(one + 0.1, None, torch.zeros(50, dtype=torch.int64)), Latents(one)).agreement
    torch.testing.assert_close(right, whole)
    assert right.mean() > 0.3
    assert (wrong == 0).all()


def test_feature_maps_are_scored_like_vectors():
    labels = torch.arange(60) % 2
    reference = ReferenceSet(normal(60, 3, 4, 4) + 3 * labels[:, None, None, None], labels)
    gate = QualityGate().fit(reference)
    assert not gate.passes(Latents(reference.z[:5], None, reference.labels[:5])).any()  # copies
    assert not gate.passes(Latents(reference.z[:5] + 0.3 * normal(5, 3, 4, 4), None, 1 - reference.labels[:5])).any()
    fresh = Latents(normal(60, 3, 4, 4, seed=1) + 3 * labels[:, None, None, None], None, labels)
    assert gate.passes(fresh).float().mean() > 0.7


@pytest.mark.parametrize("count", [2, 7])
def test_a_tiny_reference_set_is_enough_to_refuse_copies(count):
    z = 5 * normal(count, 4)
    gate = QualityGate().fit(ReferenceSet(z, torch.arange(count) % 2))
    assert not gate.passes(Latents(z, None, torch.arange(count) % 2)).any()
    made, weight, _ = gate.choose(Latents(z, None, torch.arange(count) % 2), noise(0.0), draws(count))
    assert torch.equal(made.z, z)
    assert not weight.any()
    twice = QualityGate().fit(ReferenceSet(z.repeat(2, 1), torch.arange(2 * count) % 2))  # which holds copies itself
    assert (twice.score(Latents(z, None, torch.arange(count) % 2)).novelty == 0).all()


def test_real_samples_to_compare_with_are_needed():
    with pytest.raises(ReferenceSetError, match="the reference set has 1"):
        QualityGate().fit(ReferenceSet(normal(1, 4)))
    with pytest.raises(ReferenceSetError, match=r"call augment\.fit\(dataset\)"):
        QualityGate().score(Latents(normal(2, 4)))


def test_the_classifier_does_not_know_the_source(two_classes):
    """A sample that is labelled wrong in the real set cannot vouch for what is made from it."""
    labels = two_classes.labels.clone()
    rows = torch.arange(0, COUNT, 10)
    labels[rows] = 1 - labels[rows]
    reference = ReferenceSet(two_classes.z, labels)
    gate = QualityGate().fit(reference)
    source = Latents(two_classes.z[rows], None, labels[rows])
    scores = gate.score(Latents(source.z + 0.2 * normal(*source.z.shape), None, source.labels), source)
    usual = gate.score(Latents(source.z + 0.2 * normal(*source.z.shape), None, 1 - source.labels), source)
    assert scores.agreement.mean() < 0.15
    assert usual.agreement.mean() > 0.4


# --- weights


def test_weights_are_one_where_all_is_well_and_fall_with_the_lowest_score():
    gate = QualityGate(0.7)  # each of three scores may be as low as 0.1
    shares = torch.tensor([0.0, 0.02, 0.05, 0.1, 0.5, 1.0])
    fine = torch.ones(6)
    for scores in (GateScores(shares, fine, fine), GateScores(fine, shares, fine), GateScores(fine, fine, shares)):
        torch.testing.assert_close(gate.weigh(scores), torch.tensor([0.0, 0.2, 0.5, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(gate.weigh(GateScores(shares, fine, None))[:4], torch.tensor([0, 2 / 15, 1 / 3, 2 / 3]))


def test_weighing_draws_once_and_replaces_nothing(two_classes, source):
    gate = QualityGate(action="weigh").fit(two_classes)
    made, weight, _ = gate.choose(source, noise(1.0), draws(len(source)))
    assert torch.equal(made.z, noise(1.0)(source, draws(len(source))).z)
    assert 0 <= float(weight.min()) < float(weight.max()) == 1
    assert gate.counts.drawn == gate.counts.samples == len(source)
    assert not gate.rejected(weight).any()


# --- re-drawing


def test_redrawing_is_bounded_and_keeps_the_original_in_the_end(gate, source):
    calls = []

    def far(latents: Latents, random: SampleRandom) -> Latents:
        calls.append(len(latents))
        return Latents(latents.z + 50 + random.normal(6), latents.posterior_std, latents.labels)

    made, weight, _ = gate.choose(source, far, draws(len(source)))
    assert calls == [len(source)] * 4
    assert torch.equal(made.z, source.z)
    assert torch.equal(made.labels, source.labels)
    assert not weight.any()
    assert gate.rejected(weight).all()
    assert gate.counts == GateCounts(len(source), 4 * len(source), 0, 4 * len(source), 0, gate.counts.agreement)


def test_only_samples_that_failed_are_drawn_again(gate, source):
    calls = []

    def counted(latents: Latents, random: SampleRandom) -> Latents:
        calls.append(len(latents))
        return noise(0.9)(latents, random)

    first = noise(0.9)(source, draws(len(source)))
    good = gate.passes(first, source)
    made, weight, _ = gate.choose(source, counted, draws(len(source)))
    assert calls[0] == len(source)
    assert calls[1] == int((~good).sum())
    assert calls == sorted(calls, reverse=True)
    assert torch.equal(made.z[good], first.z[good])
    replaced = (made.z != source.z).any(1)
    assert torch.equal(replaced, weight == 1)
    assert gate.passes(made.take(replaced.nonzero()[:, 0]), source.take(replaced.nonzero()[:, 0])).all()


def test_what_becomes_of_a_sample_does_not_depend_on_the_batch(gate, source, global_rng_untouched):
    whole, weight, _ = gate.choose(source, noise(0.9), draws(len(source)))
    twin = copy.deepcopy(gate)
    twin.counts = GateCounts()
    parts = []
    for rows in torch.arange(len(source)).split(7):
        parts.append(twin.choose(source.take(rows), noise(0.9), draws(len(rows), int(rows[0]))))
    assert torch.equal(torch.cat([made.z for made, _, _ in parts]), whole.z)
    assert torch.equal(torch.cat([weights for _, weights, _ in parts]), weight)
    assert twin.counts == gate.counts


def test_counts_add_up_and_more_redraws_pass_more(gate, source, two_classes):
    for part in range(3):
        _, weight, _ = gate.choose(source, noise(0.9), draws(len(source), 1000 * part))
    counts = gate.counts
    assert counts.samples == 3 * len(source)
    assert counts.samples < counts.drawn <= 4 * counts.samples
    assert counts.passed >= int(weight.sum())
    failed = counts.drawn - counts.passed
    assert max(counts.fidelity, counts.novelty, counts.agreement) <= failed
    assert failed <= counts.fidelity + counts.novelty + counts.agreement
    assert (counts + counts).drawn == 2 * counts.drawn
    assert f"{counts.passed} of {counts.samples} synthetic samples passed" in str(counts)
    passed = []
    for redraws in (0, 1, 6):
        gate = QualityGate(redraws=redraws).fit(two_classes)
        gate.choose(source, noise(0.9), draws(len(source)))
        passed.append(gate.counts.passed)
    assert passed[0] < passed[1] < passed[2]


def test_gradients_flow_through_the_samples_that_passed(gate, source):
    z = source.z.clone().requires_grad_()
    made, weight, _ = gate.choose(Latents(z, None, source.labels), noise(0.5), draws(len(source)))
    made.z.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))
    assert not weight.requires_grad


def test_it_can_be_fitted_and_used_in_inference_mode(two_classes, source):
    with torch.inference_mode():
        inside = QualityGate().fit(ReferenceSet(two_classes.z.clone(), two_classes.labels))
        share = inside.score(source).agreement.clone()
    assert torch.equal(share, QualityGate().fit(two_classes).score(source).agreement)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate))], ids=["copy", "pickle"]
)
def test_copies_of_a_gate_choose_alike_and_count_alone(gate, source, copied):
    twin = copied(gate)
    made, weight, _ = gate.choose(source, noise(0.9), draws(len(source)))
    assert twin.counts.samples == 0
    again, same, _ = twin.choose(source, noise(0.9), draws(len(source)))
    assert torch.equal(again.z, made.z)
    assert torch.equal(same, weight)


def test_arguments_out_of_range_are_refused_and_its_text_shows_the_others():
    for arguments in (
        {"keep": 1.5}, {"keep": -0.1}, {"keep": float("nan")}, {"k": 0}, {"k": 1.5}, {"k": True}, {"redraws": -1},
        {"redraws": 1.0}, {"action": "reject"},
    ):  # fmt: skip
        with pytest.raises(InputError, match="QualityGate takes"):
            QualityGate(**arguments)
    assert repr(QualityGate(0.9, redraws=1)) == "quality_gate(keep=0.9, k=3, redraws=1, action='redraw')"
