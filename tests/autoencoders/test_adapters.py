"""Adapted autoencoders: tiny real ones with random weights do in every place what ours do, and are told apart."""

from __future__ import annotations

import copy
import functools
import json
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from augmentor import AugmentedLoader, LatentAugment, MixedDataset, ShardDataset, generate_shards, load_autoencoder
from augmentor._internal.weights import fingerprint
from augmentor.autoencoders import Autoencoder, CallableAutoencoder, DiffusersAutoencoder, PythaeAutoencoder
from augmentor.cli import main
from augmentor.data import ArrayDataset
from augmentor.exceptions import InputError, OutputError, ShapeError, WeightsError
from augmentor.tuning.autoencoders import Autoencoders

diffusers = pytest.importorskip("diffusers", reason="the extra 'diffusers' is not installed")
pythae = pytest.importorskip("pythae.models", reason="pythae is not installed")

TWO_LEVELS = {
    "block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2, "layers_per_block": 1, "norm_num_groups": 4,
}  # fmt: skip


class Pair(nn.Module):
    """Two convolutions, between -1 and 1 like many GAN encoders."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 3, 2, stride=2), nn.ConvTranspose2d(3, 1, 2, stride=2)

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.down(images)
        return mean, torch.full_like(mean, 0.3)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.up(latents).tanh()


def halved(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1) / 2


def doubled(latents: torch.Tensor) -> torch.Tensor:
    return 2 * latents.reshape(-1, 1, 8, 8)


def kl(**changes: object) -> nn.Module:
    return diffusers.AutoencoderKL(**TWO_LEVELS, **{"latent_channels": 2, "shift_factor": 0.1, **changes})


def tiny() -> nn.Module:
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )  # fmt: skip


def of_pair() -> Autoencoder:
    pair = Pair()
    return CallableAutoencoder(pair.encode, pair.decode, (1, None, None), stride=2, value_range=(-1, 1))


def functions(**changes: object) -> Autoencoder:
    arguments = {"encode": halved, "decode": doubled, "image_shape": (1, 8, 8), "version": "1", **changes}
    return CallableAutoencoder(**arguments)


MAKERS: dict[str, Callable[[], Autoencoder]] = {
    "AutoencoderKL": lambda: DiffusersAutoencoder(kl()),
    "AutoencoderKL, grey": lambda: DiffusersAutoencoder(kl(), grey=True),
    "AutoencoderTiny": lambda: DiffusersAutoencoder(tiny()),
    "pythae AE": lambda: PythaeAutoencoder(pythae.AE(pythae.AEConfig(input_dim=(1, 8, 8), latent_dim=4))),
    "pythae VAE": lambda: PythaeAutoencoder(pythae.VAE(pythae.VAEConfig(input_dim=(1, 8, 8), latent_dim=4))),
    "methods": of_pair,
    "functions": functions,
}
ANY_SIZE = ["AutoencoderKL", "AutoencoderKL, grey", "AutoencoderTiny", "methods"]
WITH_STD = {"AutoencoderKL", "AutoencoderKL, grey", "pythae VAE", "methods"}


def make(name: str, seed: int = 0) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MAKERS[name]()


@pytest.fixture(params=list(MAKERS))
def name(request) -> str:
    return request.param


@pytest.fixture
def model(name) -> Autoencoder:
    return make(name)


@pytest.fixture
def data(digits, model) -> ArrayDataset:
    few = digits.subset(torch.arange(24))
    return ArrayDataset(few.images.expand(-1, model.image_shape[0], -1, -1), few.targets, few.classes)


# --- the contract


@torch.no_grad()
def test_images_come_back_in_shape_type_and_range(name, model, data):
    mean, std = model.encode(data.images)
    assert mean.dtype == torch.float32
    assert (std is not None) == (name in WITH_STD)
    assert std is None or (std.shape == mean.shape and (std > 0).all())
    made = model.decode(50 * mean)
    assert made.shape == data.images.shape
    assert 0 <= made.min() <= made.max() <= 1
    torch.testing.assert_close(model(data.images[:1]), model(data.images)[:1], atol=1e-5, rtol=0)
    with pytest.raises(ShapeError, match=r"; (convert with|if the last is alpha)"):
        model.encode(torch.rand(2, 3 if model.image_shape[0] == 1 else 2, 8, 8))  # RGB networks take grey images
    if name == "functions":
        assert torch.equal(model(data.images), data.images.float() / 255)


@pytest.mark.parametrize("name", ANY_SIZE, indirect=True)
def test_any_size_comes_back(model):
    augment = LatentAugment(model, p=1.0)
    for size in ((9, 11), (37, 50)):
        images = torch.rand(2, model.image_shape[0], *size)
        assert model(images).shape == augment(images).shape == images.shape


@torch.no_grad()
def test_raw_latents_of_diffusers_are_what_its_pipelines_see_and_grey_images_go_through_as_rgb():
    network, small = kl(), tiny().eval()
    images, ours, grey = torch.rand(2, 3, 8, 8), DiffusersAutoencoder(network), DiffusersAutoencoder(network, grey=True)
    posterior = network.encode(2 * images - 1).latent_dist
    torch.testing.assert_close(ours.encode(images).mean, (posterior.mean - 0.1) * 0.18215)
    torch.testing.assert_close(ours.encode(images).std, posterior.std * 0.18215)
    decoded = network.decode(posterior.mean).sample / 2 + 0.5
    torch.testing.assert_close(ours(images), decoded.clamp(0, 1))
    latents = grey.encode(images[:, :1]).mean
    assert torch.equal(latents, ours.encode(images[:, :1].expand(-1, 3, -1, -1)).mean)
    torch.testing.assert_close(grey.decode(ours.encode(images).mean), decoded.mean(1, keepdim=True).clamp(0, 1))
    expected = small.decode(small.encode(2 * images - 1).latents).sample / 2 + 0.5
    torch.testing.assert_close(DiffusersAutoencoder(small)(images), expected.clamp(0, 1))


@torch.no_grad()
def test_latents_of_pythae_are_its_own():
    network = pythae.VAE(pythae.VAEConfig(input_dim=(1, 8, 8), latent_dim=4)).eval()
    images = torch.rand(3, 1, 8, 8)
    ours = PythaeAutoencoder(network)
    embedding = network.encoder(images).embedding
    assert torch.equal(ours.encode(images).mean, embedding)
    torch.testing.assert_close(ours.encode(images).std, network.encoder(images).log_covariance.div(2).exp())
    assert torch.equal(ours(images), network.decoder(embedding).reconstruction)


# --- every way in


def test_it_works_as_a_transform_a_data_set_and_a_loader(model, data):
    augment = LatentAugment(model, "smote(k=2)", p=1.0, seed=1).fit(data)
    images, labels = augment(data.images, data.targets)
    assert (images.shape, images.dtype) == (data.images.shape, torch.uint8)
    assert not torch.equal(images, data.images)
    assert torch.equal(labels, data.targets)
    mixed = MixedDataset(data, augment, ratio=0.5)
    batch, _ = next(iter(DataLoader(mixed, batch_size=len(mixed))))
    assert batch.shape == (36, *data.images.shape[1:])
    for batch, _ in AugmentedLoader(DataLoader(data, batch_size=8), augment, ratio=0.5):
        assert batch.shape == (12, *data.images.shape[1:])


def test_it_makes_and_reads_shards_and_others_weights_cannot_go_on_with_them(name, model, data, tmp_path):
    generate_shards(data, LatentAugment(model).fit(data), tmp_path / "a", num_samples=6)
    again = LatentAugment(make(name)).fit(data)
    generate_shards(data, again, tmp_path / "b", num_samples=6, batch_size=2)
    assert (tmp_path / "a/shard-00000.h5").read_bytes() == (tmp_path / "b/shard-00000.h5").read_bytes()
    if name != "functions":  # those have no weights
        with pytest.raises(OutputError):
            generate_shards(data, LatentAugment(make(name, seed=1)).fit(data), tmp_path / "a", num_samples=6)
    generate_shards(data, again, tmp_path / "latents", num_samples=6, store="latents")
    shards = ShardDataset(tmp_path / "latents", autoencoder=again.autoencoder)
    for (image, _), (expected, _) in zip(shards, ShardDataset(tmp_path / "a"), strict=True):
        torch.testing.assert_close(image, expected, atol=1, rtol=0)


def test_pickled_and_copied_it_is_the_same_and_gradients_flow_to_the_images(model, data):
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(other(data.images), model(data.images))
        assert fingerprint(other.state_dict()) == fingerprint(model.state_dict())
    images = (0.2 + 0.6 * data.images.float() / 255).requires_grad_()
    LatentAugment(model, "gaussian(std=0.01)").synthesize(images).sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_moves_with_the_transform_and_weights_in_bfloat16_keep_images_and_statistics_in_float32(name, data):
    model, half, images = make(name), make(name), data.images.float() / 255
    half.network.to(torch.bfloat16)
    torch.testing.assert_close(half(images), model(images), atol=0.05, rtol=0)
    augment = LatentAugment(half, p=1.0).fit(data)
    assert half.stats.mean.dtype == augment.synthesize(images).dtype == torch.float32
    assert LatentAugment(make(name), p=1.0).to(torch.bfloat16).synthesize(images).isfinite().all()
    if name != "functions":  # which without weights compute wherever their input is
        assert LatentAugment(model).to("meta").device.type == "meta"
        assert all(tensor.device.type == "meta" for tensor in (*model.parameters(), *model.buffers()))


# --- saved and loaded


def test_fitted_statistics_are_saved_and_loaded_with_the_config(name, model, data, tmp_path):
    augment = LatentAugment(model, "gaussian(std=0.4)", p=1.0, seed=5).fit(data)
    (tmp_path / "policy.json").write_text(json.dumps(augment.to_config()))
    again = LatentAugment.from_config(tmp_path / "policy.json", autoencoder=make(name), seed=5)
    assert torch.equal(again.autoencoder.stats.std, model.stats.std)
    assert torch.equal(again(data.images), augment(data.images))
    if name != "functions":
        with pytest.raises(WeightsError, match="use that autoencoder, or tune again"):
            LatentAugment.from_config(tmp_path / "policy.json", autoencoder=make(name, seed=1))


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("Autoencoder")], indirect=True)
def test_a_diffusers_autoencoder_is_saved_whole(model, data, tmp_path):
    LatentAugment(model).fit(data).autoencoder.save(tmp_path / "model.safetensors")
    again = load_autoencoder(tmp_path / "model.safetensors")
    assert fingerprint(again.state_dict()) == fingerprint(model.state_dict())
    # The same weights at other places in memory: some processors add them up in another order.
    torch.testing.assert_close(again(data.images), model(data.images))
    assert LatentAugment.from_config(LatentAugment(tmp_path / "model.safetensors").to_config()).autoencoder.stats.fitted


@pytest.mark.parametrize("name", ["pythae VAE", "methods"], indirect=True)
def test_code_of_others_is_not_written_to_weights(model, data, tmp_path):
    with pytest.raises(InputError, match=r"from_config\(config, autoencoder=\.\.\.\)"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    kept = Autoencoders(LatentAugment(model).fit(data).autoencoder, tmp_path, "cpu").kept(data)
    assert kept["autoencoder"] is None
    assert kept["statistics"] == model.stats.values()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """What `save_pretrained` writes, of a model for grey images."""
    place = tmp_path_factory.mktemp("diffusers")
    kl(in_channels=1, out_channels=1).save_pretrained(place / "vae")
    kl(in_channels=1, out_channels=1).save_pretrained(place / "pickled", safe_serialization=False)
    (place / "empty").mkdir()
    return str(place)


def test_a_local_folder_is_a_name_unless_it_holds_pickles_or_nothing(folder, digits, monkeypatch):
    few = digits.subset(torch.arange(24))
    augment = LatentAugment(f"diffusers:{folder}/vae", p=1.0, seed=2).fit(few)
    again = LatentAugment.from_config(json.loads(json.dumps(augment.to_config())), seed=2)
    assert torch.equal(again(few.images), augment(few.images))
    monkeypatch.setenv("HOME", folder)
    monkeypatch.chdir(folder)
    for place in ("~/vae", "vae"):
        assert LatentAugment(f"diffusers:{place}").to_config()["autoencoder"] == f"diffusers:{folder}/vae"
        assert DiffusersAutoencoder.load(Path(place)).grey is False
    for inside in ("pickled", "empty"):
        with pytest.raises(WeightsError, match="expected a folder that save_pretrained wrote as safetensors"):
            load_autoencoder(f"diffusers:{folder}/{inside}")


def test_the_command_line_takes_a_folder_and_says_in_one_line_what_it_cannot_do(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` takes over how they are shown
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    generate = ["generate", "digits", "--num-samples", "8", "--anyway", "--autoencoder"]
    main([*generate, f"diffusers:{folder}/vae", "--out", "shards"])
    assert len(ShardDataset("shards")) == 8
    assert "no latent statistics" not in capfd.readouterr().err
    for more, said in (
        ([f"diffusers:{folder}/vae", "--store", "latents"], r"autoencoder\.save\(FILE\)"),
        (["diffusers:some/vae"], "cannot load the diffusers autoencoder 'some/vae': .* a hub that can be reached"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*generate, *more, "--out", "none"])
        assert re.fullmatch(rf"error: .*{said}.*\n", capfd.readouterr().err)
    assert os.listdir(tmp_path) == ["shards"]


def test_a_hub_name_loads_what_the_hub_has(folder, tmp_path, monkeypatch, digits):
    revision = "0123456789" * 4
    repository = tmp_path / "models--somebody--some-vae"
    shutil.copytree(f"{folder}/vae", repository / "snapshots" / revision / "vae")  # as the hub's client keeps it
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    there, here = (load_autoencoder(f"diffusers:{place}/vae") for place in ("somebody/some-vae", folder))
    assert torch.equal(there(digits.images[:3]), here(digits.images[:3]))


# --- what is no such model


def test_other_models_are_refused_by_name():
    quantised = pythae.VQVAE(pythae.VQVAEConfig(input_dim=(1, 8, 8), latent_dim=4))
    for adapter, other, said in (
        (DiffusersAutoencoder, nn.Linear(1, 1), "AutoencoderKL or .*Tiny, got Linear; see CallableAutoencoder"),
        (DiffusersAutoencoder, {"_class_name": "os"}, "got 'os'"),
        (PythaeAutoencoder, quantised, "pythae AE or VAE.*got VQVAE"),
        (PythaeAutoencoder, nn.Linear(1, 1), "got Linear; see CallableAutoencoder"),
    ):
        with pytest.raises(InputError, match=said):
            adapter(other)


def test_callables_that_do_not_fit_are_refused():
    for arguments, said in (
        ({"version": None}, "no weights for a fingerprint"),
        ({"encode": 3}, "two callables"),
        ({"value_range": (1, 0)}, "value_range"),
        ({"encode": lambda images: [images]}, "got list"),
        ({"encode": lambda images: images.mean()}, "expected raw latents"),
        ({"decode": lambda latents: latents}, "expected an image of at least this size"),
    ):
        with pytest.raises(InputError, match=said):
            functions(**arguments)


def test_functions_and_settings_of_other_versions_have_other_fingerprints():
    models = functions(), functions(), functions(version="2"), functions(value_range=(-1, 1))
    first, same, *others = (fingerprint(model.state_dict()) for model in models)
    assert first == same
    assert len({first, *others}) == 3


def test_functions_that_find_their_modules_by_themselves_are_not_left_behind():
    pair = Pair()
    closing = CallableAutoencoder(lambda x: pair.encode(x)[0], lambda z: pair.decode(z), (1, 8, 8), modules=pair)
    methods = CallableAutoencoder(pair.encode, pair.decode, (1, 8, 8))
    images = torch.rand(2, 1, 8, 8)
    for model in (closing, methods):
        twin = copy.deepcopy(model)
        assert torch.equal(twin(images), model(images))
        twin.to("cpu")  # where it is
    partial = CallableAutoencoder(functools.partial(pair.encode), pair.decode, (1, 8, 8), modules=pair)
    for model in (methods, partial):
        assert copy.deepcopy(model).to(torch.bfloat16).weights_dtype == torch.bfloat16
    with pytest.raises(InputError, match="give methods of modules"):
        copy.deepcopy(closing).to(torch.bfloat16)
    with pytest.raises(InputError, match="give methods of modules"):
        LatentAugment(closing, precision="bf16")
    assert LatentAugment(closing, precision="auto").plan.precision == "fp32"
    assert closing.double().weights_dtype == torch.float64  # the first of them moves
