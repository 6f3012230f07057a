"""Your own images: train a classifier of JPEG files with and without latent augmentation.

python own_images.py FOLDER          trains on FOLDER/train/CLASS/*.jpg, tests on FOLDER/test/CLASS/*.jpg
python own_images.py                 pieces of four photographs instead: pip install scikit-image
python own_images.py --steps 60      short training, to test the script
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from augmentor import LatentAugment, load_autoencoder
from augmentor.training import AutoencoderTrainer, small_cnn

parser = argparse.ArgumentParser()
parser.add_argument("folder", nargs="?", type=Path)
parser.add_argument("--steps", type=int, default=1500, help="number of steps of each training")
parser.add_argument("--seeds", type=int, default=5, help="number of trainings of each kind, at least 2")
options = parser.parse_args()


def written_pieces() -> Path:
    """Write pieces of 96x96 pixels: 20 from each photograph's left half to train on, 50 from its right half to test."""
    from skimage.data import chelsea, stereo_motorcycle

    photographs = dict(zip(["temple", "flower"], load_sample_images().images, strict=True))
    photographs |= {"cat": chelsea(), "motorcycle": stereo_motorcycle()[0]}
    torch.manual_seed(0)
    for name, photograph in photographs.items():
        left, right = torch.from_numpy(photograph.copy()).permute(2, 0, 1).chunk(2, dim=2)
        for part, half, count in (("train", left, 20), ("test", right, 50)):
            folder = Path("photos", part, name)
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                piece = v2.RandomCrop(96)(half).permute(1, 2, 0).numpy()
                Image.fromarray(piece).save(folder / f"{number}.jpg")
    return Path("photos")


folder = options.folder or written_pieces()
size, tensor = [v2.Resize(32), v2.CenterCrop(32)], [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
usual = [v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
plain, test = (ImageFolder(folder / part, v2.Compose([*size, *tensor])) for part in ("train", "test"))

trainer = AutoencoderTrainer(load_autoencoder("natural"), steps=options.steps, lr=5e-4, batch_size=16)
autoencoder = trainer.fit(plain)  # `augmentor train-autoencoder` chooses the number of steps itself
print(autoencoder.verdict)
augment = LatentAugment("natural" if autoencoder.verdict.word == "poor" else autoencoder)


def accuracy(augmentation: list[v2.Transform], seed: int) -> float:
    """Return the accuracy of a small network on the test images in %."""
    torch.manual_seed(seed)
    train = ImageFolder(folder / "train", v2.Compose([*size, *augmentation, *tensor]))
    model = small_cnn(3, len(train.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.steps)
    for images, labels in DataLoader(train, 16, sampler=RandomSampler(train, num_samples=16 * options.steps)):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(images).argmax(1) == labels for images, labels in DataLoader(test, 64)])
    return 100 * float(right.double().mean())


without = [accuracy(usual, seed) for seed in range(options.seeds)]
latents = [accuracy([augment, *usual], seed) for seed in range(options.seeds)]  # latents first
gains = [ours - theirs for ours, theirs in zip(latents, without, strict=True)]
print(f"accuracy without LatentAugment: {mean(without):.1f} ± {stdev(without):.1f} %")
print(f"accuracy with LatentAugment: {mean(latents):.1f} ± {stdev(latents):.1f} %")
certain = abs(mean(gains)) > stdev(gains)
found = "no certain difference" if not certain else "a gain" if mean(gains) > 0 else "a loss"
print(f"LatentAugment: {found} on these images, {mean(gains):+.1f} ± {stdev(gains):.1f} points in {len(gains)} seeds")
