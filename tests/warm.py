"""Imported by the server of `forked`: what a worker imports and builds before its first step, done once.

Nothing is computed with more than one thread here, since a pool of threads does not survive a fork.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from pathlib import Path

import optuna
import peft  # noqa: F401 - for its time
import torch

from autoglm_nb import data, models, search, training, tuning
from tests import tiny

torch.set_num_threads(1)
for _room in (data, models, search, training, tuning):
    for _module in pkgutil.iter_modules(_room.__path__, f"{_room.__name__}."):
        importlib.import_module(_module.name)
optuna.storages.RDBStorage("sqlite://")
with tempfile.TemporaryDirectory() as _folder:
    _model = models.resolve(str(tiny.tiny_encoder(Path(_folder))))
    models.load_base(_model, task="classification", label_names=["negative", "positive"])
