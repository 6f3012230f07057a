"""Latent diffusion models of diffusers behind the policy `denoise`: tiny ones with random weights."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from augmentor import LatentAugment, QualityGate, ShardDataset
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import DiffusersAutoencoder
from augmentor.data import ArrayDataset
from augmentor.denoisers import Denoising, DiffusionDenoiser, PipelineDenoiser, PriorDenoiser, get_denoiser, load_prior
from augmentor.exceptions import DeviceError, InputError, WeightsError
from augmentor.policies import Denoise, get_policy
from augmentor.shards import generate_shards, read_manifest
from augmentor.shards.formats import ORIGINAL_KEPT

HOW = {"strength": 0.5, "steps": 4, "guidance": 2.0}
CLASSES = ["cat", "dog", "<bird>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def autoencoder():
    model = DiffusersAutoencoder(tiny.autoencoder_kl())
    LatentAugment(model).fit(pictures())
    return model


def pictures(count: int = 6) -> ArrayDataset:
    images = torch.randint(0, 256, (count, 3, tiny.SIDE, tiny.SIDE), generator=torch.Generator().manual_seed(0))
    return ArrayDataset(images.to(torch.uint8), torch.arange(count) % 3, CLASSES)


def draws(*numbers: int) -> SampleRandom:
    return SampleRandom(sample_keys(0, 0, numbers))


def denoised(denoiser, raw, labels, numbers, **settings):
    drawn = denoiser.draw(tuple(raw.shape[1:]), draws(*numbers))
    with torch.no_grad():
        return denoiser.denoise(raw, labels, drawn, Denoising(**{**HOW, **settings}))


def raw_latents(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerAncestralDiscreteScheduler"])
def test_a_sample_is_the_same_in_any_batch_whether_or_not_the_scheduler_draws(scheduler, tmp_path):
    denoiser = PipelineDenoiser(tiny.stable_diffusion(tmp_path, scheduler), prompt="a {}", classes=CLASSES)
    raw, labels = raw_latents(), torch.tensor([0, 1, 2, -100])
    whole = denoised(denoiser, raw, labels, range(4))
    assert whole.shape == raw.shape
    assert whole.dtype == torch.float32
    for row in range(4):
        alone = denoised(denoiser, raw[row : row + 1], labels[row : row + 1], [row])
        torch.testing.assert_close(alone, whole[row : row + 1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(denoised(denoiser, raw, labels, range(4, 8)), whole, atol=1e-2)


def test_it_makes_what_the_pipeline_itself_makes_of_these_texts(folder):
    denoiser = PipelineDenoiser(folder, prompt="a photo of a {}", classes=CLASSES)
    raw, labels = raw_latents(3), torch.tensor([1, 0, 2])
    drawn = denoiser.draw((4, 8, 8), draws(0, 1, 2))
    made = denoiser.denoise(raw, labels, drawn, Denoising(**HOW))
    pipeline = diffusers.AutoPipelineForImage2Image.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=["a photo of a dog", "a photo of a cat", "a photo of a <bird>"], image=raw, strength=0.5,
        num_inference_steps=4, guidance_scale=2.0, output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in drawn["seed"].tolist()],
    ).images  # fmt: skip
    assert torch.equal(made, expected)
    other = denoiser.denoise(raw, torch.tensor([0, 0, 2]), drawn, Denoising(**HOW))
    assert not torch.equal(other[0], made[0])  # another text
    assert torch.allclose(other[1:], made[1:], atol=1e-5)


def test_images_become_images_and_strength_zero_is_the_reconstruction(folder, autoencoder):
    data = pictures()
    policy = Denoise(PipelineDenoiser(folder, prompt="a {}", classes=CLASSES), strength=0.5, steps=4)
    augment = LatentAugment(autoencoder, policy, p=1.0, residual=0, seed=0)
    assert policy.denoiser.guidance == 7.5
    made, labels = augment(data.images, data.targets)
    assert made.shape == data.images.shape
    assert torch.equal(labels, data.targets)
    assert not torch.equal(made, augment(data.images, (data.targets + 1) % 3)[0])  # labels reach the prompt
    with pytest.warns(UserWarning, match="perturbs nothing"):
        still = LatentAugment(autoencoder, Denoise(policy.denoiser, strength=0), p=1.0, residual=0)
    assert (still(data.images, labels)[0].float() / 255 - autoencoder(data.images)).abs().max() < 0.01


def test_a_small_strength_takes_one_step(folder):
    raw = raw_latents(2)
    made = denoised(PipelineDenoiser(folder), raw, None, range(2), strength=0.03)
    assert 0 < (made - raw).abs().mean() < 1


def generated(folder, autoencoder, out, **settings):
    text = f"denoise(diffusers('{folder}', prompt='a {{}}', classes=['cat', 'dog', 'bird']), strength=0.5, steps=4)"
    augment = LatentAugment(autoencoder, text, p=1.0)
    return generate_shards(pictures(), augment, out, num_samples=8, shard_size=4, progress=False, **settings)


def test_shards_resume_to_the_same_bytes(folder, autoencoder, tmp_path):
    (folder / "README.md").write_text("---\nlicense: openrail\n---\nA tiny model.\n")
    whole = generated(folder, autoencoder, tmp_path / "whole")
    assert read_manifest(whole / "manifest.json").models == (f"{folder} revision not given, licence openrail",)
    generated(folder, autoencoder, tmp_path / "parts", unit_range=(0, 1))
    parts = generated(folder, autoencoder, tmp_path / "parts")
    for name in ("shard-00000.h5", "shard-00001.h5"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


@pytest.mark.slow
def test_ray_makes_the_same_bytes(folder, autoencoder, tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    whole = generated(folder, autoencoder, tmp_path / "whole")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        spread = generated(folder, autoencoder, tmp_path / "spread", executor="ray")
    finally:
        ray.shutdown()
    for name in ("shard-00000.h5", "shard-00001.h5"):
        assert (whole / name).read_bytes() == (spread / name).read_bytes()


@pytest.mark.parametrize(("strength", "rejected"), [(0.02, (0, 0.2)), (1.0, (1, 1))])
def test_the_gate_rejects_what_an_untrained_network_makes_of_noise(strength, rejected, tmp_path):
    tiny.unconditional(channels=12).save_pretrained(tmp_path / "model")
    patches = torch.from_numpy(load_sample_image("flower.jpg").copy()).unfold(0, 32, 48).unfold(1, 32, 48)
    real = ArrayDataset(patches.flatten(0, 1))
    policy = Denoise(DiffusionDenoiser(tmp_path / "model"), strength=strength, steps=4)
    augment = LatentAugment("natural", policy, p=1.0, gate=QualityGate())
    out = generate_shards(real, augment, tmp_path / "shards", num_samples=len(real), progress=False)
    shards = ShardDataset(out)
    low, high = rejected
    assert low <= (shards.draw_indices == ORIGINAL_KEPT).double().mean() <= high


def test_shards_of_objects_without_a_string_form_are_refused(folder, autoencoder, tmp_path):
    live = diffusers.AutoPipelineForImage2Image.from_pretrained(folder)
    for denoiser, model in (
        (PipelineDenoiser(live), autoencoder),
        (DiffusionDenoiser(tiny.unconditional()), autoencoder),
        (PriorDenoiser(load_prior("digits-prior")), "digits"),
    ):
        augment = LatentAugment(model, Denoise(denoiser), p=1.0)
        with pytest.raises(
            InputError, match=r"has no string form.*for denoise, give the folder of the pipeline or prior"
        ):
            generate_shards(pictures(), augment, tmp_path / "shards", num_samples=8)
        assert not (tmp_path / "shards").exists()


def test_half_precision_gives_latents_close_to_those_in_full(folder):
    raw = raw_latents()
    full = denoised(PipelineDenoiser(folder), raw, None, range(4))
    half = denoised(PipelineDenoiser(folder, precision="bf16"), raw, None, range(4))
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().mean() < 0.1


def test_a_pickle_and_the_text_read_the_folder_again(folder):
    policy = Denoise(PipelineDenoiser(folder, prompt="a {}", classes=CLASSES), strength=0.5, steps=4)
    raw, labels = raw_latents(2), torch.tensor([0, 1])
    expected = denoised(policy.denoiser, raw, labels, range(2))
    packed = pickle.dumps(policy)
    assert len(packed) < 5000  # without weights
    for again in (pickle.loads(packed), get_policy(str(policy))):
        assert str(again) == str(policy)
        assert torch.equal(denoised(again.denoiser, raw, labels, range(2)), expected)
    assert get_denoiser(f"diffusers:{folder}").source == str(folder)


def test_textual_inversion_changes_what_a_token_means(folder, tmp_path):
    save_file({"<bird>": torch.full((16,), 0.5)}, tmp_path / "bird.safetensors")
    raw, labels = raw_latents(1), torch.tensor([2])
    with_token = PipelineDenoiser(folder, prompt="a {}", classes=CLASSES, tokens=tmp_path)
    assert "<bird>" in with_token.pipeline.tokenizer.get_vocab()
    without = PipelineDenoiser(folder, prompt="a {}", classes=CLASSES)
    assert not torch.equal(denoised(with_token, raw, labels, [0]), denoised(without, raw, labels, [0]))


def test_lora_weights_change_the_network(folder, tmp_path):
    trained = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    trained.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    trained.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(trained.unet))
    raw = raw_latents(1)
    with_lora = denoised(PipelineDenoiser(folder, lora=tmp_path), raw, None, [0])
    assert not torch.equal(with_lora, denoised(PipelineDenoiser(folder), raw, None, [0]))
    torch.testing.assert_close(with_lora, denoised(PipelineDenoiser(trained), raw, None, [0]))


def test_a_live_text_to_image_pipeline_is_used_for_image_to_image(folder):
    live = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    raw = raw_latents(2)
    denoiser = PipelineDenoiser(live)
    assert torch.equal(denoised(denoiser, raw, None, range(2)), denoised(PipelineDenoiser(folder), raw, None, range(2)))
    assert "<StableDiffusionPipeline>" in str(Denoise(denoiser))


def test_what_does_not_fit_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"classes=\['cat', 'dog'\]"):
        PipelineDenoiser(folder, prompt="a {}")
    with pytest.raises(InputError, match="fp32, fp16, bf16"):
        PipelineDenoiser(folder, precision="int8")
    with pytest.raises(InputError, match="classes has 1 names"):
        denoised(PipelineDenoiser(folder, prompt="a {}", classes=["cat"]), raw_latents(1), torch.tensor([1]), [0])
    for other in (tiny.autoencoder_kl(latent_channels=3), tiny.autoencoder_kl(scaling_factor=0.5)):
        with pytest.raises(InputError, match=r"\(channels, scale, shift\) \(4, 0\.18215, 0\.0\).*diffusers:.*/vae"):
            LatentAugment(DiffusersAutoencoder(other), Denoise(PipelineDenoiser(folder)))
    with pytest.raises(InputError, match="use the autoencoder of the pipeline"):
        LatentAugment("digits", Denoise(PipelineDenoiser(folder)))
    with pytest.raises(DeviceError, match="while a GPU computes"):
        denoised(PipelineDenoiser(folder, offload=True), raw_latents(1), None, [0])
    (tmp_path / "weights.bin").write_bytes(b"pickle")
    for part in ("lora", "tokens"):
        with pytest.raises(WeightsError, match="pickled weights are not read"):
            _ = PipelineDenoiser(folder, **{part: tmp_path}).pipeline
    save_file({"weight": torch.zeros(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(WeightsError, match=r"cannot add .*lora\.safetensors to the pipeline"):
        _ = PipelineDenoiser(folder, lora=tmp_path).pipeline


def test_a_missing_text_encoder_and_a_name_that_cannot_be_reached_are_said(folder, tmp_path, monkeypatch):
    live = diffusers.AutoPipelineForImage2Image.from_pretrained(folder)
    live.text_encoder = None
    with pytest.raises(InputError, match=r"no text encoder.*diffusion\(\.\.\.\)"):
        _ = PipelineDenoiser(live).pipeline
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"cannot load the diffusers pipeline 'nobody/nothing'.*that can be reached"):
        _ = PipelineDenoiser("nobody/nothing").pipeline


def test_class_names_come_from_the_data_where_the_text_has_none(folder):
    text = f"compose(gaussian(std=0.1), denoise(diffusers('{folder}', prompt='a {{}}'), steps=4))"
    with pytest.raises(InputError, match="give the names"):
        get_policy(text)
    denoiser = get_policy(text, CLASSES).policies[1].denoiser
    assert denoiser.classes == CLASSES
    assert get_policy(str(Denoise(denoiser)), ["other"]).denoiser.classes == CLASSES
    assert get_policy("gaussian", CLASSES).name == "gaussian"


@pytest.mark.parametrize(
    "scheduler", ["DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"]
)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_network_without_text_and_any_scheduler(scheduler, num_classes, autoencoder):
    denoiser = DiffusionDenoiser(tiny.unconditional(num_classes, scheduler))
    raw, labels = raw_latents(), torch.tensor([0, 1, 2, 0]) if num_classes else None
    settings = {"guidance": 1.0, "steps": 6}
    whole = denoised(denoiser, raw, labels, range(4), **settings)
    assert whole.isfinite().all()
    for row in range(4):
        of_row = None if labels is None else labels[row : row + 1]
        alone = denoised(denoiser, raw[row : row + 1], of_row, [row], **settings)
        torch.testing.assert_close(alone, whole[row : row + 1], atol=1e-3, rtol=1e-3)
    if num_classes:
        assert not torch.allclose(denoised(denoiser, raw, labels.flip(0), range(4), **settings), whole)
    moved = [
        (denoised(denoiser, raw, labels, range(4), strength=strength, **settings) - raw).abs().mean()
        for strength in (0.2, 0.8)
    ]
    assert moved[0] < moved[1]
    images = LatentAugment(autoencoder, Denoise(denoiser, steps=4), p=1.0)(pictures().images, pictures().targets)[0]
    assert images.shape == pictures().images.shape


class Knows(torch.nn.Module):
    """A network that predicts the noise without an error, because it knows the latents."""

    config = diffusers.configuration_utils.FrozenDict({"in_channels": 4})

    def __init__(self, raw: torch.Tensor, scheduler):
        super().__init__()
        self.raw, self.signal = raw, scheduler.alphas_cumprod.double()

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> SimpleNamespace:
        noise_of = (1 / self.signal - 1).sqrt().numpy()
        sigma = torch.from_numpy(np.interp(t.numpy(), np.arange(len(noise_of)), noise_of))[:, None, None, None]
        noise = (x * (1 + sigma**2).sqrt() - self.raw) / sigma
        return SimpleNamespace(sample=noise.to(x.dtype))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numpy's, of the schedulers
@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(
    "scheduler",
    ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler",
     "KDPM2DiscreteScheduler"],
)  # fmt: skip
def test_all_noise_is_removed_if_the_network_predicts_it_without_an_error(scheduler, strength):
    """Schedulers of the second order have two entries per step."""
    unclipped = {"clip_sample": False} if scheduler == "DDIMScheduler" else {}
    raw, made = raw_latents(), getattr(diffusers, scheduler)(**unclipped)
    denoiser = DiffusionDenoiser(SimpleNamespace(unet=Knows(raw, made), scheduler=made))
    result = denoised(denoiser, raw, None, range(4), strength=strength)
    assert (result - raw).square().mean().sqrt() < 0.1


def test_a_dit_has_a_class_for_no_class_which_guidance_takes():
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=8,
        num_embeds_ada_norm=3, norm_num_groups=4,
    )  # fmt: skip
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1, generator=torch.Generator().manual_seed(weights.numel()))
    pipeline = diffusers.DiTPipeline(network, tiny.autoencoder_kl(), diffusers.DDIMScheduler())
    denoiser, raw = DiffusionDenoiser(pipeline), raw_latents(3)
    plain, guided, none = (
        denoised(denoiser, raw, torch.tensor(labels), range(3), guidance=guidance)
        for labels, guidance in (([0, 1, 2], 1.0), ([0, 1, 2], 3.0), ([-1, -1, -1], 1.0))
    )
    assert not torch.allclose(plain, guided)
    assert not torch.allclose(plain, none)
    assert torch.allclose(none, denoised(denoiser, raw, None, range(3), guidance=3.0))
    with pytest.raises(InputError, match="class numbers from 0 to 2"):  # 3 is its embedding for no class
        denoised(denoiser, raw[:1], torch.tensor([3]), [0], guidance=1.0)


def test_networks_and_labels_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"with text use the denoiser diffusers\(\.\.\.\)"):
        DiffusionDenoiser(folder)
    tiny.unconditional().save_pretrained(tmp_path / "saved")
    denoiser = DiffusionDenoiser(tmp_path / "saved")
    assert str(get_policy(f"denoise(diffusion('{tmp_path}/saved'))")) == str(Denoise(denoiser))
    with pytest.raises(InputError, match="latents of 4 channels"):
        LatentAugment("digits", Denoise(denoiser))
    classes = DiffusionDenoiser(tiny.unconditional(3))
    with pytest.raises(InputError, match="class numbers from 0 to 2"):
        denoised(classes, raw_latents(1), torch.tensor([3]), [0], guidance=1.0)
    with pytest.raises(InputError, match="leave guidance out"):
        denoised(classes, raw_latents(1), torch.tensor([2]), [0], guidance=2.0)
