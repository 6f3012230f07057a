"""Data sources: a data argument is a string that names images. A new source is a new file and an import line below.

digits               the 1,797 digits of 8x8 pixels of scikit-learn
mnist:ROOT           torchvision's MNIST(ROOT), 28x28 grey; nothing is downloaded
cifar10:ROOT         torchvision's CIFAR10(ROOT), 32x32 RGB; nothing is downloaded
FILE.npz             arrays `images` (N,H,W), (N,H,W,C) or (N,C,H,W), `labels` (N,), `classes` (names)
h5:FILE              data sets `images` and `labels` of an HDF5 file; h5:FILE#X,Y: named X and Y; h5:FILE#X: no labels
FOLDER               image files; or one folder of image files per class; or a folder of shards

Images in arrays are uint8, uint16 or floats in [0, 1]. For other values, append the values of black and white,
``#value_range=LOW,HIGH``: ``scans.npz#value_range=-1000,3000`` or ``h5:FILE#X,Y#value_range=0,4095``.
Paths may begin with ``~``. Without labels, all images are of class 0.
"""

from ._base import SOURCES, Source, register_source
from .load import load_source, takes_size

# Sources are tried in the order of these lines.
# isort: off
from .digits import Digits as Digits
from .torchvision_sets import TorchvisionSets as TorchvisionSets
from .hdf5_file import HDF5File as HDF5File
from .npz import NPZ as NPZ
from .shard_folder import ShardFolder as ShardFolder
from .image_folder import ImageFolder as ImageFolder

__all__ = ["SOURCES", "Source", "load_source", "register_source", "takes_size"]
