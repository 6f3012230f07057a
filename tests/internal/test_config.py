"""`policy.json`: what goes out comes back, and anything else is refused with one of our errors."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augmentor import LatentAugment, QualityGate, load_autoencoder
from augmentor._internal.config import AugmentConfig
from augmentor.autoencoders import autoencoders
from augmentor.data import Mixing
from augmentor.exceptions import InputError, WeightsError

MINIMAL = {"autoencoder": "digits", "policy": "gaussian(std=0.5)"}
PARTS = {"gate": QualityGate, "mixing": Mixing}


def written(augment: LatentAugment, folder, **changes):
    (folder / "policy.json").write_text(json.dumps({**augment.to_config(), **changes}))
    return folder / "policy.json"


def test_a_transform_comes_back_from_a_file_and_from_a_dict(tmp_path):
    augment = LatentAugment("digits", "smote(k=3)", p=0.25, gate=QualityGate(0.9, k=2, redraws=1, action="weigh"))
    augment.mixing = Mixing(0.5, 0.75)
    for source in (written(augment, tmp_path), augment.to_config()):
        again = LatentAugment.from_config(source, seed=3, labels_getter=None, precision="fp32+channels_last")
        assert again.to_config() == augment.to_config()
        assert str(again.policy) == "smote(k=3, strength=1.0)"
        assert (again.p, again.seed, again.mixing) == (0.25, 3, Mixing(0.5, 0.75))
        assert repr(again.gate) == "quality_gate(keep=0.9, k=2, redraws=1, action='weigh')"
        assert again.labels_getter(([], 3)) is None
        assert str(again.plan) == "fp32+channels_last"


def test_only_autoencoder_and_policy_have_to_be_there_and_further_entries_are_ignored():
    augment = LatentAugment.from_config({**MINIMAL, "gate": None, "mixing": None, "autoencoder_sha256": None})
    assert (augment.p, augment.gate, augment.mixing) == (0.5, None, None)
    for more in ({}, {"answer": "none", "table": [{"row": 1}]}):
        assert LatentAugment.from_config({**MINIMAL, **more}).to_config() == augment.to_config()


def test_weights_are_found_beside_the_file_or_in_the_working_folder(tmp_path, monkeypatch, digits):
    (tmp_path / "tuned" / "model").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    digits_model = LatentAugment("digits")
    for place in ("tuned/model/beside.safetensors", "elsewhere/here.safetensors"):
        load_autoencoder("digits").save(tmp_path / place)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("model/beside.safetensors", "here.safetensors"):
        augment = LatentAugment.from_config(written(digits_model, tmp_path / "tuned", autoencoder=name))
        assert torch.equal(*(a.synthesize(digits.images[:2], seed=1) for a in (augment, digits_model)))
    with pytest.raises(WeightsError, match="does not exist"):  # a dict has no folder
        LatentAugment.from_config({**MINIMAL, "autoencoder": "model/beside.safetensors"})


def test_an_autoencoder_that_has_changed_is_refused(tmp_path):
    document = LatentAugment("digits").to_config()
    with pytest.raises(WeightsError, match=r"the policy was chosen for 0123\.\.\.; use that autoencoder, or tune"):
        LatentAugment.from_config({**document, "autoencoder_sha256": "0123"})
    model = load_autoencoder("digits")
    next(model.parameters()).data.add_(1e-3)
    model.save(tmp_path / "changed.safetensors")
    with pytest.raises(WeightsError, match="the policy was chosen for"):
        LatentAugment.from_config({**document, "autoencoder": str(tmp_path / "changed.safetensors")})


def test_fitted_statistics_are_kept_where_the_weights_brought_none(digits, tmp_path):
    autoencoders.get("vae").example().save(tmp_path / "unfitted.safetensors")
    augment = LatentAugment(str(tmp_path / "unfitted.safetensors"), p=1.0, seed=5).fit(digits.subset(torch.arange(50)))
    again = LatentAugment.from_config(written(augment, tmp_path), seed=5)
    assert again.autoencoder.stats.fitted
    assert torch.equal(again(digits.images[:8]), augment(digits.images[:8]))
    assert again.to_config() == augment.to_config()
    assert LatentAugment("digits").to_config()["statistics"] is None


def test_an_autoencoder_object_is_given_again_and_another_refused(vae):
    document = LatentAugment(vae).to_config()
    assert LatentAugment.from_config(document, autoencoder=vae).to_config() == document
    with pytest.raises(InputError, match=r"contains no autoencoder name.*pass this object as autoencoder="):
        LatentAugment.from_config(document)
    document["statistics"]["mean"][0] += 0.1
    with pytest.raises(WeightsError, match="use that autoencoder, or tune again"):
        LatentAugment.from_config(document, autoencoder=vae)
    document["statistics"]["mean"].pop()
    with pytest.raises(WeightsError, match="made with another autoencoder"):
        LatentAugment.from_config(document, autoencoder=vae)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2; this version reads format 1"),
        ({"autoencoder": None}, "no autoencoder"),
        ({"policy": "gausian"}, "did you mean 'gaussian'"),
        ({"policy": "gaussian(std=-1)"}, "std"),
        ({"p": float("nan")}, "p is"),
        ({"gate": {"kep": 1}}, "gate has no argument 'kep'; did you mean 'keep'"),
        ({"gate": {"keep": "all"}}, "gate is"),
        ({"mixing": {"ratio": 10**309}}, "ratio >= 0"),
        ({"mixing": {"balance": 1.1}}, "balance from 0 to 1"),
        ({"statistics": {"mean": [0.0], "std": [0.0]}}, "std above 0"),
        ({"statistics": {"mean": [float("nan")], "std": [1.0]}}, "lists of numbers"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(change, said, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps({**MINIMAL, **change}))
    for source in ({**MINIMAL, **change}, tmp_path / "policy.json"):
        with pytest.raises(InputError, match=said):
            LatentAugment.from_config(source)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"p": ' + b"9" * 5000 + b"}"], ids=len)
def test_a_file_that_is_no_document_is_refused(content, tmp_path):
    (tmp_path / "policy.json").write_bytes(content)
    for path in (tmp_path / "policy.json", tmp_path):
        with pytest.raises(InputError, match=r"policy\.json"):
            LatentAugment.from_config(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["digits", "gaussian", "redraw", 1, 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ARGUMENTS = st.sampled_from(["keep", "k", "redraws", "action", "ratio", "balance", "x"])
ENTRIES = st.sampled_from(["format", *(field.name for field in fields(AugmentConfig)), "else"])
DOCUMENTS = st.dictionaries(ENTRIES, VALUES | st.dictionaries(ARGUMENTS, VALUES, max_size=3), max_size=6)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS | st.builds(lambda part: {**MINIMAL, **part}, DOCUMENTS))
def test_any_document_is_read_or_refused_with_an_input_error(document, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(document))
    for source in (document, tmp_path / "policy.json"):
        try:
            config = AugmentConfig.read(source, PARTS)
        except InputError:
            continue
        assert AugmentConfig.read(config.document(), PARTS).document() == config.document()


@pytest.mark.parametrize("name", ["\0", "a" * 5000, "\ud800", "/"], ids=len)
def test_any_text_may_stand_for_an_autoencoder(name):
    with pytest.raises((InputError, WeightsError)):
        LatentAugment.from_config({**MINIMAL, "autoencoder": name})
