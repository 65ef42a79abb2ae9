"""Search spaces: dimensions, conditions, the cell language, and the default spaces.

A space comes in as cell text (`parse_cell`), as JSON (`Space.from_json`) or as
the default for a task (`default_space`), and is plain immutable data from then
on: it can be stored, compared, drawn, walked in the order of decision and
written back as cell text. Nothing of the cell is ever executed, and only the
standard library is imported.

Every fault is a `SpaceError` that lists all the faults of the request at once,
those of a cell with their lines. A configuration is a flat dictionary from
hyper-parameter to value; `Space.validate` is the gate it passes before use.
"""

from autoglm_nb.space.cell import parse_cell
from autoglm_nb.space.conditions import And, Compare, Condition, Or
from autoglm_nb.space.defaults import SOURCES, default_config, default_space
from autoglm_nb.space.dimensions import Constant, Dimension, Parameter
from autoglm_nb.space.grid import GRID_LEVELS, Grid
from autoglm_nb.space.hyperparameters import (
    HYPERPARAMETERS,
    METHODS,
    OPTIMIZERS,
    SCHEDULES,
    Hyperparameter,
    config_faults,
)
from autoglm_nb.space.space import Row, Space

__all__ = [
    "GRID_LEVELS",
    "HYPERPARAMETERS",
    "METHODS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SOURCES",
    "And",
    "Compare",
    "Condition",
    "Constant",
    "Dimension",
    "Grid",
    "Hyperparameter",
    "Or",
    "Parameter",
    "Row",
    "Space",
    "config_faults",
    "default_config",
    "default_space",
    "parse_cell",
]
