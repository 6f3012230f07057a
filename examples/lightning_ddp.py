"""Lightning in two processes: a DataModule whose training loader has its own part of the data in each process.

pip install 'latent-augmentor[distributed]' && python lightning_ddp.py
"""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from augmentor import AugmentedLoader, LatentAugment
from augmentor.data import load_source


class Digits(L.LightningDataModule):
    def setup(self, stage):
        digits = load_source("digits")
        self.train, self.test = digits.subset(torch.arange(1000)), digits.subset(torch.arange(1000, len(digits)))
        self.augment = LatentAugment("digits", "smote(k=5)").fit(self.train)

    def train_dataloader(self):
        # Lightning adds a sampler only to a DataLoader, so the wrapped DataLoader needs its own.
        sampler = DistributedSampler(self.train, self.trainer.world_size, self.trainer.global_rank)
        loader = DataLoader(self.train, batch_size=16, sampler=sampler)
        return AugmentedLoader(loader, self.augment, ratio=0.5, device=self.trainer.strategy.root_device)


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    def training_step(self, batch, index):
        images, labels = batch  # 16 real and 8 synthetic, in each process
        return nn.functional.cross_entropy(self.network(images / 255), labels)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


if __name__ == "__main__":
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        max_epochs=8, accelerator="cpu", strategy="ddp", devices=2,
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    data, model = Digits(), Classifier()
    trainer.fit(model, data)
    if trainer.is_global_zero:
        with torch.no_grad():
            right = (model.network(data.test.images / 255).argmax(1) == data.test.targets).float().mean()
        print(f"test accuracy {right:.3f}")
