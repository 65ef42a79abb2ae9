"""The composition root: from what a person asks for to a running study and its results.

`plan` checks a request as far as that is cheap (no torch in the kernel) and
makes a `StudySpec`, with every fault reported at once; `launch` stores it,
starts a worker and returns a `StudyHandle`; `attach` finds a study again from
any kernel. `AutoTuner` is the same in plain Python and `Results` what comes
out. Magics use this room and nothing below it, so both doors lead to the same
house. Everything here raises from the one tree in `autoglm_nb.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.session.estimate import dry_run
    from autoglm_nb.session.handle import StudyHandle, attach, launch, studies
    from autoglm_nb.session.openautoglm import OpenAutoGLM
    from autoglm_nb.session.planning import Plan, plan
    from autoglm_nb.session.results import Results
    from autoglm_nb.session.teamwork import open_shared, share
    from autoglm_nb.session.tuner import AutoTuner

__all__ = [
    "AutoTuner",
    "OpenAutoGLM",
    "Plan",
    "Results",
    "StudyHandle",
    "attach",
    "dry_run",
    "launch",
    "open_shared",
    "plan",
    "share",
    "studies",
]

_LAZY = {
    "AutoTuner": "tuner",
    "OpenAutoGLM": "openautoglm",
    "Plan": "planning",
    "Results": "results",
    "StudyHandle": "handle",
    "attach": "handle",
    "dry_run": "estimate",
    "launch": "handle",
    "open_shared": "teamwork",
    "plan": "planning",
    "share": "teamwork",
    "studies": "handle",
}

__getattr__ = front_door(__name__, _LAZY)
