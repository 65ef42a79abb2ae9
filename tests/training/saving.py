"""A process that only saves checkpoints, to be killed at any moment."""

from __future__ import annotations

from pathlib import Path

import torch

from autoglm_nb.training import checkpoint

__all__ = ["forever"]


class _Slot:
    class plan:
        run = "t"
        fingerprint = staticmethod(lambda: "f")

    model = None

    def __init__(self) -> None:
        self.step = 0
        self.parameters = {"w": torch.nn.Parameter(torch.zeros(300_000))}
        self.optimizer = torch.optim.SGD(self.parameters.values(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer)

    def counters(self) -> dict[str, object]:
        return {"step": self.step, "rung_done": 0, "scale": None}


def forever(folder: Path, log: Path) -> None:
    """Save step after step to `folder`; a line of `log` for each save that is complete, and one before the first."""
    slot = _Slot()
    with log.open("w", encoding="utf-8") as written:
        print("ready", file=written, flush=True)
        while True:
            slot.step += 1
            with torch.no_grad():
                slot.parameters["w"].fill_(float(slot.step))
            checkpoint.save(slot, folder)  # type: ignore[arg-type]
            print(slot.step, file=written, flush=True)
