"""Accelerate: wrap the DataLoader after `prepare`, on any number of processes.

pip install accelerate && accelerate launch accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader

from augmentor import AugmentedLoader, LatentAugment
from augmentor.data import load_source

set_seed(0)
accelerator = Accelerator()
digits = load_source("digits")
train, test = digits.subset(torch.arange(1000)), digits.subset(torch.arange(1000, len(digits)))

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
loader = DataLoader(train, batch_size=32, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

# Each process has its own part of the data and adds its own synthetic samples.
augment = LatentAugment("digits", "extrapolate(strength=0.5)").fit(train)
loader = AugmentedLoader(loader, augment, ratio=0.5, device=accelerator.device)

for _ in range(8):
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images / 255), labels)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()

with torch.no_grad():
    scores = model(test.images.to(accelerator.device) / 255)
accelerator.print(f"test accuracy {(scores.argmax(1).cpu() == test.targets).float().mean():.3f}")
accelerator.end_training()
