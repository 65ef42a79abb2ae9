"""The live view: the card of a study made of stock ipywidgets, for every host that shows widgets.

Heights are fixed and rows are made in advance, so nothing jumps; a widget is
touched only when its piece changed, so a tick costs as many messages as there
are pieces that moved. Buttons answer at once: the request goes to the store
from a thread of its own, and the next snapshot shows what became of it.
`update` is called from the follower's thread, button callbacks from a subshell
thread or the main one; a lock keeps them apart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from IPython.display import display

from autoglm_nb.errors import AutoGLMError
from autoglm_nb.notebook import fragments
from autoglm_nb.protocol import StudyState
from autoglm_nb.record import Story, fingerprint, words

__all__ = ["ROWS", "LiveView", "answer_beside_cells"]

ROWS = 8
"""Running trials shown; more are counted in a line."""

_ROW_HEIGHT = 30
_RESUMABLE = (StudyState.PAUSED, StudyState.INTERRUPTED)


class LiveView:
    """Widgets for one study. `show` once in the main thread, `update` from anywhere, `close` at the end."""

    def __init__(self, handle: Any, snapshot: Mapping[str, Any]) -> None:
        self._handle = handle
        self._lock = threading.RLock()
        self._display: Any = None
        self._closed = False
        self._asked: str | None = None
        self._state = ""
        self._most = 1
        self._fingerprint: tuple[Any, ...] = ()
        self._build()
        self.update(snapshot)

    def show(self, place: Any = None) -> None:
        """Display below the running cell, or in a display that is there already."""
        bundle = dict(self._root._repr_mimebundle_())
        bundle["text/plain"] = f"Live view of {words.clean(self._handle.name, 80)}: it needs a front end with widgets."
        if place is None:
            self._display = display(bundle, raw=True, display_id=True)
        else:
            self._display = place
            place.update(bundle, raw=True)

    def update(self, snapshot: Mapping[str, Any]) -> None:
        """Draw a snapshot."""
        with self._lock:
            if self._closed:
                return
            story = Story(snapshot)
            if story.state != self._state:
                self._state, self._asked = story.state, None
            self._set(self._title, fragments.title(story))
            self._set(self._answer, fragments.answer(story))
            self._set(self._note, self._asked_line() or fragments.messages(snapshot))
            self._set(self._foot, fragments.resources_line(snapshot))
            self._set(self._tabs["Resources"], fragments.resources(snapshot))
            found = fingerprint(snapshot)
            if found != self._fingerprint:  # in most ticks these have not changed, and drawing them takes longest
                self._fingerprint = found
                self._set(self._curve, fragments.curve(story))
                self._set(self._tabs["Trials"], fragments.trials(story))
                self._set(self._tabs["Search space"], fragments.space(story))
                self._set(self._tabs["Notes"], fragments.notes(story))
            self._update_rows(story)
            self._update_buttons()
            titles = (*list(self._tabs)[:-1], f"Notes {len(story.notes)}" if story.notes else "Notes")
            if tuple(self._tab.titles) != titles:
                self._tab.titles = titles

    def close(self) -> None:
        """Empty the view, in the page and in the saved notebook.

        A page that was reloaded in between no longer gets the display update;
        there, closing the widget makes the front end hide its view.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._display is not None:
                self._display.update({"text/plain": ""}, raw=True)
            for widget in _all_below(self._root):
                widget.close()

    # -- building -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        box, layout = ipywidgets, ipywidgets.Layout
        self._title = box.HTML(layout=layout(flex="1 1 auto", min_width="0", height="28px", overflow="hidden"))
        self._pause = box.Button(description="Pause", layout=layout(width="84px"), tooltip="Pause or resume the study")
        self._stop = box.Button(
            description="Stop", layout=layout(width="84px"), tooltip="End the study; finished trials are kept"
        )
        self._pause.on_click(lambda _: self._pause_or_resume())
        self._stop.on_click(lambda _: self._request("Stopping", self._handle.stop))
        for button in (self._pause, self._stop):
            answer_beside_cells(button)
        self._answer = box.HTML(layout=layout(height="58px", overflow="hidden"))
        self._curve = box.HTML(layout=layout(height="262px", overflow="hidden"))
        self._note = box.HTML(layout=layout(height="26px", overflow="hidden"))
        self._rows_title = box.HTML(layout=layout(height="26px"))
        self._rows = [self._row() for _ in range(ROWS)]
        self._numbers: list[int | None] = [None] * ROWS
        self._rows_box = box.VBox(
            [holder for holder, _, _ in self._rows], layout=layout(height=f"{_ROW_HEIGHT}px", overflow="hidden")
        )
        scroll = {"height": "230px", "overflow": "auto"}
        self._tabs = {
            name: box.HTML(layout=layout(**scroll)) for name in ("Trials", "Search space", "Resources", "Notes")
        }
        self._tab = box.Tab(children=list(self._tabs.values()), titles=list(self._tabs), layout=layout(margin="6px 0"))
        self._foot = box.HTML(layout=layout(height="26px", overflow="hidden"))
        head = box.HBox([self._title, self._pause, self._stop], layout=layout(align_items="center"))
        self._root = box.VBox(
            [head, self._answer, self._curve, self._rows_title, self._rows_box, self._note, self._tab, self._foot],
            layout=layout(
                max_width="780px", padding="10px 14px", border="1px solid rgba(128,128,128,.35)", overflow="hidden"
            ),
        )

    def _row(self) -> tuple[Any, Any, Any]:
        layout = ipywidgets.Layout
        text = ipywidgets.HTML(layout=layout(flex="1 1 auto", min_width="0", overflow="hidden"))
        stop = ipywidgets.Button(
            description="Stop", layout=layout(width="58px", height="24px"), tooltip="End this trial"
        )
        holder = ipywidgets.HBox(
            [text, stop],
            layout=layout(
                visibility="hidden", align_items="center", height=f"{_ROW_HEIGHT}px", flex="0 0 auto",
                overflow="hidden",
            ),
        )  # fmt: skip
        stop.on_click(lambda _: self._stop_row(holder))
        answer_beside_cells(stop)
        return holder, text, stop

    # -- drawing --------------------------------------------------------------------------------------------

    def _set(self, widget: Any, value: str) -> None:
        if widget.value != value:
            widget.value = value

    def _update_rows(self, story: Story) -> None:
        """A trial keeps its row while it runs; the box only ever grows."""
        running = {int(t["number"]): t for t in story.running}
        for i, number in enumerate(self._numbers):
            if number is not None and number not in running:
                self._numbers[i] = None
        for number in running:
            if number not in self._numbers and None in self._numbers:
                self._numbers[self._numbers.index(None)] = number
        used = [i for i, number in enumerate(self._numbers) if number is not None]
        most = max([self._most, *(i + 1 for i in used)])
        if most != self._most:
            self._most = most
            self._rows_box.layout.height = f"{_ROW_HEIGHT * most}px"
        for (holder, text, stop), number in zip(self._rows, self._numbers):
            visibility = "hidden" if number is None else "visible"
            if number is not None:
                self._set(text, fragments.row(story, running[number]))
                label = f"End trial {number}"
                if stop.tooltip != label:
                    with stop.hold_sync():
                        stop.tooltip, stop.disabled = label, False
            if holder.layout.visibility != visibility:
                holder.layout.visibility = visibility
        more = len(running) - len(used)
        self._set(self._rows_title, fragments.rows_title(story, more))

    def _update_buttons(self) -> None:
        resumable = self._state in _RESUMABLE
        busy = self._asked is not None
        for button, description, disabled in (
            (self._pause, "Resume" if resumable else "Pause", busy),
            (self._stop, "Stop", busy),
        ):
            if (button.description, button.disabled) != (description, disabled):
                with button.hold_sync():
                    button.description, button.disabled = description, disabled

    def _asked_line(self) -> str:
        return f"<i>{words.clean(self._asked)} …</i>" if self._asked else ""

    # -- asking ---------------------------------------------------------------------------------------------

    def _pause_or_resume(self) -> None:
        if self._state in _RESUMABLE:
            self._request("Resuming", self._handle.resume)
        else:
            self._request("Pausing after the present step", self._handle.pause)

    def _stop_row(self, holder: Any) -> None:
        with self._lock:
            place = next((i for i, row in enumerate(self._rows) if row[0] is holder), None)
            number = None if place is None else self._numbers[place]
            if number is None or place is None:
                return
            self._rows[place][2].disabled = True
        self._request("", lambda: self._handle.stop_trial(number))

    def _request(self, sentence: str, ask: Callable[[], None]) -> None:
        """Say so at once, ask in a thread of its own, and say why if it could not be asked."""
        with self._lock:
            if self._closed:
                return
            if sentence:
                self._asked = sentence
                self._set(self._note, self._asked_line())
                self._update_buttons()
        threading.Thread(target=self._ask, args=(ask,), name="autoglm-request", daemon=True).start()

    def _ask(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except AutoGLMError as error:
            with self._lock:
                if not self._closed:
                    self._asked = None
                    text = {"messages": [{"level": "error", "text": str(error)}]}
                    self._set(self._note, fragments.messages(text))
                    self._update_buttons()


def answer_beside_cells(button: Any) -> None:
    """Let clicks be handled on the front end's subshell even while a cell runs.

    ipykernel 7.4 hands what a widget sends to the shell that wrote to the
    widget last: here the main one, which is busy in `%autotune wait`. That
    serves widgets that wait for a reply, which a button never does.
    """
    comm: Any = getattr(button, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default


def _all_below(root: Any) -> list[Any]:
    """`root` and every widget below it with its layout and style, each once, the root first."""
    found: dict[str, Any] = {}

    def visit(widget: Any) -> None:
        for part in (widget, getattr(widget, "layout", None), getattr(widget, "style", None)):
            if part is not None:
                found[part.model_id] = part
        for child in getattr(widget, "children", ()):
            visit(child)

    visit(root)
    return list(found.values())
