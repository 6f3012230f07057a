"""Columns (a dict of lists), which Hugging Face `datasets` passes to a transform, also for a single row."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torchvision import tv_tensors

from .samples import LabelsGetter, Sample, image_to_tensor, is_image, tensor_to_image


def is_columns(inputs: Any) -> TypeGuard[dict[str, list[Any]]]:
    """Return whether the input is a dict of lists of equal length, at least one of which contains images."""
    if not isinstance(inputs, dict) or not all(isinstance(column, list) for column in inputs.values()):
        return False
    return len({len(column) for column in inputs.values()}) == 1 and any(map(_holds_images, inputs.values()))


def sample_of(inputs: Any, labels_getter: LabelsGetter) -> Sample:
    """Return the input of a transform as a sample or a batch."""
    return Columns(inputs, labels_getter) if is_columns(inputs) else Sample(inputs, labels_getter)


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return one dict per row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return columns from rows; the inverse of `rows_of`."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def of_one_shape(columns: dict[str, list[Any]]) -> bool:
    """Return whether the images of each column have one shape, so that they can be a batch."""
    images = [column for column in columns.values() if _holds_images(column)]
    return all(len({image_to_tensor(image).shape for image in column}) == 1 for column in images)


class Columns(Sample):
    """Columns as one batch; `rebuilt` returns lists, with images of their original type."""

    def __init__(self, columns: dict[str, list[Any]], labels_getter: LabelsGetter):
        self._given = columns
        self._batch = {name: _as_batch(column) for name, column in columns.items()}
        super().__init__(self._batch, labels_getter)

    def rebuilt(self) -> dict[str, list[Any]]:
        """Return the columns with the current leaves."""
        return {name: self._list(name, made) for name, made in super().rebuilt().items()}

    def _list(self, name: str, made: Any) -> list[Any]:
        given = self._given[name]
        if _holds_images(given):
            return [tensor_to_image(image, like=old) for image, old in zip(made, given, strict=True)]
        return given if made is self._batch[name] or not isinstance(made, torch.Tensor) else list(made)


def _as_batch(column: list[Any]) -> Any:
    if _holds_images(column):
        batch = torch.stack([image_to_tensor(image) for image in column])
        return batch if type(column[0]) is torch.Tensor else tv_tensors.Image(batch)
    return torch.tensor(column) if all(isinstance(value, (int, float)) for value in column) else column


def _holds_images(column: list[Any]) -> bool:
    return len(column) > 0 and is_image(column[0])
