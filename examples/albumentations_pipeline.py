"""albumentations: `LatentAugment` as a transform in an `A.Compose`, for arrays (H,W,C).

python albumentations_pipeline.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

from augmentor.albumentations import A, LatentAugment

torch.manual_seed(0)
pictures, labels = load_digits(return_X_y=True)
pictures = (pictures * 255 / 16).astype("uint8").reshape(-1, 8, 8, 1)

# Before A.Normalize, because the autoencoder expects uint8, or floats in [0, 1].
training = A.Compose(
    [LatentAugment("digits", "gaussian(std=0.5)", p=0.5), A.Affine(rotate=10, p=0.5), A.Normalize(0.3, 0.3),
     A.ToTensorV2()],
    seed=0,
)  # fmt: skip
testing = A.Compose([A.Normalize(0.3, 0.3), A.ToTensorV2()])


class Pictures(Dataset):
    def __init__(self, rows, pipeline):
        self.rows, self.pipeline = rows, pipeline

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return self.pipeline(image=pictures[row])["image"], labels[row]


model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(5):
    for images, targets in DataLoader(Pictures(range(1000), training), batch_size=32, shuffle=True):
        loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    test = Pictures(range(1000, len(pictures)), testing)
    ((images, targets),) = DataLoader(test, batch_size=len(test))
    right = (model(images).argmax(1) == targets).float().mean()
print(f"test accuracy {right:.3f}")
