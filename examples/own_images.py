"""Your own images: a classifier of a folder of JPEG files, trained with and without latent augmentation.

python own_images.py FOLDER     # FOLDER/train/CLASS/*.jpg is learnt from, FOLDER/test/CLASS/*.jpg is held out
python own_images.py --steps 60 # without FOLDER: pieces of four photographs that come with scikit-image; a minute
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

import torch
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from augmentor import LatentAugment, load_autoencoder
from augmentor.autoencoders.trainer import AutoencoderTrainer
from augmentor.quality import assess
from augmentor.training import small_cnn

parser = argparse.ArgumentParser()
parser.add_argument("folder", nargs="?", type=Path, default=Path("photos"))
parser.add_argument("--steps", type=int, default=1500, help="of each training")
parser.add_argument("--seeds", type=int, default=5)
options = parser.parse_args()


def write_pieces(folder: Path) -> None:
    """Pieces of 48x48 pixels: those to learn from out of the left half of a photograph, those to test on out of the right."""
    flower, china = (load_sample_image(f"{name}.jpg") for name in ("flower", "china"))
    photographs = {"cat": data.chelsea(), "china": china, "flower": flower, "motorcycle": data.stereo_motorcycle()[0]}
    torch.manual_seed(0)
    for name, photograph in photographs.items():
        for number in range(60):
            part, half = ("train" if number < 20 else "test"), photograph.shape[1] // 2
            top = int(torch.randint(photograph.shape[0] - 48, ()))
            left = int(torch.randint(half - 48, ())) + half * (part == "test")
            path = folder / part / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph[top : top + 48, left : left + 48]).save(path)


if not options.folder.exists():
    write_pieces(options.folder)
small, tensor = [v2.Resize(32), v2.CenterCrop(32)], [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
usual = [v2.TrivialAugmentWide(), v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
train, test = (ImageFolder(options.folder / part, v2.Compose([*small, *tensor])) for part in ("train", "test"))

trainer = AutoencoderTrainer(load_autoencoder("natural"), steps=options.steps, lr=5e-4, batch_size=16)
autoencoder = trainer.fit(train)
verdict = assess(autoencoder, Subset(train, trainer.held_out), training=train)
print(verdict)


def accuracy(augmentation: list[v2.Transform], seed: int) -> float:
    torch.manual_seed(seed)
    images = ImageFolder(options.folder / "train", v2.Compose([*small, *augmentation, *tensor]))
    model = small_cnn(3, len(images.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.steps)
    batches = (batch for _ in range(options.steps) for batch in DataLoader(images, batch_size=16, shuffle=True))
    for _, (x, y) in zip(range(options.steps), batches):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) == y for x, y in DataLoader(test, batch_size=256)])
    return float(right.double().mean())


seeds = range(options.seeds)
without = [accuracy(usual, seed) for seed in seeds]
with_latents = [accuracy([LatentAugment(autoencoder), *usual], seed) for seed in seeds]
gain = [a - b for a, b in zip(with_latents, without, strict=True)]
print(f"accuracy without LatentAugment {mean(without):.3f} ± {stdev(without):.3f}")
print(f"accuracy with LatentAugment    {mean(with_latents):.3f} ± {stdev(with_latents):.3f}")
print(f"gain {mean(gain):+.3f} ± {stdev(gain):.3f}")
