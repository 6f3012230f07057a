"""Lightning: a DataModule that augments training batches once they are on the device.

pip install 'latent-augmentor[distributed]' && python lightning_datamodule.py
"""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from augmentor import LatentAugment
from augmentor.data import load_source


class Digits(L.LightningDataModule):
    def setup(self, stage):
        digits = load_source("digits")
        self.train, self.test = digits.subset(torch.arange(300)), digits.subset(torch.arange(300, len(digits)))
        self.augment = LatentAugment("digits", "smote(k=5)", p=0.5, seed=0).fit(self.train)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=32, shuffle=True)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=256)

    def on_after_batch_transfer(self, batch, index):  # Lightning calls it for each batch, on the device
        images, labels = batch
        if self.trainer.training:
            images, labels = self.augment.to(images.device)(images, labels)
        return images.float() / 255, labels


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch, index):
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def test_step(self, batch, index):
        images, labels = batch
        self.log("accuracy", (self.network(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


if __name__ == "__main__":
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(max_epochs=20, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    data, model = Digits(), Classifier()
    trainer.fit(model, data)
    (result,) = trainer.test(model, data, verbose=False)
    print(f"test accuracy {result['accuracy']:.3f}")
