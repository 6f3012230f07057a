"""Hugging Face Trainer: wrap the training loader in `get_train_dataloader`, with a Vision Transformer.

pip install transformers accelerate && python huggingface_trainer.py
"""

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed

from augmentor import AugmentedLoader, LatentAugment
from augmentor.data import load_source


class Pictures(Dataset):
    """Data set of dicts as the model expects them, with pixels in [0, 1]."""

    def __init__(self, images, targets):
        self.images, self.targets = images / 255, targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"pixel_values": self.images[index], "labels": self.targets[index]}


class LatentTrainer(Trainer):
    def get_train_dataloader(self):  # batches are dicts and may have other columns
        return AugmentedLoader(super().get_train_dataloader(), augment, ratio=0.5, device=self.args.device)


def accuracy(prediction):
    return {"accuracy": float(np.mean(prediction.predictions.argmax(1) == prediction.label_ids))}


set_seed(0)
digits = load_source("digits")
train, test = digits.subset(torch.arange(1000)), digits.subset(torch.arange(1000, len(digits)))
augment = LatentAugment("digits", "interpolate(strength=0.5)").fit(train)

config = ViTConfig(
    image_size=8, patch_size=4, num_channels=1, hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
    intermediate_size=128, num_labels=10, hidden_dropout_prob=0.0, initializer_range=0.1,
)  # fmt: skip
trainer = LatentTrainer(
    ViTForImageClassification(config),
    TrainingArguments(
        "run", num_train_epochs=7, per_device_train_batch_size=32, learning_rate=3e-3, report_to="none",
        save_strategy="no", logging_strategy="no", disable_tqdm=True,
    ),
    train_dataset=Pictures(train.images, train.targets), eval_dataset=Pictures(test.images, test.targets),
    compute_metrics=accuracy,
)  # fmt: skip
trainer.train()
print(f"test accuracy {trainer.evaluate()['eval_accuracy']:.3f}")
