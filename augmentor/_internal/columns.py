"""Columns of rows, a dict of lists: what Hugging Face `datasets` hands to a transform, for one row as well."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torchvision import tv_tensors

from .samples import LabelsGetter, Sample, image_to_tensor, is_image, tensor_to_image


def is_columns(inputs: Any) -> TypeGuard[dict[str, list[Any]]]:
    """Whether this is a dict of lists of one length, one of which holds images."""
    if not isinstance(inputs, dict) or not all(isinstance(column, list) for column in inputs.values()):
        return False
    return len({len(column) for column in inputs.values()}) == 1 and any(map(_holds_images, inputs.values()))


def sample_of(inputs: Any, labels_getter: LabelsGetter) -> Sample:
    """What a transform was given, as a sample or a batch."""
    return Columns(inputs, labels_getter) if is_columns(inputs) else Sample(inputs, labels_getter)


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """One dict a row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The inverse of `rows_of`."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def of_one_shape(columns: dict[str, list[Any]]) -> bool:
    """Whether the images of each column could be one batch."""
    images = [column for column in columns.values() if _holds_images(column)]
    return all(len({image_to_tensor(image).shape for image in column}) == 1 for column in images)


class Columns(Sample):
    """Columns as one batch; `rebuilt` gives lists again, of images of the type that they had."""

    def __init__(self, columns: dict[str, list[Any]], labels_getter: LabelsGetter):
        self._given = columns
        self._batch = {name: _as_batch(column) for name, column in columns.items()}
        super().__init__(self._batch, labels_getter)

    def rebuilt(self) -> dict[str, list[Any]]:
        """The columns with the leaves as they are now."""
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
