"""What leaves the room: fragment, page, JSON, figures, the child process."""

from __future__ import annotations

import getpass
import html.parser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoglm_nb.errors import UsageError
from autoglm_nb.explain import Explanation, explain, report
from autoglm_nb.explain.page import write_report
from autoglm_nb.explain.privacy import private
from tests.explain.studies import Made, make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("someone") / ".autoglm"
    source = str(home.parent / "secret folder" / "reviews.csv")
    made = make(home, 16, source=source)
    made.store.set_provenance("reviews", {"data": {"path": source}, "note": f"{Path.home()}/models/minilm"})
    made.store.add_note(
        "reviews", f"see {home.parent}/plots/a.png and https://example.org/a/b", author=getpass.getuser()
    )
    return made


@pytest.fixture(scope="module")
def page(made: Made) -> Explanation:
    return explain(made.home, "reviews")


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("img", "br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(text)
    assert parser.open == []
    return parser.seen


def test_the_fragment_uses_only_what_an_untrusted_notebook_keeps(page: Explanation) -> None:
    """Plain elements, pictures as data URIs with a description, no style, class, id or handler."""
    tags = _tags(page.html)
    assert {t for t, _ in tags} <= {
        "div",
        "h2",
        "h3",
        "small",
        "ul",
        "li",
        "p",
        "img",
        "br",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "pre",
        "code",
    }
    assert {a for _, attributes in tags for a in attributes} <= {"src", "alt", "width", "align", "scope"}
    pictures = [a for t, a in tags if t == "img"]
    assert len(pictures) == len(page.pictures) >= 5
    assert all((a["src"] or "").startswith("data:image/png;base64,") and len(a["alt"] or "") > 20 for a in pictures)
    assert len(page.html) < 900_000


def test_the_report_is_one_self_contained_private_page(made: Made, page: Explanation, tmp_path: Path) -> None:
    """No script, nothing from outside, no absolute path, no account name; light, dark and print."""
    path = write_report(page, tmp_path / "r.html")
    text = path.read_text(encoding="utf-8")
    tags = _tags(re.sub(r"<!doctype html>|<style>.*?</style>", "", text, flags=re.S))
    assert not {t for t, _ in tags} & {"script", "link", "iframe", "object", "svg", "form"}
    assert all((a.get("src") or "data:").startswith("data:") for _, a in tags) and "url(" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text and "default-src 'none'" in text
    without_pictures = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    for secret in (str(made.home), str(made.home.parent), str(Path.home()), "secret folder"):
        assert secret not in without_pictures
    assert "reviews.csv" in without_pictures and "https://example.org/a/b" in without_pictures
    assert f">{getpass.getuser()}<" not in without_pictures
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_a_path_that_ends_in_json_gets_the_numbers(made: Made, tmp_path: Path) -> None:
    """Valid JSON with sentences, tables and the figures behind them."""
    path = report(made.home, "reviews", tmp_path / "r.JSON", ("stopping",))
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert raw["version"] == 1 and raw["study"] == "reviews"
    answer = raw["sections"][0]
    assert answer["key"] == "answer" and isinstance(answer["facts"]["best_value"], float)
    assert all(s["text"] for section in raw["sections"] for s in section["sentences"])
    assert str(made.home) not in json.dumps(raw)


def test_a_report_into_a_missing_folder_is_a_sentence(made: Made, tmp_path: Path) -> None:
    """The folder is not made up."""
    with pytest.raises(UsageError, match="Create the folder first"):
        report(made.home, "reviews", tmp_path / "none" / "r.html")
    with pytest.raises(UsageError, match="is a folder"):
        report(made.home, "reviews", tmp_path)


@pytest.mark.slow
def test_figures_are_saved_in_three_formats_without_traces(page: Explanation, tmp_path: Path) -> None:
    """Real SVG, PNG and PDF files, the same bytes each time, no date and no path inside."""
    paths = page.save_figures(tmp_path / "figures")
    assert len(paths) == 3 * len(page.pictures)
    heads = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(p.read_bytes().startswith(heads[p.suffix]) for p in paths)
    again = {p.name: p.read_bytes() for p in page.save_figures(tmp_path / "again", ("svg", "png"))}
    assert all(p.read_bytes() == again[p.name] for p in paths if p.suffix != ".pdf")
    assert not any(b"CreationDate" in p.read_bytes() or b"/home/" in p.read_bytes() for p in paths)
    with pytest.raises(UsageError, match="svg, png or pdf"):
        page.save_figures(tmp_path, ("gif",))


def test_drawing_leaves_no_global_figure(page: Explanation) -> None:
    """pyplot keeps figures alive and is not thread-safe; it is never touched."""
    code = (
        "import sys\nfrom autoglm_nb.explain.figures import style\nf, a = style.canvas()\n"
        "style.Picture('x', 'x', 'x', f).png\nassert 'matplotlib.pyplot' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    assert page.pictures


def test_figures_read_on_their_own_ground(page: Explanation) -> None:
    """The corner of each PNG is the near-white ground, so a dark page does not swallow the ink."""
    import io

    from PIL import Image

    for picture in page.pictures:
        red, green, blue = Image.open(io.BytesIO(picture.png)).convert("RGB").getpixel((2, 2))  # type: ignore[misc]
        assert min(red, green, blue) > 245


def test_the_mime_bundle_has_html_and_text(page: Explanation) -> None:
    """What a notebook stores; the text alone tells the story."""
    bundle = page._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"].startswith("reviews · minilm") and "1. The answer" in bundle["text/plain"]
    assert max(map(len, bundle["text/plain"].splitlines())) < 260


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "autoglm_nb.explain", *arguments], capture_output=True, text=True)


def test_the_child_process_writes_the_bundle(made: Made, tmp_path: Path) -> None:
    """What the notebook runs; it prints nothing when it writes files."""
    out, page = tmp_path / "bundle.json", tmp_path / "r.html"
    done = _run(
        "--home",
        str(made.home),
        "--study",
        "reviews",
        "--what",
        "stopping,convergence",
        "--out",
        str(out),
        "--html",
        str(page),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    bundle = json.loads(out.read_text(encoding="utf-8"))
    assert set(bundle) == {"text/html", "text/plain"} and "Early stops" in bundle["text/plain"]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--study", "nope"), "No study is named 'nope'."),
        (("--study", "reviews", "--what", "transfer"), "Transfer between domains is not part of this version."),
        (("--study", "reviews", "--what", "stopping", "--trial", "99"), "has no trial 99. It has trials 0 to 15."),
    ],
)
def test_an_error_of_the_child_is_a_sentence_and_exit_code_2(
    made: Made, arguments: tuple[str, ...], sentence: str
) -> None:
    """No traceback reaches the notebook."""
    done = _run("--home", str(made.home), *arguments)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/jo/data/reviews.csv", "reviews.csv"),
        ("--data '/home/jo doe/my data/reviews.csv' --target y", "--data 'reviews.csv' --target y"),
        ("~/data/x.csv and ~jo/y.csv", "x.csv and y.csv"),
        (r"C:\Users\jo\x.csv", "x.csv"),
        ("file:///home/jo/x.csv", "x.csv"),
        (
            "sentiment-domains/movies, a/b, 3 / 4, https://example.org/a/b",
            "sentiment-domains/movies, a/b, 3 / 4, https://example.org/a/b",
        ),
        ("x = a / b / c", "x = a / b / c"),
        ("/home/jo doe/my data/reviews.csv", "reviews.csv"),
        ("open failed: /home/jo/x.csv (errno 2)", "open failed: x.csv (errno 2)"),
        ("/home/jo/x.csv is missing, see https://example.org/a", "x.csv is missing, see https://example.org/a"),
    ],
)
def test_paths_keep_their_last_part_only(given: str, kept: str) -> None:
    """Absolute paths name people and machines; relative names and addresses on the web do not."""
    assert private(given) == kept


def test_importing_the_room_is_light() -> None:
    """Neither the room nor its document loads matplotlib, scikit-learn, Optuna, pandas or torch."""
    code = (
        "import sys, autoglm_nb.explain, autoglm_nb.surrogates, autoglm_nb.explain.document\n"
        "heavy = {'matplotlib', 'sklearn', 'optuna', 'pandas', 'torch', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
