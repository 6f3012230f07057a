"""Shards: synthetic samples on disk.

    plan      plan.py, checks.py             samples of each shard, and the settings that determine its bytes
              manifest.py                    these settings and the finished files, as one JSON document
    write     generate.py                    check, plan, fit, fill, finish
              work.py, real_images.py, precision.py    one shard => its bytes
              folder.py, journal.py          finished and missing shards, completion of the folder
    read      dataset.py, decoder.py         the folder as a data set
              storage.py, rows.py            location of arrays in an HDF5 file, and reading of rows
    verify    verify.py                      comparison of the files with the manifest
    formats/  HDF5, WebDataset               engines/  this process, torchrun, Ray

This package may import `autoencoders` and the layers below it.
"""

from .dataset import ShardDataset
from .formats import ShardArrays
from .formats.hdf5 import encode_shard
from .formats.webdataset import encode_tar
from .generate import generate_shards
from .journal import holds_shards, read_partial
from .manifest import Manifest, ShardEntry, read_manifest
from .verify import complete_manifest, open_shard, verified, verify_shard

__all__ = [
    "Manifest",
    "ShardArrays",
    "ShardDataset",
    "ShardEntry",
    "complete_manifest",
    "encode_shard",
    "encode_tar",
    "generate_shards",
    "holds_shards",
    "open_shard",
    "read_manifest",
    "read_partial",
    "verified",
    "verify_shard",
]
