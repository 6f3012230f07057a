"""`policy.json`: what goes out comes back, and anything else is refused with one of our errors."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augmentor import LatentAugment, QualityGate, load_autoencoder
from augmentor._internal.config import AugmentConfig
from augmentor._internal.weights import save_network
from augmentor.autoencoders import autoencoders
from augmentor.data import Mixing
from augmentor.exceptions import InputError, WeightsError

MINIMAL = {"autoencoder": "digits", "policy": "gaussian(std=0.5)"}


def settings_of(augment: LatentAugment) -> dict:
    return {**augment.to_config(), "autoencoder": None}


@pytest.fixture
def tuned() -> LatentAugment:
    augment = LatentAugment("digits", "smote(k=3)", p=0.25, gate=QualityGate(0.9, k=2, redraws=1, action="weigh"))
    augment.mixing = Mixing(0.5, 0.75)
    return augment


# --- there and back


def test_a_transform_comes_back_through_a_file(tuned, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(tuned.to_config()))
    for source in (tmp_path / "policy.json", str(tmp_path / "policy.json"), tuned.to_config()):
        again = LatentAugment.from_config(source, seed=3, labels_getter=None)
        assert again.to_config() == tuned.to_config()
        assert str(again.policy) == "smote(k=3, strength=1.0)"
        assert (again.p, again.seed, again.mixing) == (0.25, 3, Mixing(0.5, 0.75))
        assert repr(again.gate) == "quality_gate(keep=0.9, k=2, redraws=1, action='weigh')"
        assert again.needs_fit
        assert again.labels_getter(([], 3)) is None
        assert str(again.plan) == "fp32"
    plan = "fp32+channels_last"
    assert str(LatentAugment.from_config(tuned.to_config(), precision=plan).plan) == plan


def test_the_same_settings_make_the_same_samples(digits, tmp_path):
    augment = LatentAugment("digits", "gaussian(std=0.4)", p=1.0, seed=5)
    (tmp_path / "policy.json").write_text(json.dumps(augment.to_config()))
    again = LatentAugment.from_config(tmp_path / "policy.json", seed=5)
    assert torch.equal(again(digits.images[:8]), augment(digits.images[:8]))


def test_only_autoencoder_and_policy_have_to_be_there():
    augment = LatentAugment.from_config({**MINIMAL, "gate": None, "mixing": None, "autoencoder_sha256": None})
    assert (augment.p, augment.gate, augment.mixing) == (0.5, None, None)
    assert settings_of(LatentAugment.from_config(MINIMAL)) == settings_of(augment)


def test_how_it_was_found_is_kept_for_people_and_ignored():
    provenance = {"answer": "none", "table": [{"row": 1}], "seeds": [0, 1], "control": "geometric"}
    assert (
        LatentAugment.from_config({**MINIMAL, **provenance}).to_config()
        == LatentAugment.from_config(MINIMAL).to_config()
    )


def test_the_answer_none_adds_nothing():
    with pytest.warns(match="p=0 perturbs nothing"):
        augment = LatentAugment.from_config({**MINIMAL, "p": 0.0, "mixing": {"ratio": 0.0, "balance": 0.0}})
    assert augment.mixing.added({0: 10, 1: 3}) == {0: (0, 0), 1: (0, 0)}


def test_weights_are_found_beside_the_file_from_anywhere(tmp_path, monkeypatch, digits):
    (tmp_path / "tuned" / "model").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    save_network(load_autoencoder("digits"), tmp_path / "tuned/model/mine.safetensors")
    document = {**LatentAugment("digits").to_config(), "autoencoder": "model/mine.safetensors"}
    (tmp_path / "tuned/policy.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path / "elsewhere")
    augment = LatentAugment.from_config("../tuned/policy.json")
    assert torch.equal(augment.synthesize(digits.images[:2], seed=1), LatentAugment("digits").synthesize(digits.images[:2], seed=1))  # fmt: skip  # noqa: E501
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="does not exist"):
        LatentAugment.from_config(document)  # a dict has no folder


def test_a_path_is_looked_for_in_the_working_folder_too(tmp_path, monkeypatch):
    save_network(load_autoencoder("digits"), tmp_path / "mine.safetensors")
    (tmp_path / "tuned").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned/policy.json").write_text(json.dumps(LatentAugment("mine.safetensors").to_config()))
    assert LatentAugment.from_config("tuned/policy.json").to_config()["autoencoder"] == "mine.safetensors"


def test_an_autoencoder_that_has_changed_is_refused(tmp_path):
    document = LatentAugment("digits").to_config()
    with pytest.raises(WeightsError, match=r"the policy was chosen for 0123\.\.\.; give that one, or tune again"):
        LatentAugment.from_config({**document, "autoencoder_sha256": "0123"})
    model = load_autoencoder("digits")
    next(model.parameters()).data.add_(1e-3)
    save_network(model, tmp_path / "changed.safetensors")
    with pytest.raises(WeightsError, match="the policy was chosen for"):
        LatentAugment.from_config({**document, "autoencoder": str(tmp_path / "changed.safetensors")})


def test_an_autoencoder_object_has_no_name_and_is_given_again(vae, digits, tmp_path):
    augment = LatentAugment(vae, "gaussian(std=0.4)", p=1.0, seed=5)
    (tmp_path / "policy.json").write_text(json.dumps(augment.to_config()))
    with pytest.raises(InputError, match="names no autoencoder"):
        LatentAugment.from_config(tmp_path / "policy.json")
    again = LatentAugment.from_config(tmp_path / "policy.json", autoencoder=vae, seed=5)
    assert torch.equal(again(digits.images[:8]), augment(digits.images[:8]))


def test_fitted_statistics_are_kept_where_the_weights_brought_none(digits, tmp_path):
    model = autoencoders.get("vae").example()
    model.save(tmp_path / "unfitted.safetensors")
    augment = LatentAugment(str(tmp_path / "unfitted.safetensors"), p=1.0, seed=5).fit(digits.subset(torch.arange(50)))
    (tmp_path / "policy.json").write_text(json.dumps(augment.to_config()))
    again = LatentAugment.from_config(tmp_path / "policy.json", seed=5)
    assert again.autoencoder.stats.fitted
    assert torch.equal(again(digits.images[:8]), augment(digits.images[:8]))
    assert again.to_config() == augment.to_config()
    assert LatentAugment("digits").to_config()["statistics"] is None


def test_statistics_of_another_autoencoder_are_refused(vae):
    document = LatentAugment(vae).to_config()
    document["statistics"]["mean"].pop()
    with pytest.raises(WeightsError, match="made with another autoencoder"):
        LatentAugment.from_config(document, autoencoder=vae)
    document = LatentAugment(vae).to_config()
    document["statistics"]["mean"][0] += 0.1
    with pytest.raises(WeightsError, match="give that one, or tune again"):
        LatentAugment.from_config(document, autoencoder=vae)


# --- what is no such document


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2; this version reads format 1"),
        ({"autoencoder": None}, "no autoencoder"),
        ({"autoencoder": 3}, "autoencoder is 3"),
        ({"policy": None}, "no policy"),
        ({"policy": ["gaussian"]}, "policy is"),
        ({"policy": "gausian"}, "did you mean 'gaussian'"),
        ({"policy": "gaussian(std=-1)"}, "std"),
        ({"p": "half"}, "p is 'half'"),
        ({"p": True}, "p is True"),
        ({"p": 2}, "probability between 0 and 1"),
        ({"p": float("nan")}, "probability between 0 and 1"),
        ({"autoencoder_sha256": 12}, "autoencoder_sha256 is 12"),
        ({"gate": 0.95}, "gate is 0.95"),
        ({"gate": {"kep": 1}}, "gate has no 'kep'; did you mean 'keep'"),
        ({"gate": {"keep": 3}}, "keep between 0 and 1"),
        ({"gate": {"keep": "all"}}, "gate is"),
        ({"gate": {"redraws": None}}, "redraws"),
        ({"mixing": [1, 0]}, "mixing is"),
        ({"mixing": {"ratio": -1}}, "ratio >= 0"),
        ({"mixing": {"ratio": 10**309}}, "ratio >= 0"),
        ({"mixing": {"balance": 1.5}}, "balance from 0 to 1"),
        ({"mixing": {"ratio": "all"}}, "ratio >= 0"),
        ({"mixing": {"ratoi": 1}}, "did you mean 'ratio'"),
        ({"statistics": [1, 2]}, "statistics is"),
        ({"statistics": {"mean": [0.0]}}, "lists of numbers mean and std"),
        ({"statistics": {"mean": [0.0], "std": [0.0]}}, "std above 0"),
        ({"statistics": {"mean": [float("nan")], "std": [1.0]}}, "lists of numbers"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(change, said, tmp_path):
    with pytest.raises(InputError, match=said):
        LatentAugment.from_config({**MINIMAL, **change})
    (tmp_path / "policy.json").write_text(json.dumps({**MINIMAL, **change}))
    with pytest.raises(InputError, match=said):
        LatentAugment.from_config(tmp_path / "policy.json")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b'"digits"', b"\xff\xfe", b"[" * 100_000, b'{"p": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "list", "number", "null", "text", "binary", "deep", "huge"],
)  # fmt: skip
def test_a_file_that_is_no_document_is_refused(content, tmp_path):
    (tmp_path / "policy.json").write_bytes(content)
    with pytest.raises(InputError, match=r"policy\.json"):
        LatentAugment.from_config(tmp_path / "policy.json")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match=r"cannot read .*policy\.json of `augmentor tune`"):
            LatentAugment.from_config(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["digits", "gaussian", "redraw", 1, 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PARTS = st.dictionaries(
    st.sampled_from(["keep", "k", "redraws", "action", "ratio", "balance", "x"]), VALUES, max_size=3
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(
        [
            "format",
            "autoencoder",
            "policy",
            "p",
            "autoencoder_sha256",
            "residual",
            "gate",
            "mixing",
            "statistics",
            "else",
        ]
    ),
    VALUES | PARTS,
    max_size=6,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS | st.builds(lambda part: {**MINIMAL, **part}, DOCUMENTS))
def test_any_document_is_read_or_refused_with_an_input_error(document, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(document))
    for source in (document, tmp_path / "policy.json"):
        try:
            config = AugmentConfig.read(source)
        except InputError:
            continue
        assert AugmentConfig.read(config.document()).document() == config.document()


@pytest.mark.parametrize("name", ["\0", "a" * 5000, "\ud800", "no/such/file.safetensors", "", "/"])
def test_any_text_may_stand_for_an_autoencoder(name, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps({**MINIMAL, "autoencoder": name}))
    with pytest.raises((InputError, WeightsError)), warnings.catch_warnings():
        LatentAugment.from_config(tmp_path / "policy.json")


# --- mixing


@given(
    st.dictionaries(st.integers(0, 20), st.integers(1, 500), min_size=1, max_size=8),
    st.floats(0, 4),
    st.floats(0, 1),
)
def test_mixing_fills_up_with_repeats_and_gives_each_class_the_same_share_of_synthetic_ones(have, ratio, balance):
    added = Mixing(ratio, balance).added(have)
    largest = max(have.values())
    assert added.keys() == have.keys()
    for label, (repeats, synthetic) in added.items():
        assert abs(repeats - balance * (largest - have[label])) <= 0.5
        assert abs(synthetic - ratio * (have[label] + repeats)) <= 0.5
    if balance == 1:
        assert len({have[label] + sum(counts) for label, counts in added.items()}) == 1


@pytest.mark.parametrize(
    "arguments", [(-0.1, 0), (float("nan"), 0), (float("inf"), 0), ("1", 0), (True, 0), (1, -0.1), (1, 1.1), (1, None)],
    ids=str,
)  # fmt: skip
def test_mixing_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(InputError, match="Mixing takes a ratio >= 0 and a balance from 0 to 1"):
        Mixing(*arguments)
