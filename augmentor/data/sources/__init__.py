"""Data arguments: one text that says where images are. A new source is a new file here and one import line below.

digits               the 1,797 digits of 8x8 that come with scikit-learn
mnist:ROOT           torchvision's MNIST(ROOT), 28x28 grey; nothing is downloaded
cifar10:ROOT         torchvision's CIFAR10(ROOT), 32x32 RGB; nothing is downloaded
FILE.npz             arrays `images` (N,H,W), (N,H,W,C) or (N,C,H,W), `labels` (N,), `classes` (names)
h5:FILE              the same as data sets of an HDF5 file; h5:FILE#X,Y calls them X and Y, and h5:FILE#X has no labels
FOLDER               image files, or one folder of them a class; or a folder of shards

Images of arrays are uint8, uint16 or floating in [0, 1]; for others ``#value_range=LOW,HIGH`` behind the file names
the values of black and white, as in ``scans.npz#value_range=-1000,3000`` or ``h5:FILE#X,Y#value_range=0,4095``.
Paths may begin with ``~``. Where there are no labels, all images are of class 0.
"""

from ._base import SOURCES, Source, register_source
from .load import load_source, takes_size

# The first that names a text loads it: their order is that of these lines.
# isort: off
from .digits import Digits as Digits
from .torchvision_sets import TorchvisionSets as TorchvisionSets
from .hdf5_file import HDF5File as HDF5File
from .npz import NPZ as NPZ
from .shard_folder import ShardFolder as ShardFolder
from .image_folder import ImageFolder as ImageFolder

__all__ = ["SOURCES", "Source", "load_source", "register_source", "takes_size"]
