"""A folder of PNG files: write synthetic samples to HDF5 shards once, then train with plain PyTorch on both.

python imagefolder_shards.py
"""

from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from augmentor import LatentAugment, ShardDataset, generate_shards
from augmentor.data import load_source

# Your own data are files photos/CLASS/NAME.png; this example writes digits.
for number, (image, label) in enumerate(load_source("digits")):
    path = Path("photos/train" if number < 1000 else "photos/test", f"digit-{label}", f"{number}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[0].numpy()).save(path)

uint8 = v2.Compose([v2.Grayscale(), v2.PILToTensor()])
train, test = ImageFolder("photos/train", uint8), ImageFolder("photos/test", uint8)

# As many synthetic samples as real ones. If the call is stopped, the same call resumes.
augment = LatentAugment("digits", "interpolate(strength=0.5)")
folder = generate_shards(train, augment, "shards", num_samples=len(train), shard_size=250)
both = ConcatDataset([train, ShardDataset(folder)])

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(6):
    for images, labels in DataLoader(both, batch_size=64, shuffle=True):
        loss = nn.functional.cross_entropy(model(images / 255), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    ((images, labels),) = DataLoader(test, batch_size=len(test))
    right = (model(images / 255).argmax(1) == labels).float().mean()
print(f"test accuracy {right:.3f}")
