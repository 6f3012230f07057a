"""timm: latent augmentation first, on pixels in [0, 1]; then normalisation, and timm's own Mixup last.

pip install timm && python timm_mixup.py
"""

import numpy as np
import torch
from timm import create_model
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from augmentor import LatentAugment
from augmentor.data import load_source

torch.manual_seed(0)
np.random.seed(0)  # timm's Mixup draws from it
digits = load_source("digits")
train, test = digits.subset(torch.arange(400)), digits.subset(torch.arange(400, len(digits)))

# Both keep the size of a batch. Mixup pairs its rows and refuses an odd number of them: drop_last keeps them even.
loader = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
augment = LatentAugment("digits", "extrapolate(strength=0.3)", p=0.5, seed=0).fit(train)
mixup = Mixup(mixup_alpha=0.2, num_classes=10, label_smoothing=0.0)
prepare = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Resize((16, 16)), v2.Normalize([0.3], [0.3])])

model = create_model("resnet10t", in_chans=1, num_classes=10)
optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-3)
criterion = SoftTargetCrossEntropy()
for _ in range(8):
    for images, labels in loader:
        images, labels = augment(images, labels)  # uint8, before it is normalised
        images, targets = mixup(prepare(images), labels)  # targets (B, 10)
        loss = criterion(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    right = (model(prepare(test.images)).argmax(1) == test.targets).float().mean()
print(f"test accuracy {right:.3f}")
