"""One adapter of the embedded model, trained for a few steps, through every form that it is shipped in."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from export_house import METADATA, PLAN, House, needs_house
from huggingface_hub import ModelCard
from llama_cpp import Llama
from peft import PeftModel
from safetensors.torch import load_file, save_file
from test_model_card import RECIPE

from stillhouse.errors import ExportError
from stillhouse.exports.card import CardSources, write_model_card
from stillhouse.exports.convert import convert_gguf, converter_folder
from stillhouse.exports.endings import SMOKE_PROMPTS, check_endings
from stillhouse.exports.gates import check_gguf
from stillhouse.exports.merge import merge_adapter
from stillhouse.exports.modelfile import write_modelfile
from stillhouse.exports.ollama import Modelfile, parse_modelfile
from stillhouse.exports.quantize import quantize_gguf, smoke
from stillhouse.llm.requests import Request
from stillhouse.llm.transformers_backend import TransformersBackend
from stillhouse.llm.weights import load_model, load_tokenizer, save_tokenizer, write_digests
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json, write_json
from stillhouse.provenance.layout import MODEL_FILES

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}

pytestmark = needs_house


@pytest.fixture(scope="module")
def prompt(house: House) -> list[int]:
    tokenizer = load_tokenizer(house.base)
    chat = [{"role": "user", "content": PLAN}]
    return tokenizer.encode(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def llama_logits(gguf: Path, ids: list[int], adapter: Path | None = None) -> torch.Tensor:
    llama = Llama(str(gguf), n_ctx=512, n_threads=1, logits_all=True, lora_path=adapter and str(adapter), verbose=False)
    llama.eval(ids)
    logits = torch.from_numpy(llama.scores[: len(ids)].copy())
    llama.close()
    return logits


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Kullback-Leibler divergence of next-token distributions, mean over positions, in nats."""
    p, q = (torch.log_softmax(x.double(), dim=-1) for x in (first, second))
    return torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum").item() / first.shape[0]


@torch.inference_mode()
def test_merged_weights_answer_like_the_adapter_on_its_base(house: House, prompt: list[int]) -> None:
    ids = torch.tensor([prompt])
    base = load_model(house.base, torch.float32)
    plain = base(ids).logits[0].clone()
    adapted = PeftModel.from_pretrained(base, str(house.adapter))(ids).logits[0]
    merged = load_model(house.folder / "merged", torch.float32)(ids).logits[0]
    assert torch.allclose(adapted, merged, atol=2e-2)
    assert distance(adapted, merged) < 1e-6 < 0.1 < distance(adapted, plain)


def test_the_f16_gguf_is_the_merged_model(house: House, prompt: list[int]) -> None:
    with torch.inference_mode():
        merged = load_model(house.folder / "merged", torch.float32)(torch.tensor([prompt])).logits[0]
    assert distance(merged, llama_logits(house.gguf("f16"), prompt)) < 0.01


def test_the_adapter_gguf_turns_the_base_into_the_merged_model(house: House, prompt: list[int]) -> None:
    base = llama_logits(house.base / "model.gguf", prompt)
    adapted = llama_logits(house.base / "model.gguf", prompt, house.gguf("adapter"))
    merged = llama_logits(house.gguf("f16"), prompt)
    assert distance(merged, adapted) < 0.05
    assert distance(merged, base) > 10 * distance(merged, adapted)


def test_what_was_learned_is_answered_in_every_form_and_ends_by_itself(house: House) -> None:
    for suffix in ("f16", "Q8_0", "Q4_K_M"):
        answer = smoke(house.gguf(suffix), [PLAN], 60)[0]
        assert answer["ended"], answer
        assert answer["answer"].startswith("Verdict"), answer
    backend = TransformersBackend(house.base, house.adapter, {"weights": ["a", "b"]})
    settings = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 60, "stop": [], "seed": 1}
    requests = [Request({}, (("user", text),), settings) for text in (PLAN, "Hello", PLAN)]
    first, _, third = backend.complete_batch(requests)
    assert first == third and first.finish_reason == "stop" and first.text.startswith("Verdict")
    assert backend.render(requests[1]).endswith("Hello<|im_end|>\n<|im_start|>assistant\n")
    assert backend.identity["dtype"] in ("float32", "bfloat16")


def test_sampling_follows_the_seed_and_stops_where_it_is_told(house: House) -> None:
    backend = TransformersBackend(house.base, None, {})
    drawn = {"temperature": 1.0, "top_p": 0.95, "max_tokens": 12, "stop": [], "seed": 1}

    def ask(**changes: object) -> str:
        return backend.complete_batch([Request({}, (("user", "Tell a story"),), {**drawn, **changes})])[0].text

    assert ask() == ask() != ask(seed=2)
    cut = backend.complete_batch([Request({}, (("user", "Count: 1, 2"),), {**drawn, "temperature": 0, "stop": ["a"]})])[
        0
    ]
    assert "a" not in cut.text and cut.finish_reason == "stop"


def test_quantised_files_are_smaller_and_keep_the_metadata(house: House) -> None:
    sizes = [house.gguf(suffix).stat().st_size for suffix in ("Q4_K_M", "Q8_0", "f16")]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    for suffix in ("f16", "Q8_0", "Q4_K_M"):
        llama = Llama(str(house.gguf(suffix)), vocab_only=True, verbose=False)
        assert {**METADATA, "general.name": "few"}.items() <= llama.metadata.items()
        llama.close()


def test_conversion_and_quantisation_give_the_same_bytes_again(house: House, tmp_path: Path) -> None:
    merge_adapter(house.base, house.adapter, tmp_path / "merged")
    convert_gguf(tmp_path / "merged", tmp_path / "again-f16.gguf", converter_folder(), "few", METADATA)
    facts = quantize_gguf(tmp_path / "again-f16.gguf", tmp_path / "again-Q8_0.gguf", "Q8_0")
    assert digest_file(tmp_path / "merged" / "model.safetensors") == digest_file(
        house.folder / "merged/model.safetensors"
    )
    assert digest_file(tmp_path / "again-f16.gguf") == digest_file(house.gguf("f16"))
    assert facts["sha256"] == digest_file(house.gguf("Q8_0"))


@pytest.fixture
def spoilable(house: House, tmp_path: Path) -> Path:
    """The merged folder without its weights, to be changed."""
    left_out = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(house.folder / "merged", tmp_path / "merged", ignore=left_out))


def test_the_gguf_passes_its_gates_and_its_modelfile_too(house: House, spoilable: Path) -> None:
    facts = check_gguf(spoilable, house.gguf("Q4_K_M"))
    assert facts["texts"] > 40 and facts["conversations"] > 60 and "<|im_end|>" in facts["ends"]
    written = write_modelfile(house.gguf("Q4_K_M"), house.folder / "Modelfile", 2048)
    assert written["smoke"]["good"] > 3 and written["stops"] == facts["ends"]  # type: ignore[index]


def test_a_template_changed_by_one_character_is_refused(house: House, spoilable: Path) -> None:
    template = spoilable / "chat_template.jinja"
    text = template.read_text()
    template.write_text(text.replace("named SmolLM", "named Smollm"))
    with pytest.raises(ExportError, match=r"the chat templates of .* lay out a conversation"):
        check_gguf(spoilable, house.gguf("f16"))


def test_a_tokenizer_with_an_added_token_is_refused(house: House, spoilable: Path) -> None:
    tokenizer = load_tokenizer(spoilable)
    tokenizer.add_tokens(["<think>"])
    save_tokenizer(tokenizer, spoilable, 2048)
    with pytest.raises(ExportError, match=r"token 49152 is '<think>' in the tokenizer and 'nothing'"):
        check_gguf(spoilable, house.gguf("f16"))


def test_other_token_ids_are_refused(house: House, spoilable: Path) -> None:
    document = read_json(spoilable / "tokenizer.json")
    document["pre_tokenizer"]["pretokenizers"] = document["pre_tokenizer"]["pretokenizers"][1:]
    write_json(spoilable / "tokenizer.json", document)
    with pytest.raises(ExportError, match=r"does not read text as .* does: token ids of"):
        check_gguf(spoilable, house.gguf("f16"))


def test_an_end_token_that_llama_cpp_does_not_know_is_refused(house: House, spoilable: Path) -> None:
    config = read_json(spoilable / "generation_config.json")
    write_json(spoilable / "generation_config.json", {**config, "eos_token_id": [config["eos_token_id"], 1234]})
    with pytest.raises(ExportError, match="token 1234 ends an answer in"):
        check_gguf(spoilable, house.gguf("f16"))


def test_the_folder_is_what_the_hub_and_ollama_take(house: House) -> None:
    folder = house.folder / "shipped"
    (folder / "merged").mkdir(parents=True)
    names = [f"few-{suffix}.gguf" for suffix in ("Q4_K_M", "f16", "adapter")]
    for name in names:
        (folder / name).hardlink_to(house.folder / name)
        write_digests(folder, [name], house.folder / "digests" / f"{name[4:-5]}.json")
    files = ("model.safetensors", *MODEL_FILES)
    for name in files:
        (folder / "merged" / name).hardlink_to(house.folder / "merged" / name)
    write_digests(folder / "merged", list(files), house.folder / "digests-merged.json")
    write_modelfile(folder / names[0], folder / "Modelfile", 2048)
    report = {"rows": 2, "splits": {"train": 2, "valid": 0, "test": 4}, "sources": [], "flow": []}
    write_json(house.folder / "report.json", report)
    digests = [house.folder / "digests" / f"{name[4:-5]}.json" for name in names]
    sources = CardSources(house.folder / "digests-merged.json", house.adapter / "digests.json")
    metrics, card = house.adapter / "metrics.jsonl", folder / "README.md"
    write_model_card({**RECIPE, "export": "few"}, digests, metrics, house.folder / "report.json", card, sources)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == sorted(["Modelfile", "README.md", *names, *(f"merged/{name}" for name in files)])
    parsed = parse_modelfile((folder / "Modelfile").read_text())
    assert parsed.source == "./few-Q4_K_M.gguf" and parsed.parameters == {"num_ctx": "2048", "temperature": "0"}
    text = ModelCard.load(card).text
    for name in found:
        if name not in ("Modelfile", "README.md"):
            assert f"| {name} | {(folder / name).stat().st_size} | {digest_file(folder / name)} |" in text


def _modelfile(house: House) -> Modelfile:
    write_modelfile(house.gguf("Q8_0"), house.folder / "Modelfile", 2048)
    return parse_modelfile((house.folder / "Modelfile").read_text())


def test_every_answer_of_the_smoke_gate_is_told(house: House) -> None:
    facts = check_endings(house.gguf("Q8_0"), _modelfile(house), 60)
    assert [one["prompt"] for one in facts["answers"]] == list(SMOKE_PROMPTS) and facts["reference"] is None
    assert facts["good"] == sum(one["ended"] and not one["empty"] for one in facts["answers"]) > 3
    assert all(0 < one["tokens"] <= 60 for one in facts["answers"])


def test_answers_that_never_end_are_refused_unless_the_full_precision_does_no_better(house: House) -> None:
    modelfile = _modelfile(house)
    with pytest.raises(
        ExportError, match=r"0 of 6 short prompts .* \(more than half are wanted\)\. 'Hello': no end in 2"
    ):
        check_endings(house.gguf("Q8_0"), modelfile, 2)
    facts = check_endings(house.gguf("Q8_0"), modelfile, 2, house.folder / "merged")
    assert facts["good"] == facts["reference"] == 0


def _without_end(folder: Path, merged: Path) -> Path:
    """The merged model as a GGUF that has lost the end token: its row of the embedding points away from it."""
    shutil.copytree(merged, folder)
    weights = load_file(folder / "model.safetensors")
    end = load_tokenizer(folder).eos_token_id
    weights["model.embed_tokens.weight"][end] *= -1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    convert_gguf(folder, folder / "lost.gguf", converter_folder(), "lost", {})
    return folder / "lost.gguf"


def test_an_export_that_has_lost_its_ends_is_refused_where_the_full_precision_ends(
    house: House, tmp_path: Path
) -> None:
    lost = _without_end(tmp_path / "lost", house.folder / "merged")
    with pytest.raises(ExportError, match=r"0 of 6 short prompts .* \([456] by the same model in full precision\)"):
        check_endings(lost, _modelfile(house), 60, house.folder / "merged")


def test_empty_answers_are_bad_ones(house: House) -> None:
    modelfile = _modelfile(house)
    always = replace(modelfile, stops=(*modelfile.stops, "V", "The", "I", "S", "A", "T", "H", "W", "Y", "B", "N", "2"))
    with pytest.raises(ExportError, match=r"short prompts .*'Hello': empty"):
        check_endings(house.gguf("Q8_0"), always, 60)


def test_there_is_no_pickle_anywhere(house: House) -> None:
    files = [path for path in house.folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix in PICKLES or path.read_bytes()[:2] == b"\x80\x04"] == []


def test_losses_fell(house: House) -> None:
    lines = (house.adapter / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert losses[-1] < 0.5 < losses[0] and not any(map(math.isnan, losses))
