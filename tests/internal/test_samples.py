"""Images and labels of samples and data sets of any usual kind."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from augmentor._internal.checks import to_uint8, to_unit_float
from augmentor._internal.datasets import batches, collate, dataset_fingerprint, dataset_labels, num_classes_of
from augmentor._internal.samples import (
    Sample,
    image_to_tensor,
    is_image,
    labels_tensor,
    resolve_labels_getter,
    rgb_of,
    split_item,
    tensor_to_image,
)
from augmentor.data import load_source
from augmentor.exceptions import DataError, InputError, ShapeError

GREY = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
RGB = GREY.convert("RGB")
TENSOR = torch.rand(3, 8, 8)


class Pairs:
    """A map-style data set without `__getitems__`."""

    def __init__(self, items, **attributes):
        self.items = items
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


MASK = tv_tensors.Mask(torch.zeros(1, 8, 8))
BOXES = tv_tensors.BoundingBoxes([[0, 0, 1, 1]], format="XYXY", canvas_size=(8, 8))
VIDEO = tv_tensors.Video(torch.zeros(2, 3, 8, 8))


def test_images_are_told_from_other_values():
    arrays = [np.zeros((8, 8)), np.zeros((8, 8, 3), np.uint8)]
    assert all(map(is_image, [GREY, RGB, TENSOR, TENSOR[None], tv_tensors.Image(TENSOR), *arrays]))
    others = [torch.zeros(3), torch.zeros(8, 8), MASK, BOXES, VIDEO, np.zeros(8), np.full((8, 8), "a"), "image", None]
    assert not any(map(is_image, others))


PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "image",
    [GREY, RGB, RGB.convert("RGBA"), GREY.convert("LA"), TENSOR, TENSOR.double(), (TENSOR * 255).to(torch.uint8),
     tv_tensors.Image(TENSOR), PIXELS, PIXELS[..., ::-1], PIXELS[..., 0], PIXELS[..., :1],
     (PIXELS / 255).astype(">f4")],
    ids=["L", "RGB", "RGBA", "LA", "float32", "float64", "uint8", "tv_tensor", "HWC", "BGR view", "HW", "HW1",
         "big-endian"],
)  # fmt: skip
def test_images_go_to_tensors_and_back(image):
    tensor = image_to_tensor(image)
    assert type(tensor) is torch.Tensor
    assert tensor.shape[-2:] == (8, 8)
    back = tensor_to_image(tensor, like=image)
    assert type(back) is type(image) or isinstance(back, Image.Image)
    assert np.array_equal(np.asarray(back), np.asarray(image))
    if isinstance(image, Image.Image):
        assert back.mode == image.mode
    else:
        assert back.dtype == image.dtype


def test_an_array_is_read_as_by_torchvision():
    assert torch.equal(image_to_tensor(PIXELS), v2.functional.to_image(PIXELS).as_subclass(torch.Tensor))


@pytest.mark.parametrize(("shape", "line"), [((3, 8, 8), 0), ((8, 8, 8), 1), ((2, 8, 8, 3), 0)])
def test_an_array_of_which_the_layout_is_open_is_refused_with_a_line_that_works(shape, line):
    image = images = np.zeros(shape, np.uint8)  # noqa: F841 - names in the advice
    with pytest.raises(ShapeError, match=r"expected.*H,W,C") as caught:
        image_to_tensor(image)
    lines = re.findall(r"torch\.from_numpy\(images?\)(?:\.permute\([\d, ]+\))?", str(caught.value))
    assert eval(lines[line]).shape[-2:] == (8, 8)


def test_float_tensors_are_rounded_where_the_image_was_of_levels():
    made = torch.full((3, 8, 8), 0.5)
    for like in ((TENSOR * 255).to(torch.uint8), RGB, PIXELS):
        assert (np.asarray(tensor_to_image(made, like=like)) == 128).all()


def test_a_batch_in_channels_last_comes_out_so():
    batch = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for images in (batch, to_uint8(batch), to_unit_float(to_uint8(batch)), image_to_tensor(tv_tensors.Image(batch))):
        back = tensor_to_image(torch.rand(2, 3, 8, 8), like=images)
        for each in (images, back):
            assert each.is_contiguous(memory_format=torch.channels_last)
    assert tensor_to_image(batch, like=torch.rand(2, 3, 8, 8)).shape == batch.shape


# --- PIL modes


def test_opaque_images_of_any_mode_become_grey_or_rgb_and_look_the_same():
    for image in (RGB.quantize(64), *map(RGB.convert, ["RGBA", "CMYK", "YCbCr", "HSV"])):
        assert rgb_of(image).mode == "RGB"
        assert np.abs(np.asarray(rgb_of(image), int) - np.asarray(RGB)).max() <= 8
    for mode in ("1", "LA"):
        assert np.array_equal(rgb_of(GREY.convert(mode)), GREY.convert(mode).convert("L"))
    assert rgb_of(GREY) is GREY
    assert rgb_of(RGB) is RGB


def transparent() -> list[Image.Image]:
    """Images of which the left half shows nothing, in every way that Pillow has of saying so."""
    alpha = Image.fromarray(np.where(np.arange(64).reshape(8, 8) % 8 < 4, 0, 255).astype(np.uint8))
    rgba, grey = RGB.convert("RGBA"), GREY.convert("LA")
    for image in (rgba, grey):
        image.putalpha(alpha)
    palette = Image.fromarray(np.asarray(alpha) // 255).convert("P")
    palette.info["transparency"] = 0
    colour = Image.merge("RGB", [alpha] * 3)
    colour.info["transparency"] = (0, 0, 0)
    return [rgba, grey, rgba.convert("RGBa"), palette, colour]


@pytest.mark.parametrize("image", transparent(), ids=lambda image: image.mode)
def test_transparent_pixels_are_refused_with_a_line_that_works(image):
    with pytest.raises(InputError, match="32 of 64 pixels transparent") as caught:
        image_to_tensor(image)
    names = {"Image": Image, "image": image}
    exec(str(caught.value).partition("background, with ")[2], names)
    composed = image_to_tensor(names["image"])
    assert composed.shape == (3, 8, 8)
    assert (composed[..., :4] == 255).all()
    assert (composed[..., 4:] == image_to_tensor(image.convert("RGBA").convert("RGB"))[..., 4:]).all()


def test_a_pixel_that_is_transparent_in_part_counts():
    image = RGB.convert("RGBA")
    image.putpixel((0, 0), (1, 2, 3, 254))
    with pytest.raises(InputError, match="1 of 64 pixels transparent"):
        rgb_of(image)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_8_bits_are_refused_with_lines_that_keep_the_values(mode, tmp_path):
    values = np.arange(64).reshape(8, 8) * 1000
    image = Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    with pytest.raises(InputError, match=f"mode '{mode}', with more than 8 bits") as caught:
        image_to_tensor(image)
    if mode == "I;16":
        line = re.search(r"with (v2.*?\)\)?), or", str(caught.value)).group(1)
        made, highest = v2.Compose(eval(f"[{line}]"))(image), 65535
    else:
        made, highest = eval(re.search(r"here (.*?), or", str(caught.value)).group(1)), 63000
    assert torch.allclose(made[0].float(), torch.from_numpy(values / highest).float())
    line = re.search(r"array 'images' is (.*)", str(caught.value)).group(1).replace(", ...", "")
    np.savez(tmp_path / "deep.npz", images=eval(line))
    known = "" if mode == "I;16" else "#value_range=0,63000"
    assert torch.allclose(load_source(f"{tmp_path}/deep.npz{known}")[0][0][0], made[0].float())


def test_what_is_no_image_is_refused():
    for other in ("a.png", None):
        with pytest.raises(InputError, match="expected a PIL image, a tensor"):
            image_to_tensor(other)


def test_arrays_are_images_only_where_nothing_else_is():
    mask, grey = np.zeros((8, 8, 1)), np.zeros((8, 8))
    assert split_item({"mask": mask, "image": TENSOR})[0] is TENSOR
    assert split_item((TENSOR, mask))[0] is TENSOR
    assert split_item({"soft": grey, "image": PIXELS})[0] is PIXELS
    assert split_item((grey, 3))[0] is grey
    assert split_item((grey, 3))[1] == 3
    sample = Sample({"mask": mask, "image": TENSOR, "label": 3}, resolve_labels_getter("default"))
    assert [sample.leaves[place] is TENSOR for place in sample.image_places] == [True]
    sample = Sample((PIXELS, mask), resolve_labels_getter(None))
    assert [sample.leaves[place] is PIXELS for place in sample.image_places] == [True]


def test_labels_are_found_by_torchvisions_convention_or_the_getter():
    for sample in ((TENSOR, 3), [TENSOR, 3, "name"], {"image": TENSOR, "Labels": 3}, {"my_label": 4, "label": 3},
                   {"label": "cat", "label_number": 3}, {3: TENSOR, "label": 3}):  # fmt: skip
        assert resolve_labels_getter("default")(sample) == 3
    for sample in ({"image": TENSOR}, (TENSOR,), (TENSOR, "name"), (TENSOR, {"boxes": 1}), (TENSOR, TENSOR),
                   (TENSOR, BOXES), {"image": TENSOR, "label_mask": MASK}, TENSOR):  # fmt: skip
        assert resolve_labels_getter("default")(sample) is None
    assert resolve_labels_getter(None)((TENSOR, 3)) is None
    assert resolve_labels_getter(len)((TENSOR, 3)) == 2
    with pytest.raises(InputError, match="labels_getter"):
        resolve_labels_getter("second")


def test_class_numbers_of_any_usual_type_become_int64_and_soft_labels_float32():
    tensor = torch.tensor([1, 2], dtype=torch.uint8)
    for labels in ([1, 2], np.asarray([1, 2], np.int32), tensor, [torch.tensor(1), np.int64(2)]):
        assert labels_tensor(labels).dtype == torch.int64
        assert labels_tensor(labels).tolist() == [1, 2]
    soft = torch.tensor([[0.25, 0.75]])
    for labels in (soft.tolist(), list(soft), soft.double()):
        assert torch.equal(labels_tensor(labels), soft)


def test_labels_that_are_none_are_refused():
    for labels in ([0.5, 1.5], torch.ones(3), torch.zeros(3, 2, 2), ["cat"], [[1], [1, 2]], [None]):
        with pytest.raises(InputError, match="labels"):
            labels_tensor(labels)


def test_items_collate_to_one_batch():
    images, labels = collate([(RGB, 1), {"pixels": TENSOR.mul(255).to(torch.uint8), "label": 2}])
    assert images.shape == (2, 3, 8, 8)
    assert labels.tolist() == [1, 2]
    images, labels = collate([TENSOR, TENSOR])
    assert labels is None


def test_items_without_an_image_or_that_do_not_fit_together_are_refused():
    for item in (3, "x", (), (1, 2), {"label": 1}, None):
        with pytest.raises(DataError, match="without an image"):
            collate([item])
    with pytest.raises(DataError, match="different shapes"):
        collate([(TENSOR, 1), (TENSOR[:, :4], 1)])
    with pytest.raises(DataError, match="labels for 1 of 2"):
        collate([(TENSOR, 1), TENSOR])


def test_batches_come_alike_from_a_data_set_a_loader_and_a_list_of_samples_or_batches():
    images, labels = torch.rand(10, 1, 8, 8), torch.arange(10)
    data = TensorDataset(images, labels)
    parts = [(images[:7], labels[:7]), (images[7:], labels[7:])]
    for source in (Pairs(list(data)), data, list(data), DataLoader(data, 4), parts):
        got = list(batches(source, 4))
        assert torch.equal(torch.cat([batch for batch, _ in got]), images)
        assert torch.equal(torch.cat([numbers for _, numbers in got]), labels)
    with pytest.raises(DataError, match="empty"):
        list(batches(Pairs([])))


def test_all_labels_of_a_data_set():
    items = [(TENSOR, 2), (TENSOR, 0)]
    assert dataset_labels(Pairs(items)).tolist() == [2, 0]
    assert dataset_labels(Pairs(items, targets=[2, 0])).tolist() == [2, 0]
    changed = Pairs([(TENSOR, 1), (TENSOR, 0)], targets=[7, 3], target_transform=lambda label: label // 5)
    assert dataset_labels(changed).tolist() == [1, 0]
    with pytest.raises(DataError, match="no labels"):
        dataset_labels(Pairs([TENSOR, TENSOR]))


def test_the_number_of_classes_comes_from_the_names_or_the_labels():
    assert num_classes_of(Pairs([], classes=list("abc")), torch.tensor([0])) == 3
    assert num_classes_of(Pairs([]), torch.tensor([0, 4])) == 5
    assert num_classes_of(Pairs([]), torch.rand(2, 7)) == 7
    assert num_classes_of(Pairs([]), None) is None


def test_the_fingerprint_of_a_data_set_changes_with_pixels_order_and_labels():
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    changed = images.clone()
    changed[2, 0, 0, 0] ^= 1

    def prints(pixels, labels):
        return dataset_fingerprint(Pairs(list(zip(pixels, labels, strict=True))))

    first = prints(images, [0, 1, 2])
    assert first == prints(images.clone(), [0, 1, 2])
    others = [prints(changed, [0, 1, 2]), prints(images.flip(0), [0, 1, 2]), prints(images, [0, 1, 1]),
              prints(images[:2], [0, 1]), prints(images.float() / 255, [0, 1, 2]),
              dataset_fingerprint(Pairs(list(images)))]  # fmt: skip
    assert len({first, *others}) == 7
    assert dataset_fingerprint(Pairs([], fingerprint="mine")) == "mine"
