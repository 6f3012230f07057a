"""A plain PyTorch loop: augment each batch after the loader, on the device.

python plain_pytorch.py
"""

import torch
from torch import nn
from torch.utils.data import DataLoader

from augmentor import AugmentedLoader, LatentAugment
from augmentor.data import load_source

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"

# 1000 labelled digits for training, the rest for testing.
digits = load_source("digits")
train, test = digits.subset(torch.arange(1000)), digits.subset(torch.arange(1000, len(digits)))

# Add half as many synthetic as real images to each batch of (uint8 images, labels).
augment = LatentAugment("digits", "interpolate(strength=0.5)").fit(train)
loader = AugmentedLoader(DataLoader(train, batch_size=32, shuffle=True), augment, ratio=0.5, device=device)

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(12):
    for images, labels in loader:  # already on the device
        loss = nn.functional.cross_entropy(model(images / 255), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    right = (model(test.images.to(device) / 255).argmax(1).cpu() == test.targets).float().mean()
print(f"test accuracy {right:.3f}")
