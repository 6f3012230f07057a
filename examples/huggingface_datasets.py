"""Hugging Face datasets: `with_transform` augments each batch that the loader reads.

pip install datasets && python huggingface_datasets.py
"""

import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Pil
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import pil_to_tensor

from augmentor import LatentAugment

torch.manual_seed(0)
pictures, labels = load_digits(return_X_y=True)
pictures = [Pil.fromarray(row.reshape(8, 8)) for row in (pictures * 255 / 16).astype("uint8")]
columns = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
dataset = Dataset.from_dict({"image": pictures, "label": labels}, features=columns)
parts = dataset.train_test_split(test_size=0.4, seed=0)


def tensors(batch):  # a dict of lists, also for one row
    return {"image": torch.stack([pil_to_tensor(i) for i in batch["image"]]), "label": torch.tensor(batch["label"])}


augment = LatentAugment("digits", "gaussian(std=0.5)", p=0.5, seed=0)
train = parts["train"].with_transform(lambda batch: augment(tensors(batch)))  # finds "label" like v2.MixUp
test = parts["test"].with_transform(tensors)

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(8):
    augment.set_epoch(epoch)  # with a seed: other samples in each epoch, equal in each run
    for batch in DataLoader(train, batch_size=64, shuffle=True):
        loss = nn.functional.cross_entropy(model(batch["image"] / 255), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    (batch,) = DataLoader(test, batch_size=len(test))
    right = (model(batch["image"] / 255).argmax(1) == batch["label"]).float().mean()
print(f"test accuracy {right:.3f}")
