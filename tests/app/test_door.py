"""How a process ends."""

import subprocess
import sys

from app.settings import ROOT

_ENDS = """
import atexit
from app.door import leave

class Model:
    def __del__(self):
        print("taken apart")

model = Model()
model.itself = model
atexit.register(print, "told")
print("said", end=" ")
leave(3)
"""


def test_a_process_that_leaves_says_everything_and_takes_nothing_apart() -> None:
    ended = subprocess.run([sys.executable, "-c", _ENDS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "said told\n", "")
