"""`LatentClassifier`: learns the classes, and scores each sample without itself."""

from __future__ import annotations

import pytest
import torch

from augmentor.latents import LatentClassifier


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clusters(count: int, classes: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes around centres of their own; a fifth of the distance is noise."""
    labels = torch.arange(count) % classes
    return normal(count, *shape) + 5 * normal(classes, *shape, seed=9)[labels], labels


@pytest.mark.parametrize("shape", [(8,), (2, 16, 9)], ids=str)
def test_it_learns_the_classes_of_vectors_and_of_feature_maps(shape):
    z, labels = clusters(120, 3, *shape)
    classifier = LatentClassifier(z, labels)
    log_probs = classifier.log_probs(z, classifier.folds)
    assert log_probs.shape == (120, 3)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(120))
    assert (log_probs.argmax(1) == labels).float().mean() > 0.9


def test_what_a_fold_says_does_not_depend_on_its_own_labels_or_latents():
    (z, labels), row = clusters(40, 2, 6), 13
    classifier = LatentClassifier(z, labels)
    moved = z.clone()
    moved[row] += 100
    other = LatentClassifier(moved, labels)
    assert torch.equal(other.folds, classifier.folds)
    mine = classifier.folds == classifier.folds[row]
    mine[row] = False
    assert torch.equal(other.log_probs(z, other.folds)[mine], classifier.log_probs(z, classifier.folds)[mine])
    assert not torch.equal(other.log_probs(z, other.folds)[~mine], classifier.log_probs(z, classifier.folds)[~mine])


def test_every_class_is_dealt_evenly_into_the_folds_and_the_only_one_of_its_class_is_known_to_all():
    labels = torch.tensor([3] * 12 + [5] * 2 + [8])
    z = normal(15, 4)
    z[14] = 30
    classifier = LatentClassifier(z, labels)
    folds = classifier.folds
    assert folds[:12].bincount().tolist() == [3, 3, 2, 2, 2]
    assert folds[12:14].unique().numel() == 2
    assert folds[14] == -1  # no fold can spare it
    assert classifier.classes.tolist() == [3, 5, 8]
    assert classifier.log_probs(z[14:], folds[14:]).argmax() == 2


def test_agreement_is_the_log_probability_of_the_label_and_unknown_classes_do_not_agree():
    z, rows = clusters(60, 2, 5)
    labels = rows * 6 + 2  # numbers need not be consecutive
    classifier = LatentClassifier(z, labels)
    agreement = classifier.agreement(z, labels, classifier.folds)
    assert torch.equal(agreement, classifier.log_probs(z, classifier.folds).gather(1, rows[:, None]).squeeze(1))
    assert (classifier.agreement(z, 10 - labels, classifier.folds) < agreement - 1).float().mean() > 0.9
    for unknown in (0, 5, 9):
        assert (classifier.agreement(z, torch.full((60,), unknown)) == -torch.inf).all()


def test_soft_labels_agree_best_with_their_own_mixture():
    z, labels = clusters(60, 2, 5)
    soft = torch.nn.functional.one_hot(labels, 4).float()
    classifier = LatentClassifier(z, soft)
    assert classifier.classes.tolist() == [0, 1]
    torch.testing.assert_close(classifier.agreement(z, soft), classifier.agreement(z, labels))
    # What the classifier itself predicts is the label that fits best of all.
    own = torch.zeros(60, 4)
    own[:, :2] = classifier.log_probs(z).exp()
    torch.testing.assert_close(classifier.agreement(z, own), torch.zeros(60), atol=1e-5, rtol=0)
    foreign = own.clone()
    foreign[:, 3] = 0.5
    assert (classifier.agreement(z, foreign) == -torch.inf).all()


def test_gradients_flow_to_the_latents():
    z, labels = clusters(30, 2, 2, 4, 4)
    classifier = LatentClassifier(z, labels)
    probe = z.clone().requires_grad_()
    classifier.agreement(probe, labels, classifier.folds).sum().backward()
    assert (probe.grad.flatten(1).abs().sum(1) > 0).all()


def test_the_same_data_give_the_same_classifier_and_leave_the_generators_alone(global_rng_untouched):
    z, labels = clusters(50, 2, 5)
    with torch.no_grad():
        first = LatentClassifier(z, labels).log_probs(z)
    assert torch.equal(first, LatentClassifier(z, labels).log_probs(z))
    assert not torch.equal(first, LatentClassifier(z, labels, seed=1).log_probs(z))


def test_two_samples_and_equal_samples_are_enough():
    two = LatentClassifier(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    assert two.folds.tolist() == [-1, -1]
    assert two.log_probs(torch.tensor([[0.0], [1.0]])).argmax(1).tolist() == [0, 1]
    same = LatentClassifier(torch.zeros(20, 3), torch.arange(20) % 2)
    probability = same.log_probs(torch.zeros(1, 3)).exp()
    assert (probability - 0.5).abs().max() < 0.25
    assert len(same.log_probs(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))) == 0
