"""timm: latent augmentation inside its loader, before pixels are normalised, and its Mixup last.

pip install timm && python timm_mixup.py
"""

import numpy as np
import torch
from PIL import Image
from timm import create_model
from timm.data import Mixup, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import resize

from augmentor import AugmentedLoader, LatentAugment
from augmentor.data import load_source

torch.manual_seed(0)
np.random.seed(0)  # timm's Mixup uses numpy's generator
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
digits = load_source("digits")
train, test = digits.subset(torch.arange(1000)), digits.subset(torch.arange(1000, len(digits)))


class Pictures(Dataset):
    transform = None  # set by create_loader, for PIL images

    def __init__(self, digits):
        self.images, self.targets = digits.images, digits.targets.tolist()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index, 0].numpy())), self.targets[index]


form = {"input_size": (1, 8, 8), "crop_pct": 1, "mean": (0.3,), "std": (0.3,), "num_workers": 0, "device": device}
loader = create_loader(Pictures(train), batch_size=32, is_training=True, no_aug=True, **form)
# The inner loader returns uint8 images; timm's prefetcher moves them to the device and normalises them.
augment = LatentAugment("digits", "extrapolate(strength=0.3)").fit(train)
loader.loader = AugmentedLoader(loader.loader, augment, ratio=0.5, device=device)

mixup, criterion = Mixup(mixup_alpha=0.2, num_classes=10, label_smoothing=0.0), SoftTargetCrossEntropy()
model = create_model("test_resnet", in_chans=1, num_classes=10).to(device)  # the smallest; any model works
optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-3)
for _ in range(3):
    for images, labels in loader:  # 32 real and 16 synthetic; Mixup requires an even number
        images, targets = mixup(resize(images, [16, 16]), labels)
        optimizer.zero_grad()
        criterion(model(images), targets).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    ((images, labels),) = create_loader(Pictures(test), batch_size=len(test), **form)
    right = (model(resize(images, [16, 16])).argmax(1) == labels).float().mean()
print(f"test accuracy {right:.3f}")
