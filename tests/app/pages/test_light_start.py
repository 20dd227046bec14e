"""What the first visit has to wait for: the pages alone, and nothing that a model needs."""

import json
import subprocess
import sys
from pathlib import Path

from app.settings import ROOT

HEAVY = ("torch", "transformers", "faiss", "tantivy", "matplotlib", "pandas", "pyarrow", "scipy", "openai")
DRAW = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
sys.argv = ["main.py"]
from streamlit import config
from streamlit.testing.v1 import AppTest
config.set_option("server.address", "127.0.0.1")
from app.ui import asking, chat
chat.PLOTS_AFTER_S = asking.WARM_AFTER_S = 3600.0
page = AppTest.from_file({str(ROOT / "app" / "ui" / "main.py")!r}, default_timeout=120).run()
assert not page.exception and page.chat_input
print(json.dumps(sorted(set(name.partition(".")[0] for name in sys.modules))))
"""


def test_drawing_the_chat_imports_nothing_heavy(document_id: str, home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DRAW], cwd=home, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout.splitlines()[-1])
    assert "streamlit" in imported and not set(HEAVY) & set(imported)
