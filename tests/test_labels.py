"""Labels as people have them: multi-hot, soft, ignored, missing; and what happens to a sample without a partner."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from augmentor import AugmentedLoader, LatentAugment, LatentCache, MixedDataset
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning, InputError, ReferenceSetError
from augmentor.policies import list_policies, policies
from augmentor.quality import QualityGate
from augmentor.shards import ShardDataset, generate_shards

EXAMPLES = [policies.get(name).example() for name in list_policies() if name != "one_of"]
COMBINING = [str(policy) for policy in EXAMPLES if policy.needs_reference]
MIXES_CLASSES = "interpolate(same_class=False, num_classes=10)"


def changed(images, others):
    return (images != others).flatten(1).any(1)


def quiet(policy, **arguments):
    return LatentAugment("digits", policy, p=1.0, **arguments)


@pytest.fixture
def few(digits) -> ArrayDataset:
    """Five images of class 0, one of class 1, two without a label."""
    rows = torch.cat([(digits.targets == 0).nonzero()[:5, 0], (digits.targets == 1).nonzero()[:1, 0],
                      (digits.targets == 2).nonzero()[:2, 0]])  # fmt: skip
    return ArrayDataset(digits.images[rows], torch.tensor([0] * 5 + [1] + [-100, -1]), classes=list("0123456789"))


ALONE = [False] * 5 + [True] * 3


@pytest.mark.filterwarnings("ignore:policy")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("policy", ["smote", "interpolate", "slerp", "extrapolate", "class_gaussian"])
@pytest.mark.parametrize("fitted", [True, False])
def test_a_sample_without_a_partner_is_byte_for_byte_the_original(few, policy, fitted, dtype):
    images = few.images if dtype == torch.uint8 else few.images.to(dtype) / 255
    augment = quiet(policy).fit(few) if fitted else quiet(policy)
    out, labels = augment(images, few.targets)
    assert torch.equal(labels, few.targets)
    alone = [True] * 8 if policy == "class_gaussian" and not fitted else ALONE
    assert changed(out, images).tolist() == [not each for each in alone]
    assert augment.unchanged == sum(alone)
    assert out.dtype == dtype


@pytest.mark.parametrize("policy", COMBINING)
def test_it_is_said_once_and_strict_raises(few, policy):
    one, label = few.images[:1], torch.tensor([5])
    augment = quiet(policy)
    with pytest.warns(
        AugmentorWarning, match=r"found no partner for 1 of 1 images, which are kept unchanged: .*call augment\.fit"
    ):
        out, _ = augment(one, label)
    assert torch.equal(out, one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment(one, label)
        augment(one[0], 5)
    assert augment.unchanged == 3
    with pytest.raises(ReferenceSetError, match="found no partner"):
        quiet(policy, strict=True)(one, label)
    assert torch.equal(quiet(policy, strict=True).fit(few)(one, torch.tensor([-100]))[0], one)  # asked for, not missing


def test_ignored_labels_pass_as_they_are_through_everything(few, tmp_path):
    mixed = MixedDataset(few, quiet("smote"), seed=0)
    with pytest.warns(AugmentorWarning, match="found no partner"):
        items = mixed.__getitems__(range(8, 16))
    sources = mixed.sources
    for (image, label), source in zip(items, sources, strict=True):
        assert label == few[int(source)][1]
        assert torch.equal(image, few[int(source)][0]) == ALONE[source]
    loader = AugmentedLoader([(few.images, few.targets)], quiet("smote").fit(few), ratio=1.0, return_mask=True)
    with pytest.warns(AugmentorWarning, match="found no partner"):
        ((_, labels, synthetic),) = loader
    assert torch.equal(labels, few.targets.repeat(2))
    assert synthetic[8:].tolist() == [not each for each in ALONE]
    for cache in (None, LatentCache(few, quiet("smote").autoencoder)):
        with pytest.warns(AugmentorWarning, match="found no partner"):
            folder = generate_shards(few, quiet("smote"), tmp_path / f"{cache is None}", num_samples=8, progress=False,
                                     cache=cache)  # fmt: skip
        shards = ShardDataset(folder)
        assert torch.equal(shards.targets, few.targets)
        assert changed(torch.stack([image for image, _ in shards]), few.images).tolist() == [not a for a in ALONE]
        assert (shards.draw_indices == -1).tolist() == ALONE


@pytest.mark.filterwarnings("ignore:policy")
def test_an_ignore_index_of_ones_own_is_no_class(few):
    labels = few.targets.masked_fill(few.targets < 0, 255)
    augment = quiet("smote", ignore_index=255).fit(few.images, labels)
    out, after = augment(few.images, labels)
    assert torch.equal(after, labels)
    assert changed(out, few.images).tolist() == [not each for each in ALONE]
    assert changed(quiet("smote").fit(few.images, labels)(few.images, labels)[0], few.images)[6:].all()  # a class else
    again = LatentAugment.from_config(augment.to_config(), ignore_index=255).fit(few.images, labels)
    assert changed(again.synthesize(few.images, labels)[0], few.images).tolist() == [not each for each in ALONE]
    soft = quiet(MIXES_CLASSES, ignore_index=255)(few.images, labels)[1]
    assert soft[6:].tolist() == [[0.0] * 10] * 2  # which a loss of soft labels does not count


@pytest.mark.filterwarnings("ignore:policy")
@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_partners_of_a_multi_hot_label_have_the_same_set_of_labels(digits, fitted, dtype):
    sets = torch.tensor(
        [[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    ).to(dtype)
    kind = torch.tensor([0, 0, 1, 1, 2, 2, 3, 4, 4])
    images = torch.stack([digits.images[digits.targets == k][i] for i, k in enumerate([0, 0, 1, 1, 7, 7, 4, 6, 6])])
    augment = quiet("interpolate(strength=1.0)")
    if fitted:
        augment.fit(images, sets)
    out, labels = augment(images, sets)
    assert torch.equal(labels.to(dtype), sets)
    assert changed(out, images).tolist() == [True] * 6 + [False] * 3
    # What was made lies between the two of its set: nearer to these than to the others.
    encode = augment.autoencoder.encode
    made, real = encode(out).mean, encode(images).mean
    nearest = kind[torch.cdist(made[:6], real).topk(2, largest=False).indices]
    assert (nearest == kind[:6, None]).float().mean() > 0.9


@pytest.mark.filterwarnings("ignore:policy")
def test_a_soft_label_has_partners_of_the_same_label_and_not_of_its_heaviest_class(digits):
    images = digits.images[:4]
    soft = torch.tensor([[0.7, 0.3], [0.7, 0.3], [0.6, 0.4], [1.0, 0.0]])
    assert changed(quiet("interpolate")(images, soft)[0], images).tolist() == [True, True, False, False]
    augment = quiet("interpolate").fit(images, torch.tensor([0, 0, 0, 0]))
    assert changed(augment(images, soft)[0], images).tolist() == [False, False, False, True]


def test_multi_hot_labels_of_other_samples_mix_as_they_are(digits):
    sets = torch.tensor([[1.0, 1, 0], [0, 1, 1]])
    out, labels = quiet("interpolate(same_class=False)", seed=1)(digits.images[:2], sets)
    weight = labels[0, 2]
    torch.testing.assert_close(labels[0], torch.stack([1 - weight, torch.tensor(1.0), weight]))
    assert changed(out, digits.images[:2]).all()


def test_labels_of_shape_n_1_and_of_numpy_are_class_numbers(digits):
    images, labels = digits.images[:40], digits.targets[:40] % 2
    expected = quiet("smote", seed=0).fit(images, labels)(images, labels)[0]
    for given in (labels[:, None], labels[:, None].numpy(), labels.tolist(), labels.numpy().astype(np.uint8)):
        out, _ = quiet("smote", seed=0).fit(images, given)(images, given)
        assert torch.equal(out, expected)


def test_samples_without_labels_are_of_one_class_and_half_a_labelling_is_an_error(digits):
    images, labels = digits.images[:20], digits.targets[:20]
    for augment in (quiet("interpolate"), quiet("interpolate").fit(images)):
        assert changed(augment(images), images).all()
    with pytest.raises(ReferenceSetError, match="pass their labels"):
        quiet("smote").fit(images, labels % 2)(images)
    with pytest.raises(ReferenceSetError, match="fit it on labelled data"):
        quiet("smote").fit(images)(images, labels)


@pytest.mark.filterwarnings("ignore:policy")
def test_a_gate_scores_no_ignored_label_and_multi_hot_ones_by_their_set(digits):
    images, targets = digits.images[:200], digits.targets[:200]
    some = targets.where(torch.arange(200) % 4 > 0, torch.tensor(-100))
    gate = QualityGate(0.9)
    augment = quiet("smote(k=3)", gate=gate, seed=0).fit(images, some)
    assert augment.reference.classifier.folds[augment.reference.labels < 0].unique().tolist() == [-1]
    out, _ = augment(images, some)
    assert not changed(out, images)[some < 0].any()
    assert changed(out, images)[some >= 0].any()
    assert augment.unchanged == int((some < 0).sum())
    several = F.one_hot(targets, 10) | F.one_hot((targets + 1) % 10, 10)
    by_set, by_number = (quiet("smote(k=3)", gate=QualityGate(0.9), seed=0).fit(images, labels)
                         for labels in (several, targets))  # fmt: skip
    made, expected = by_set(images, several)[0], by_number(images, targets)[0]
    assert changed(made, images).float().mean() == pytest.approx(
        float(changed(expected, images).float().mean()), abs=0.1
    )


@pytest.mark.filterwarnings("ignore:policy")
def test_an_ignore_index_adds_no_classes_to_soft_labels(few):
    labels = few.targets.masked_fill(few.targets < 0, 255)
    pairs = [
        (few.images, labels),
        (LatentCache(list(zip(few.images, labels, strict=True)), quiet("smote").autoencoder),),
    ]
    for data in pairs:
        augment = quiet("interpolate(same_class=False)", ignore_index=255).fit(*data)
        assert augment(few.images, labels)[1].shape == (8, 2)
    nothing = quiet("interpolate(same_class=False)").fit(few.images, torch.full((8,), -100))
    with pytest.raises(InputError, match="needs the number of classes"):
        nothing(few.images, labels)


def test_a_reference_set_without_labels_knows_no_class_of_a_labelled_sample(few):
    for policy in (*COMBINING, MIXES_CLASSES):
        with pytest.raises(ReferenceSetError, match="fit it on labelled data"):
            quiet(policy).fit(few.images)(few.images, few.targets)
    for policy in COMBINING:
        with pytest.raises(ReferenceSetError, match=r"pass the(ir|.*s') labels"):
            quiet(policy).fit(few.images, torch.zeros(8, dtype=torch.int64))(few.images)


def test_labels_that_are_texts_are_refused_where_they_are_looked_at(few, tmp_path):
    texts = [str(label) for label in few.targets.tolist()]
    pairs = list(zip(few.images, texts, strict=True))
    dicts = [{"image": image, "label": text} for image, text in pairs]
    fitted = quiet("smote").fit(few)
    uses = [
        lambda: quiet("smote").fit(few.images, np.asarray(texts)),
        lambda: fitted(few.images[0], texts[0]),
        lambda: fitted(dicts[0]),
        *(lambda items=items: quiet("smote").fit(items) for items in (pairs, dicts)),
        *(lambda items=items: MixedDataset(items, fitted) for items in (pairs, dicts)),
        *(lambda items=items: list(AugmentedLoader(DataLoader(items, 4), fitted)) for items in (pairs, dicts)),
        lambda: generate_shards(pairs, fitted, tmp_path / "out", num_samples=2),
    ]
    for use in uses:
        with pytest.raises(InputError, match="expected class numbers: convert the strings"):
            use()
    noise = quiet("gaussian(std=0.5)")  # which does not look at them
    assert noise(few.images[0], texts[0])[1] == texts[0]
    assert MixedDataset(pairs, noise)[8][1] in texts


def test_a_labels_getter_is_refused_where_it_would_not_be_asked(few):
    augment = quiet("smote", labels_getter=lambda sample: sample["target"]).fit(few)
    items = [{"image": image, "target": label} for image, label in zip(few.images, few.targets, strict=True)]
    for use in (MixedDataset, AugmentedLoader):
        with pytest.raises(InputError, match="leave labels_getter out"):
            use(items, augment)


@pytest.mark.filterwarnings("ignore:policy")
@pytest.mark.parametrize("form", ["(N,1)", "multi-hot", "bool"])
@pytest.mark.parametrize("policy", ["gaussian", "smote", "interpolate(same_class=False)"])
def test_real_and_synthetic_labels_of_a_mixed_data_set_are_of_one_kind(few, policy, form):
    rows = F.one_hot(few.targets.clamp_min(0), 3)
    labels = {"(N,1)": few.targets[:, None], "multi-hot": rows, "bool": rows.bool()}[form]
    mixed = MixedDataset(list(zip(few.images, labels, strict=True)), quiet(policy))
    found = [label for _, label in mixed]
    mixes = "same_class" in policy
    assert {label.dtype for label in found} == {torch.float32 if mixes else labels.dtype}
    assert {label.shape for label in found} == {(2 if form == "(N,1)" else 3,) if mixes else labels.shape[1:]}
    if not mixes:
        assert torch.equal(torch.stack(found[8:]), labels[mixed.sources])


@pytest.mark.filterwarnings("ignore:policy")
@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize("policy", ["interpolate", "smote", "slerp"])
def test_a_sample_that_a_policy_has_moved_is_not_its_own_partner(few, policy, fitted):
    augment = quiet(f"compose(gaussian(std=0.5), {policy})")
    augment = augment.fit(few) if fitted else augment
    assert changed(augment(few.images, few.targets)[0], few.images).tolist() == [not each for each in ALONE]
    some = LatentAugment("digits", augment.policy, p=0.99, seed=3)  # others of the batch are partners too
    assert not changed(some(few.images, few.targets)[0], few.images)[5:].any()
