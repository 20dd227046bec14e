"""Folders as McGill-NLP publishes them, whole and broken, on tiny random weights."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from indexer.errors import ModelError
from indexer.llm2vec.encoder import load_encoder
from indexer.llm2vec.loading import load_bidirectional

sys.path.insert(0, str(Path(__file__).parent))
from tiny_decoders import make_decoder

TEXTS = ["The lighthouse was built in 1894.", "Hops.", "日本語 and 🦊"]
WEIGHTS, CONFIG, ENCODER = "adapter_model.safetensors", "adapter_config.json", "llm2vec_config.json"
Publish = Callable[..., Path]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_decoder(tmp_path / "base", "llama")


@pytest.fixture
def publish(tmp_path: Path, base: Path) -> Publish:
    """Write a random adapter; `names` is what it says it stands on, `says` its llm2vec_config.json."""

    def write(name: str, names: str | Path = "", says: dict[str, Any] | None = None, **lora: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        folder = tmp_path / name
        settings: dict[str, Any] = {"r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "v_proj", "down_proj"]}
        model = get_peft_model(load_bidirectional(base), LoraConfig(**settings | lora))
        torch.manual_seed(len(name))
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_" in key:
                    parameter.normal_(std=0.2)
        model.save_pretrained(folder)
        amend(folder, CONFIG, base_model_name_or_path=str(names or base))
        if says is not None:
            (folder / ENCODER).write_text(json.dumps(says))
        return folder

    return write


def amend(folder: Path, file: str, **changes: Any) -> None:
    path = folder / file
    said = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(said | changes))


def vectors(model: str | Path, adapters: Any = None, **settings: Any) -> np.ndarray:
    return load_encoder(model, adapters, dtype="float32", **settings).encode(TEXTS, "Find it:")


def test_an_adapter_as_the_model_brings_what_it_stands_on(base: Path, publish: Publish) -> None:
    mntp = publish("mntp", base)
    supervised = publish("supervised", "../mntp")
    expected = vectors(base, [mntp, supervised])
    np.testing.assert_array_equal(vectors(supervised), expected)
    np.testing.assert_array_equal(vectors(mntp, supervised), expected)
    np.testing.assert_array_equal(vectors(str(mntp), [str(supervised)]), expected)
    for other in (vectors(base), vectors(base, mntp), vectors(base, supervised)):
        assert (other * expected).sum(axis=1).max() < 0.999


def test_adapters_that_name_each_other_are_refused(publish: Publish) -> None:
    one = publish("one", "../other")
    publish("other", "../one")
    with pytest.raises(ModelError, match="names itself as its base"):
        load_encoder(one, None)
    amend(one, CONFIG, base_model_name_or_path=None)
    with pytest.raises(ModelError, match="does not say what it stands on"):
        load_encoder(one, None)


def test_the_folder_says_how_to_pool_and_the_caller_may_overrule_it(base: Path, publish: Publish) -> None:
    mntp = publish("mntp", says={"pooling_mode": "mean"})
    supervised = publish("supervised", "../mntp", says={"pooling_mode": "weighted_mean", "max_length": 512})
    weighted = vectors(base, [mntp, supervised], pooling="weighted_mean")
    np.testing.assert_array_equal(vectors(base, [mntp, supervised]), weighted)
    plain = vectors(base, [mntp, supervised], pooling="mean")
    assert (plain * weighted).sum(axis=1).max() < 0.9999
    (mntp / ENCODER).unlink(), (supervised / ENCODER).unlink()
    np.testing.assert_array_equal(vectors(base, [mntp, supervised]), plain)  # mean where nothing is said


def test_an_instruction_is_pooled_where_the_folder_says_so(base: Path, publish: Publish) -> None:
    adapter = publish("mntp", says={"skip_instruction": False})
    encoder = load_encoder(base, adapter, dtype="float32")
    led = encoder.encode(["river"], "Find it:")
    np.testing.assert_allclose(led, encoder.encode(["Find it: river"]), atol=1e-6)
    amend(adapter, ENCODER, skip_instruction=True)
    skipped = load_encoder(base, adapter, dtype="float32")
    assert (skipped.encode(["river"], "Find it:") * led).sum() < 0.9999
    assert skipped.fingerprint != encoder.fingerprint


def test_the_base_that_config_json_names_decides_the_chat_marks(base: Path, publish: Publish) -> None:
    adapter = publish("mntp")
    bare = load_encoder(base, adapter, dtype="float32")
    amend(adapter, "config.json", _name_or_path="meta-llama/Llama-2-7b-chat-hf", auto_map={"AutoModel": "custom.Model"})
    (adapter / "custom.py").write_text("raise AssertionError('imported')")
    framed = load_encoder(base, adapter, dtype="float32")
    # The mark before is seen and not pooled, like an instruction; the one behind belongs to the text.
    by_hand = bare.encode(["a river [/INST]"], "[INST]")
    np.testing.assert_allclose(framed.encode(["a river \n"]), by_hand, atol=1e-6)
    assert (bare.encode(["a river"]) * by_hand).sum() < 0.9999
    assert framed.max_tokens == bare.max_tokens - len("[INST]  [/INST]")
    assert framed.fingerprint != bare.fingerprint


def break_it(folder: Path, how: str) -> None:
    match how:
        case "no weights":
            (folder / WEIGHTS).unlink()
        case "torn weights":
            (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:99])
        case "torn adapter config":
            (folder / CONFIG).write_text('{"r": 4,')
        case "torn encoder config":
            (folder / ENCODER).write_text('{"pooling_mode": "me')
        case "torn model config":
            (folder / "config.json").write_text("{")
        case "list for encoder config":
            (folder / ENCODER).write_text('["mean"]')
        case "unknown pooling":
            amend(folder, ENCODER, pooling_mode="median")
        case "odd pooling":
            amend(folder, ENCODER, pooling_mode=["mean"])
        case "no rank":
            amend(folder, CONFIG, r=0)
        case "no alpha":
            amend(folder, CONFIG, lora_alpha=None)
        case "unknown kind":
            amend(folder, CONFIG, peft_type="HOMEMADE")
        case "half of another kind":
            amend(folder, CONFIG, use_dora=True)  # whose magnitudes are not there
        case "wrong shapes":
            weights = load_file(folder / WEIGHTS)
            save_file({key: value.repeat(2, 1) for key, value in weights.items()}, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("no weights", WEIGHTS),
        ("torn weights", WEIGHTS),
        ("torn adapter config", CONFIG),
        ("torn encoder config", ENCODER),
        ("torn model config", r"config\.json"),
        ("list for encoder config", ENCODER),
        ("unknown pooling", rf"{ENCODER} .*'median'"),
        ("odd pooling", ENCODER),
        ("no rank", "does not fit"),
        ("no alpha", "does not fit"),
        ("unknown kind", "HOMEMADE"),
        ("half of another kind", "magnitude"),
        ("wrong shapes", "does not fit"),
    ],
)
def test_a_broken_adapter_is_refused_by_name(base: Path, publish: Publish, how: str, named: str) -> None:
    adapter = publish("broken")
    break_it(adapter, how)
    with pytest.raises(ModelError, match=named) as caught:
        load_encoder(base, adapter)
    assert str(adapter) in caught.value.message and caught.value.remedy


@pytest.mark.parametrize("size", [{"hidden_size": 64}, {"intermediate_size": 64}, {"num_hidden_layers": 1}])
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, publish: Publish, size: dict[str, int]) -> None:
    adapter = publish("adapter")
    with pytest.raises(ModelError, match="adapter does not fit the model"):
        load_encoder(make_decoder(tmp_path / "other", "llama", **size), adapter)


def break_base(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    match how:
        case "no weights":
            weights.unlink()
        case "torn weights":
            weights.write_bytes(weights.read_bytes()[:3000])
        case "a layer lost":
            kept = {key: value for key, value in load_file(weights).items() if "layers.1." not in key}
            save_file(kept, weights, metadata={"format": "pt"})
        case "another size":
            amend(folder, "config.json", intermediate_size=64)
        case "torn config":
            (folder / "config.json").write_text("{")
        case "odd config":
            amend(folder, "config.json", num_attention_heads="many")
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("no weights", "model.safetensors"),
        ("torn weights", "Cannot load"),
        ("a layer lost", r"layers\.1\.input_layernorm\.weight, .* and 6 more are missing"),
        ("another size", r"layers\.0\.mlp\.down_proj\.weight.*another size"),
        ("torn config", "config.json"),
        ("odd config", "num_attention_heads"),
        ("no tokenizer", "tokenizer.json"),
    ],
)
def test_a_broken_base_is_refused_by_name(base: Path, how: str, named: str) -> None:
    break_base(base, how)
    with pytest.raises(ModelError, match=f"(?s){named}") as caught:
        load_encoder(base, None)
    assert str(base) in caught.value.message and caught.value.remedy


def test_weights_that_an_encoder_has_no_use_for_are_not_reported(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_encoder(base, None)  # its language-model head
    assert caplog.messages == []


@pytest.mark.parametrize("as_model", [True, False])
def test_a_hub_name_without_a_network_says_what_to_do(
    base: Path, as_model: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    name = "McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp"
    with pytest.raises(ModelError, match=f"{name} is no folder") as caught:
        load_encoder(*(name, None) if as_model else (base, name))
    assert "HF_HUB_OFFLINE=0" in caught.value.remedy and "local folder" in caught.value.remedy


def test_a_path_that_is_not_there_is_no_hub_name(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        load_encoder(base, tmp_path / "nowhere")
