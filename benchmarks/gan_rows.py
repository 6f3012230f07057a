"""Rows of the GAN benchmark: what is trained on the images of a seed, and how its samples are measured.

All rows of a set use the same number of steps and of images per step. A generator that is a decoder has the size of the
autoencoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from gan_sets import SMOKE, Draw, GANSet, known
from safetensors.torch import load_file, save_file
from torch import nn

from augmentor import LatentAugment, load_autoencoder
from augmentor._internal.checks import to_unit_float
from augmentor._internal.files import write_bytes
from augmentor._internal.pictures import grid, png
from augmentor._internal.random import torch_generator
from augmentor.autoencoders import Autoencoder
from augmentor.data import ArrayDataset, Transformed
from augmentor.gan import (
    TrainingMethod,
    get_augmentation,
    get_method,
    method_class,
    needs_autoencoder,
    starting_autoencoder,
)
from augmentor.gan.methods import AEInit
from augmentor.gan.networks._decoding import take_weights
from augmentor.gan.start import recipe_for, untrained
from augmentor.quality import ModuleFeatures, compare, extract
from augmentor.training import GANTrainer, small_cnn, train_classifier, usual_recipes
from augmentor.training.classifier import accuracy, predict

# Width of the feature layer.
FEATURES = 64


@dataclass(frozen=True)
class Settings:
    """Settings of the work of a set, besides its seed."""

    side: int = 32
    steps: int = 3000
    batch_size: int = 64
    round_steps: int = 250
    network: str = "conv(width=16)"
    lr: float = 5e-4
    policy: str = "gaussian(std=0.5)"
    adaptive: str = "adaptive(images=20000)"
    autoencoder_steps: int = 2000
    extractor_steps: int = 2000
    probe_steps: int = 300
    classifier_steps: int = 1000
    samples: int = 5000


QUICK = Settings(
    8, 20, 8, 10, "conv(width=8)", autoencoder_steps=20, extractor_steps=20, probe_steps=10, classifier_steps=20,
    samples=200,
)  # fmt: skip


def full(side: int) -> Settings:
    """Return the settings for an accelerator."""
    return Settings(side, 20_000, 64, 1000, adaptive="adaptive(images=200000)", samples=10_000)


def settings_of(name: str, scale: str) -> Settings:
    """Return the settings of a set for two cores ("small") or for an accelerator ("full")."""
    if name in SMOKE:
        return QUICK
    side = known(name).side
    return full(side) if scale == "full" else Settings(side)


def scale_of(name: str, settings: Settings) -> str:
    """Return the suffix of names of results: "" for small settings, else "-full"."""
    return "" if settings == settings_of(name, "small") else "-full"


@dataclass(frozen=True)
class Trial:
    """One seed of one set."""

    name: str
    set: GANSet
    seed: int
    root: str
    work: Path
    extractors: Path
    settings: Settings

    @cached_property
    def draw(self) -> Draw:
        """The images."""
        return self.set.draw(self.root, self.settings.side, self.seed)

    @cached_property
    def device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"

    def folder(self, what: str) -> Path:
        """Return a path in the work folder that depends on the set, the seed and the settings."""
        key = hashlib.sha256(repr((self.name, self.settings)).encode()).hexdigest()
        return self.work / "gan" / f"{self.name}-{self.seed}-{key[:12]}" / what

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """Autoencoder of the training images only."""
        return self.trained(self.settings.autoencoder_steps)

    def trained(self, steps: int) -> Autoencoder:
        """Return an autoencoder that is trained on the training images only for a number of steps."""
        return starting_autoencoder(
            self.draw.train,
            steps=steps,
            batch_size=self.settings.batch_size,
            out=self.folder(f"autoencoder-{steps}"),
            seed=self.seed,
            device=self.device,
            progress=False,
        )

    @cached_property
    def features(self) -> ModuleFeatures:
        """Extractor: the last hidden layer of a classifier of all images of the set, equal for all rows and seeds."""
        model = classifier_with_features(self.draw.train.image_shape[0], len(self.draw.train.classes))
        model.load_state_dict(load_file(extractor_path(self.extractors, self.set, self.settings)))
        return ModuleFeatures(model.eval()[:-1]).to(self.device)

    @cached_property
    def reference(self) -> torch.Tensor:
        """Features of held-out images."""
        return extract(self.features, self.draw.reference.images[self.shuffled("reference")])

    @cached_property
    def trained_on(self) -> torch.Tensor:
        """Features of the training images."""
        return extract(self.features, self.draw.train.images)

    @cached_property
    def probe(self) -> tuple[nn.Module, float]:
        """Classifier of real (0) and decoded (1) images, and its accuracy in % on held-out images."""
        train, test = self.set.whole(self.root, self.settings.side).train, self.draw.reference
        count = min(len(train), self.settings.samples)
        order = torch.randperm(len(train), generator=torch_generator("cpu", self.seed, "probe"))[:count]
        model = train_classifier(
            small_cnn, self.told_apart(train.subset(order)), num_classes=2, steps=self.settings.probe_steps,
            seed=self.seed, device=self.device,
        )  # fmt: skip
        unseen = self.told_apart(test.subset(self.shuffled("reference")))
        return model, 100 * accuracy(predict(model, unseen, self.device), unseen.targets)

    def told_apart(self, data: ArrayDataset) -> ArrayDataset:
        """Decode the second half of the images; return all with the labels real (0) and decoded (1)."""
        half = len(data) // 2
        decoded = self.decoded(data.subset(torch.arange(half, len(data))), self.settings.policy)
        images = torch.cat([data.images[:half], (255 * decoded).round().to(torch.uint8)])
        return ArrayDataset(images, (torch.arange(len(images)) >= half).long())

    def augment(self, policy: str | None = None) -> LatentAugment:
        """Return the transform with the autoencoder of this seed."""
        return LatentAugment(self.autoencoder, policy or self.settings.policy).to(self.device)

    def decoded(self, data: ArrayDataset, policy: str, count: int | None = None) -> torch.Tensor:
        """Return `count` perturbed decodings of the data set in order, by default one per image."""
        rows = torch.arange(count or len(data)) % len(data)
        copies = torch.arange(len(rows)) // len(data)
        augment, made = self.augment(policy), []
        for part, copy in zip(rows.split(500), copies.split(500), strict=True):
            images = data.images[part].to(self.device)
            made.append(augment.synthesize(to_unit_float(images), indices=part, draw_index=copy, seed=self.seed).cpu())
        return torch.cat(made)

    def shuffled(self, purpose: str) -> torch.Tensor:
        """Return the rows of the held-out images that samples are compared with."""
        order = torch.randperm(len(self.draw.reference), generator=torch_generator("cpu", 0, purpose))
        return order[: self.settings.samples]

    def accuracy(self, generated: torch.Tensor | None = None) -> float:
        """Return the accuracy in % of a classifier of the training images with standard augmentation.

        generated: float images (N,C,H,W), classes in turn; they are then half of the training images.
        """
        data = self.draw.train
        if generated is not None:
            rows, classes = torch.arange(len(generated)) % len(data), torch.arange(len(generated)) % len(data.classes)
            images = torch.cat([data.images[rows], (255 * generated).round().to(torch.uint8)])
            data = ArrayDataset(images, torch.cat([data.targets[rows], classes]), data.classes)
        (recipe, *_) = usual_recipes(data.image_shape, len(data.classes)).values()
        model = train_classifier(
            small_cnn, Transformed(data, recipe.image), num_classes=len(data.classes),
            steps=self.settings.classifier_steps, seed=self.seed, device=self.device,
        )  # fmt: skip
        reference = self.draw.reference.subset(self.shuffled("reference"))
        return 100 * accuracy(predict(model, reference, self.device), reference.targets)

    def measured(self, images: torch.Tensor) -> dict[str, Any]:
        """Return the scores of float images (N,C,H,W) against held-out ones.

        nearest: median distance of their features to the nearest training image, relative to that of held-out images;
        below 1 if training images are copied. called_decoded: percentage that the probe classifies as decoded.
        high_frequencies: power at high frequencies, relative to that of held-out images.
        """
        model, _ = self.probe
        called = predict(model, ArrayDataset((255 * images).round().to(torch.uint8)), self.device)
        real = to_unit_float(self.draw.reference.images[self.shuffled("reference")])
        features = extract(self.features, images)
        return {
            **compare(features, self.reference, seed=self.seed),
            "nearest": distance(features, self.trained_on) / distance(self.reference, self.trained_on),
            "called_decoded": 100 * float(called.double().mean()),
            "high_frequencies": high_frequencies(images) / high_frequencies(real),
        }


def distance(features: torch.Tensor, others: torch.Tensor) -> float:
    """Return the median over features (N, F) of the distance to the nearest of others (M, F)."""
    return float(torch.cat([torch.cdist(part, others).amin(1) for part in features.split(500)]).median())


def high_frequencies(images: torch.Tensor) -> float:
    """Return the mean power of images (N,C,H,W) above half the Nyquist frequency, over both directions."""
    power = torch.fft.rfft2(images.double(), norm="ortho").abs().square().mean((0, 1))
    rows, columns = torch.fft.fftfreq(images.shape[2])[:, None], torch.fft.rfftfreq(images.shape[3])[None]
    return float(power[(rows.square() + columns.square()).sqrt() > 0.25].sum())


def classifier_with_features(channels: int, num_classes: int) -> nn.Sequential:
    """Return `small_cnn` with an additional hidden layer of 64 before the last layer."""
    *body, linear = small_cnn(channels, num_classes)
    return nn.Sequential(*body, nn.Linear(linear.in_features, FEATURES), nn.ReLU(), nn.Linear(FEATURES, num_classes))


def extractor_path(folder: Path, images: GANSet, settings: Settings) -> Path:
    """Return the path of the weights of the extractor."""
    return folder / f"gan-extractor-{images.kind}-{settings.side}.safetensors"


def prepare(images: GANSet, settings: Settings, root: str, extractors: Path) -> None:
    """Train the extractor of a set on all its images, unless it exists."""
    path = extractor_path(extractors, images, settings)
    if not path.exists():
        data = images.whole(root, settings.side).train
        model = train_classifier(
            classifier_with_features, data, num_classes=len(data.classes),
            steps=settings.extractor_steps, device="cuda" if torch.cuda.is_available() else "cpu",
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.cpu().contiguous() for name, value in model.state_dict().items()}, path)


# A row returns the scores of the images that it makes.
Row = Callable[[Trial], dict[str, Any]]


def reconstructions(trial: Trial) -> dict[str, Any]:
    """Score the reconstruction of each training image; no GAN."""
    return trial.measured(trial.decoded(trial.draw.train, "gaussian(std=0)"))


def decodings(trial: Trial) -> dict[str, Any]:
    """Score the training images, perturbed and decoded; no GAN."""
    return trial.measured(trial.decoded(trial.draw.train, trial.settings.policy, trial.settings.samples))


def again(trial: Trial) -> dict[str, Any]:
    """Score the training images, which is what memorising them would give; no GAN.

    Each is there once: among repeated images the distance to the nearest neighbour, and with it the recall, is zero.
    """
    return {**trial.measured(to_unit_float(trial.draw.train.images)), "accuracy": trial.accuracy()}


def real(trial: Trial) -> dict[str, Any]:
    """Score other real images, up to the number of samples; for MNIST-300 they are not the training images."""
    data = trial.set.whole(trial.root, trial.settings.side).train
    order = torch.randperm(len(data), generator=torch_generator("cpu", trial.seed, "floor"))
    images = to_unit_float(data.images[order[: trial.settings.samples]])
    return {**trial.measured(images), "probe_accuracy": trial.probe[1]}


@dataclass(frozen=True)
class Training:
    """A row that trains a GAN; a call returns its scores.

    method, augment, p, r1_gamma, loss: as in `get_method` and `get_augmentation`; p may name a field of the settings.
    network: "" for that of the settings. start: autoencoder of methods that start from one: "own" is trained on the
    images of the seed, "pretrained" is that of the set; with "random weights" only the codes and the reconstruction use
    the own one. share: fraction of the steps of the settings that the own autoencoder is trained; None is the
    default of `starting_autoencoder`. longer: factor of the number of steps.
    """

    method: str = "gan"
    network: str = ""
    augment: str = "none"
    p: str | None = None
    r1_gamma: float | None = None
    loss: str = "nonsaturating"
    start: str = "own"
    share: float | None = None
    longer: int = field(default=1, repr=False)

    @property
    def starts_from_autoencoder(self) -> bool:
        """Whether the training method starts from an autoencoder."""
        return method_class(self.method).needs_autoencoder or "vae-gan" in self.method

    def __call__(self, trial: Trial) -> dict[str, Any]:
        trainer = self._trainer(trial)
        generator = trainer.fit(trial.draw.train, trial.draw.reference)
        write_bytes(trainer.out / "samples.png", png(grid(trainer.sample(generator, 20).split(10))))
        samples, last = trainer.sample(generator, trial.settings.samples, "measured"), trainer.history[-1]
        return {
            **trial.measured(samples),
            "accuracy": trial.accuracy(samples),
            "curve": [[row["step"], row["fid"]] for row in trainer.history],
            "parameters": sum(weights.numel() for weights in generator.parameters()),
            **({"p": last["p"]} if "p" in last else {}),
        }

    def _trainer(self, trial: Trial) -> GANTrainer:
        """Return the trainer; its folder depends on all settings of the row."""
        settings, key = trial.settings, hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return GANTrainer(
            self.untrained(trial),
            steps=self.longer * settings.steps,
            batch_size=settings.batch_size,
            round_steps=settings.round_steps,
            features=trial.features,
            out=trial.folder(key if self.longer == 1 else f"{key}-{self.longer}"),
            seed=trial.seed,
            device=trial.device,
            progress=False,
        )

    def untrained(self, trial: Trial) -> TrainingMethod:
        """Return the training method before the first step."""
        settings, data = trial.settings, trial.draw.train
        augment = trial.augment() if needs_autoencoder(self.augment) else None
        p = None if self.p is None else getattr(settings, self.p)
        augmentation = get_augmentation(self.augment, augment, p=p)
        method = get_method(
            self.method,
            network=self.network or settings.network,
            image_shape=data.image_shape,
            num_classes=len(data.classes),
            autoencoder=self._autoencoder(trial) if self.starts_from_autoencoder else None,
            augmentation=None if self.augment == "none" else augmentation,
            loss=self.loss,
            lr=settings.lr,
            r1_gamma=self.r1_gamma,
            seed=trial.seed,
        )
        if self.start == "random weights":
            assert isinstance(method, AEInit)
            fresh = untrained(data, trial.seed)
            for network in (method.generator, method.discriminator):
                take_weights(network.model, fresh)
        return method

    def _autoencoder(self, trial: Trial) -> Autoencoder:
        """Return the autoencoder that training starts from."""
        if self.start == "pretrained":
            return load_autoencoder(trial.set.pretrained)
        return trial.trained(self.autoencoder_steps(trial))

    def autoencoder_steps(self, trial: Trial) -> int:
        """Return the number of training steps of the row's own autoencoder, 0 without one."""
        if self.start == "pretrained" or not (self.starts_from_autoencoder or needs_autoencoder(self.augment)):
            return 0
        of_settings = trial.settings.autoencoder_steps
        if self.share is not None or needs_autoencoder(self.augment):
            return round((self.share or 1.0) * of_settings)
        return min(recipe_for(trial.draw.train).steps, of_settings)


REFERENCES: dict[str, Row] = {
    "real": real,
    "training images": again,
    "reconstructions": reconstructions,
    "decodings": decodings,
}
CONTROLS: dict[str, Row] = {
    "conv": Training(),
    "conv, diffaugment": Training(augment="diffaugment"),
    "conv, ada": Training(augment="ada", p="adaptive"),
    "conv, R1 weight 0.1": Training(r1_gamma=0.1),
    "conv, R1 weight 10": Training(r1_gamma=10.0),
    "dcgan": Training(network="dcgan(width=24)"),
    "dcgan, 3 x steps": Training(network="dcgan(width=24)", longer=3),
    "dcgan, ada": Training(network="dcgan(width=24)", augment="ada", p="adaptive"),
    "resnet, hinge": Training(network="resnet(width=16)", loss="hinge"),
}
OURS: dict[str, Row] = {
    "ae-init": Training("ae-init"),
    "ae-init, 2,000 autoencoder steps": Training("ae-init", share=1.0),
    "ae-init, ada": Training("ae-init", augment="ada", p="adaptive"),
    "ae-init, diffaugment": Training("ae-init", augment="diffaugment"),
    "ae-init, R1 weight 0.1": Training("ae-init", r1_gamma=0.1),
    "ae-init, pretrained": Training("ae-init", start="pretrained"),
    "ae-init, random weights": Training("ae-init", start="random weights"),
    "ae-init as in BAGAN": Training("ae-init(reconstruct=0, bandwidth=1)"),
    "latent-gan": Training("latent-gan", share=1.0),
    "guided-gan": Training("guided-gan"),
    "vae-gan": Training("vae-gan"),
    "flow": Training("flow", share=1.0),
    "real + decoded": Training(augment="real"),
    "both": Training(augment="both"),
    "both, ada": Training(augment="both(p=0.5)+ada", p="adaptive"),
}

ROWS = REFERENCES | CONTROLS | OURS
