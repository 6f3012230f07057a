"""Recall of classifiers with the defaults of `LatentAugment()` on few images, against standard augmentations.

    python benchmarks/own_images.py --data-root ROOT

ROOT is that of classification.py. Each set has a few labelled images; the rest of its training images is not used. All
rows of a set use the same network and number of steps. Each seed of a set is one job. Results are stored row by row, so
a stopped run resumes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from classification import in_short, together
from common import RESULTS, draw_table, record, spread
from jobs import Job, Store, fill, in_processes
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from sets import Draw, counted
from sets import digits as small_digits
from torchvision.transforms import v2

from augmentor import LatentAugment
from augmentor._internal.datasets import fetch_items
from augmentor._internal.random import seeded, torch_generator
from augmentor.autoencoders import Autoencoder, autoencoders, list_autoencoders, load_autoencoder
from augmentor.autoencoders.default import default_autoencoder
from augmentor.autoencoders.trainer import FINE_TUNING_LR, LR, AutoencoderTrainer
from augmentor.data import ArrayDataset, load_source
from augmentor.data.wrapper import Around
from augmentor.training import small_cnn, train_classifier
from augmentor.training.classifier import macro_recall, predict

LETTERS = "ABCDEFGHJKLMNPRSTUVZ"
FONTS = (
    "DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10", "cmmi10",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Settings of the work of a seed."""

    steps: int = 1000
    batch_size: int = 64


QUICK = Settings(steps=20)


def few(kind: str, classes: Sequence[str], count: int, root: str, seed: int, size: int | None = None) -> Draw:
    """Draw `count` images per class; test images are those of CIFAR-10, or all other images of clothing64."""
    data = _classes(f"{root}/{kind}/train", tuple(classes), size)
    order = torch.randperm(len(data), generator=torch_generator("cpu", seed, "labels"))
    chosen = torch.cat([order[data.targets[order] == label][:count] for label in range(len(classes))])
    if kind == "cifar10":
        return Draw(data.subset(chosen), _classes(f"{root}/{kind}/test", tuple(classes), size))
    return Draw(data.subset(chosen), data.subset(order[~torch.isin(order, chosen)]))


@lru_cache(maxsize=2)
def _classes(folder: str, classes: tuple[str, ...], size: int | None) -> ArrayDataset:
    """Return the images of the named classes, numbered in this order."""
    data = load_source(folder, size=size)
    rows = [torch.where(data.targets == data.classes.index(name))[0] for name in classes]
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(part) for part in rows]))
    return ArrayDataset(data.images[torch.cat(rows)], labels, list(classes))


def digits(root: str, seed: int) -> Draw:
    """Draw 5 of each of scikit-learn's digits, enlarged to 32x32; the rest is for testing."""
    draw = small_digits(root, seed)
    return Draw(_enlarged(draw.labelled), _enlarged(draw.test))


def _enlarged(data: ArrayDataset) -> ArrayDataset:
    images = F.interpolate(data.images.float(), size=32, mode="bilinear")
    return ArrayDataset(images.round().to(torch.uint8), data.targets, data.classes)


def drawings(root: str, seed: int) -> Draw:
    """Draw 5 images of each of 20 letters, dark on white; the 50 test images per letter are equal for all seeds."""
    return Draw(_letters(seed, 5), _letters(10**6, 50))


@lru_cache(maxsize=2)
def _letters(seed: int, count: int) -> ArrayDataset:
    random = np.random.default_rng(seed)
    images = np.stack([_letter(letter, random) for letter in LETTERS for _ in range(count)])
    labels = torch.arange(len(LETTERS)).repeat_interleave(count)
    return ArrayDataset(torch.from_numpy(images)[:, None], labels, list(LETTERS))


def _letter(letter: str, random: np.random.Generator) -> np.ndarray:
    """Return a letter as uint8 (32, 32) in one of matplotlib's fonts, after a small random affine map."""
    large = Image.new("L", (128, 128), 255)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{random.choice(FONTS)}.ttf", 88)
    ImageDraw.Draw(large).text((64, 64), letter, font=font, fill=0, anchor="mm")
    moved = v2.functional.affine(
        large,
        angle=random.uniform(-12, 12),
        translate=[int(pixels) for pixels in random.integers(-8, 9, 2)],
        scale=random.uniform(0.8, 1.15),
        shear=[random.uniform(-8, 8), 0.0],
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=255,
    )
    return np.asarray(moved.resize((32, 32), Image.Resampling.BOX))


@dataclass(frozen=True)
class OwnImages:
    """One set of the benchmark.

    photographs: whether images are cropped and mirrored; otherwise an affine map moves them. background: grey level in
    [0, 255] that fills the border after an affine map.
    """

    draw: Callable[[str, int], Draw]
    photographs: bool
    background: int = 0

    def geometry(self, size: int) -> v2.Transform:
        if self.photographs:
            return v2.Compose([v2.RandomCrop(size, padding=size // 8), v2.RandomHorizontalFlip()])
        return v2.RandomAffine(
            15, (0.12, 0.12), (0.8, 1.2), (-15, 15, -15, 15),
            interpolation=v2.InterpolationMode.BILINEAR, fill=self.background,
        )  # fmt: skip

    def control(self, name: str, size: int) -> v2.Transform | None:
        """Return the transform of one of CONTROLS."""
        bilinear = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": self.background}
        usual = v2.ColorJitter(0.4, 0.4, 0.4, 0.1) if self.photographs else v2.RandAugment(**bilinear)
        match name:
            case "geometric":
                return self.geometry(size)
            case "TrivialAugment":
                return v2.TrivialAugmentWide(**bilinear)
            case "both":
                return v2.Compose([v2.TrivialAugmentWide(**bilinear), self.geometry(size)])
            case "usual":
                return v2.Compose([usual, self.geometry(size)])
            case _:
                return None


CLOTHES = ("dress", "longsleeve", "outwear", "shirt")
THINGS = ("bird", "cat", "frog", "truck")
SETS = {
    "clothes": OwnImages(partial(few, "clothing64", CLOTHES, 60, size=32), photographs=True),
    "cifar": OwnImages(partial(few, "cifar10", THINGS, 60), photographs=True),
    "mnist": OwnImages(counted("mnist", [5] * 10), photographs=False),
    "digits": OwnImages(digits, photographs=False),
    "drawings": OwnImages(drawings, photographs=False, background=255),
}
# "usual" is ColorJitter(0.4) for photographs and RandAugment otherwise. `augmentor.training.usual_recipes` now has the
# default ColorJitter(0.6), and passes no fill of 0: with a fill, torchvision weights border pixels differently.
CONTROLS = ("none", "geometric", "TrivialAugment", "both", "usual")


class Augmented(Around):
    """Data set that augments the images of a fetch together, and then applies the control to each image."""

    def __init__(self, dataset: Any, augment: Any, control: Callable[[torch.Tensor], torch.Tensor] | None):
        super().__init__(dataset)
        self.augment, self.control = augment, control

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        images, labels = zip(*fetch_items(self.dataset, indices), strict=True)
        batch, numbers = torch.stack(images), torch.stack([torch.as_tensor(label) for label in labels])
        if self.augment is not None:
            batch, numbers = self.augment(batch, numbers)
        moved = batch if self.control is None else [self.control(image) for image in batch]
        return list(zip(moved, numbers, strict=True))


@dataclass(frozen=True)
class Trial:
    """One seed of one set."""

    set: OwnImages
    seed: int
    root: str
    settings: Settings

    @cached_property
    def draw(self) -> Draw:
        return self.set.draw(self.root, self.seed)

    @cached_property
    def own(self) -> tuple[Autoencoder, dict[str, Any]]:
        """Autoencoder trained on the labelled images with the defaults of the command, and its figures."""
        labelled = self.draw.labelled
        start = default_autoencoder(labelled)
        pretrained = start in list_autoencoders()
        with seeded(self.seed, "init"):
            channels, *_ = shape = labelled.image_shape
            model = (
                load_autoencoder(start)
                if pretrained
                else autoencoders.build(start, image_shape=shape, channels=channels)
            )
        trainer = AutoencoderTrainer(model, lr=FINE_TUNING_LR if pretrained else LR, seed=self.seed, progress=False)
        model = trainer.fit(labelled)
        return model, {"start": start, "training_steps": trainer.steps_taken, **model.verdict.figures()}

    def score(self, control: str, augment: LatentAugment | None = None) -> dict[str, Any]:
        """Train with a control, after `augment` if given; return the mean recall of the classes in %."""
        labelled, test = self.draw.labelled, self.draw.test
        data = Augmented(labelled, augment, self.set.control(control, labelled.image_shape[-1]))
        model = train_classifier(
            small_cnn, data, num_classes=len(labelled.classes), steps=self.settings.steps,
            batch_size=self.settings.batch_size, seed=self.seed,
        )  # fmt: skip
        return {"score": 100 * macro_recall(predict(model, test), test.targets)}


def control(trial: Trial, found: dict[str, Any], name: str) -> dict[str, Any]:
    """Compute the row of a control, without latents."""
    return trial.score(name)


def defaults(trial: Trial, found: dict[str, Any], name: str) -> dict[str, Any]:
    """Compute the row of `LatentAugment()` with all defaults, followed by the control."""
    augment = LatentAugment()
    return {**trial.score(name, augment), "augment": repr(augment)}


def trained(trial: Trial, found: dict[str, Any], name: str) -> dict[str, Any]:
    """Compute the row of an autoencoder trained on the labelled images, as in the README, followed by the control.

    If the verdict is "poor", latent augmentation is not used, and the row equals that of the control.
    """
    model, known = trial.own
    if model.verdict.word == "poor":
        return {"score": found[name]["score"], **known}
    return {**trial.score(name, LatentAugment(model)), **known}


ROWS: dict[str, Callable[..., dict[str, Any]]] = {
    **{name: partial(control, name=name) for name in CONTROLS},
    **{f"LatentAugment(), then {name}": partial(defaults, name=name) for name in ("TrivialAugment", "both", "usual")},
    **{f"train-autoencoder, then {name}": partial(trained, name=name) for name in ("both", "usual")},
}


def store_of(job: Job) -> Store:
    return Store(job.work / "own-images" / f"{job.name}-{job.seed}.json", dataclasses.asdict(job.settings))


def run(job: Job) -> Job:
    """Compute the rows that are not stored yet, and store each."""
    trial = Trial(SETS[job.name], job.seed, job.root, job.settings)
    rows = {name: partial(ROWS[name], trial) for name in job.rows}
    store = store_of(job)
    fill(store, job, store.rows(), rows, lambda row: f"{row['score']:6.2f}")
    return job


def publish(jobs: list[Job], quick: bool) -> None:
    """Print the rows that all seeds of a set have, and record them."""
    name = jobs[0].name
    found = [store_of(job).rows() for job in jobs]
    rows = {row: together([seed[row] for seed in found]) for row in ROWS if all(row in seed for seed in found)}
    for row, values in rows.items():
        values |= {key: [seed[row][key] for seed in found] for key in ("augment", "verdict") if key in found[0][row]}
    best = max((row for row in rows if row in CONTROLS), key=lambda row: rows[row]["mean"], default=None)
    for row, values in rows.items():
        if best is not None and row not in CONTROLS:
            pairs = zip(values["values"], rows[best]["values"], strict=True)
            values["above"] = {"control": best, **spread([ours - theirs for ours, theirs in pairs])}
        paired = f"  {in_short(values['above'], '+')} above {best}" if "above" in values else ""
        print(f"{name:10} {row:28} {in_short(values)}{paired}  {values['seconds_a_run']:.0f} s", flush=True)
    if not quick:
        settings = {"set": name, "seeds": [job.seed for job in jobs], **dataclasses.asdict(jobs[0].settings)}
        record(f"own-images-{name}", settings, rows)
        draw_table("own-images", table())


def table() -> list[str]:
    """Return one column per recorded set; brackets contain the difference to the best control."""
    paths = {name: RESULTS / f"own-images-{name}.json" for name in SETS}
    sets = {name: json.loads(path.read_text())["rows"] for name, path in paths.items() if path.exists()}
    lines = [f"| augmentation | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    for row in ROWS:
        cells = [_cell(rows[row]) if row in rows else "" for rows in sets.values()]
        lines += [f"| {row} | {' | '.join(cells)} |"] if any(cells) else []
    return lines


def _cell(values: dict[str, Any]) -> str:
    return in_short(values) + (f" ({in_short(values['above'], '+')})" if "above" in values else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), help="sets (default: all)")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), help="rows (default: all)")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)))
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds that run at the same time")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"), help="folder for what a stopped run keeps")
    parser.add_argument("--quick", action="store_true", help="very short training, to test the program")
    options = parser.parse_args()
    settings = QUICK if options.quick else Settings()
    jobs = [
        Job(name, seed, options.data_root, options.work, settings, tuple(options.rows))
        for name in options.sets
        for seed in options.seeds
    ]
    in_processes(run, jobs, options.jobs, partial(publish, quick=options.quick))


if __name__ == "__main__":
    main()
