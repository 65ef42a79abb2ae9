"""Environment variables and defaults: read at the time of asking, never written."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb import settings
from autoglm_nb.errors import UsageError


def test_home_is_what_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`AUTOGLM_HOME` wins over the notebook's folder, and `~` is understood."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AUTOGLM_HOME", "~/studies")
    assert settings.home("/somewhere/else") == tmp_path.resolve() / "studies"


def test_home_is_beside_the_notebook_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the variable: `.autoglm` in the notebook's folder, or in the current one."""
    monkeypatch.delenv("AUTOGLM_HOME")
    monkeypatch.chdir(tmp_path)
    assert settings.home(tmp_path / "notebooks") == tmp_path.resolve() / "notebooks" / ".autoglm"
    assert settings.home() == tmp_path.resolve() / ".autoglm"


def test_asking_for_a_folder_does_not_make_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`%autotune list` beside a notebook without studies must leave no trace."""
    monkeypatch.setenv("AUTOGLM_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path / "c"))
    settings.home(), settings.cache_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_cache_follows_its_variable_then_xdg_then_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The order that other tools have."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AUTOGLM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert settings.cache_dir() == tmp_path / ".cache" / "autoglm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert settings.cache_dir() == tmp_path / "xdg" / "autoglm"
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path / "own"))
    assert settings.cache_dir() == (tmp_path / "own").resolve()


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_debug_is_off_for_empty_and_zero(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    """`AUTOGLM_DEBUG=0` switches off, as a shell user expects."""
    monkeypatch.setenv("AUTOGLM_DEBUG", value)
    assert settings.debug() is expected


@pytest.mark.parametrize("variable", ["AUTOGLM_OFFLINE", "HF_HUB_OFFLINE"])
def test_either_variable_forbids_the_hub(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The hub's own variable counts as well as ours."""
    monkeypatch.delenv("AUTOGLM_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert settings.offline() is False
    monkeypatch.setenv(variable, "1")
    assert settings.offline() is True


def test_numbers_have_defaults_and_are_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set after the import counts."""
    monkeypatch.delenv("AUTOGLM_HUB_PROBE", raising=False)
    monkeypatch.delenv("AUTOGLM_THREADS", raising=False)
    assert (settings.hub_probe_seconds(), settings.torch_threads()) == (2.0, None)
    monkeypatch.setenv("AUTOGLM_HUB_PROBE", "0.5")
    monkeypatch.setenv("AUTOGLM_THREADS", "3")
    assert (settings.hub_probe_seconds(), settings.torch_threads()) == (0.5, 3)


def test_the_live_view_updates_at_most_twice_a_second_and_controls_are_heard_within_half() -> None:
    """Two promises of the documentation that are only numbers here."""
    assert settings.VIEW_SECONDS >= 0.5
    assert settings.CONTROL_POLL_SECONDS <= 0.5


def test_limits_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty adapters and no quota unless told otherwise."""
    monkeypatch.delenv("AUTOGLM_KEEP_ADAPTERS", raising=False)
    monkeypatch.delenv("AUTOGLM_DISK_QUOTA_GB", raising=False)
    assert (settings.keep_adapters(), settings.disk_quota_bytes()) == (20, None)
    monkeypatch.setenv("AUTOGLM_KEEP_ADAPTERS", "all")
    monkeypatch.setenv("AUTOGLM_DISK_QUOTA_GB", "1.5")
    assert (settings.keep_adapters(), settings.disk_quota_bytes()) == (None, 1_500_000_000)


def test_who_signs_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting, else the hub's name, else nobody; never the account."""
    monkeypatch.delenv("AUTOGLM_AUTHOR", raising=False)
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert settings.author() == ""
    monkeypatch.setenv("JUPYTERHUB_USER", "mei")
    assert settings.author() == "mei"
    monkeypatch.setenv("AUTOGLM_AUTHOR", "Mei Lin")
    assert settings.author() == "Mei Lin"


def test_where_tensorboards_files_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside the studies unless told otherwise; `~` is understood."""
    monkeypatch.delenv("AUTOGLM_TENSORBOARD_DIR", raising=False)
    assert settings.tensorboard_dir() is None
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AUTOGLM_TENSORBOARD_DIR", " ~/boards ")
    assert settings.tensorboard_dir() == tmp_path / "boards"


@pytest.mark.parametrize(
    ("cwd", "path", "shown"),
    [
        ("/h/mei/work", "/h/mei/work/.autoglm/studies.db", ".autoglm/studies.db"),
        ("/h/mei/work", "/h/mei/work", "."),
        ("/h/mei/work", "/h/mei/other/.autoglm", "~/other/.autoglm"),
        ("/h/mei/work", "/h/mei", "~"),
        ("/h/mei", "/h/mei/other/.autoglm", "other/.autoglm"),
        ("/h", "/h/mei/other/.autoglm", "~/other/.autoglm"),  # from here it would begin with the account
        ("/h/mei/work", "/h/meister/.autoglm", "…/.autoglm"),
        ("/h/mei/work", "/data/mei/.autoglm", "…/.autoglm"),
        ("/h/mei/work", "/h/mei/work/../x y/.autoglm", "~/x y/.autoglm"),
    ],
)
def test_a_sentence_shows_no_folder_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cwd: str, path: str, shown: str
) -> None:
    """From the working folder, else from the home folder, else the last part alone."""
    (tmp_path / "h/mei/work").mkdir(parents=True)
    monkeypatch.setenv("HOME", f"{tmp_path}/h/mei")
    monkeypatch.chdir(f"{tmp_path}{cwd}")
    assert settings.shown_path(f"{tmp_path}{path}") == shown


def test_links_and_removed_folders_do_not_bring_the_path_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder reached through a link is the same folder; one that was removed is none."""
    (tmp_path / "real/.autoglm").mkdir(parents=True)
    (tmp_path / "gone").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path / "real")
    assert settings.shown_path(tmp_path / "link" / ".autoglm") == ".autoglm"
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert settings.shown_path("rows/data.csv") == "…/data.csv"
    assert settings.shown_path(tmp_path / "real" / ".autoglm") == "…/.autoglm"


def test_from_the_root_nothing_is_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path below the root is the whole path."""
    monkeypatch.setenv("HOME", "/nobody/here")
    monkeypatch.chdir("/")
    assert settings.shown_path("/data/mei/.autoglm") == "…/.autoglm"


WRONG = {
    "AUTOGLM_CHECKPOINT_SECONDS": "soon", "AUTOGLM_HUB_PROBE": "-1", "AUTOGLM_CPU_PATH": "products,atention",
    "AUTOGLM_CPU_PRODUCTS": "foo", "AUTOGLM_PREFIX_MB": "nan", "AUTOGLM_THREADS": "0", "AUTOGLM_KEEP_ADAPTERS": "some",
    "AUTOGLM_DISK_QUOTA_GB": "inf", "AUTOGLM_KERNELS": "tritn",
}  # fmt: skip


def test_what_cannot_be_read_is_told_of_every_variable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law, evidence and remedy of each; unset or empty, none has a fault."""
    for variable in WRONG:
        monkeypatch.setenv(variable, "")
    assert settings.faults() == []
    for variable, value in WRONG.items():
        monkeypatch.setenv(variable, value)
    found = settings.faults()
    assert len(found) == len(WRONG)
    for variable, value in WRONG.items():
        (sentence,) = [s for s in found if s.startswith(f"`{variable}` must be")]
        assert repr(value.split(",")[-1]) in sentence and sentence.endswith("Correct it, or unset it.")
    with pytest.raises(UsageError, match="AUTOGLM_THREADS"):
        settings.torch_threads()


def test_words_of_the_cpu_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """All, none, or some; the products are those that training knows."""
    from autoglm_nb.training import products

    assert tuple(products.PRODUCTS) == settings.CPU_PRODUCTS
    for given, wanted in (
        ("all", set(settings.CPU_MEASURES)),
        ("none", set()),
        ("prefix, products", {"prefix", "products"}),
    ):
        monkeypatch.setenv("AUTOGLM_CPU_PATH", given)
        assert settings.cpu_path() == wanted
