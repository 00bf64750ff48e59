"""The model that is to be made sparse: loaded from a Hugging Face directory or a GGUF file, its gates replaced."""

import re
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def load_base(path, dtype, device):
    """The model at `path`, with frozen weights in `dtype`."""
    path = Path(path)
    where = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
    model = AutoModelForCausalLM.from_pretrained(where[0], dtype=dtype, **where[1])
    config = model.config
    if config.model_type not in FAMILIES:
        raise SystemExit(f"{path}: model_type {config.model_type} has not the form of Llama; known: {', '.join(FAMILIES)}")
    if config.hidden_act not in ("silu", "swish"):
        raise SystemExit(f"{path}: its gates are {config.hidden_act}, not SiLU")
    return model.requires_grad_(False).eval().to(device)


def load_tokenizer(path):
    """The tokenizer in a directory: of a checkpoint, or of a model that flashllm converted."""
    if Path(path).suffix == ".gguf":
        raise SystemExit(f"{path}: give the tokenizer of a GGUF with --tokenizer <directory>")
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError):
        return PreTrainedTokenizerFast(tokenizer_file=str(Path(path) / "tokenizer.json"))


def read_documents(tokenizer, files):
    """The ids of each document in text files; lines that contain only <|endoftext|> separate documents."""
    documents = []
    for file in files:
        text = Path(file).read_text(encoding="utf-8")
        for document in re.split(r"^<\|endoftext\|>$", text, flags=re.MULTILINE):
            if document := document.strip("\r\n"):
                ids = tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
                documents.append(torch.tensor(ids, dtype=torch.long))
    return documents


def begin_of_text(model, tokenizer):
    """The token that a text begins with: BOS, or EOS if there is no BOS."""
    for token in (model.config.bos_token_id, tokenizer.bos_token_id, model.config.eos_token_id):
        if token is not None:
            return token[0] if isinstance(token, list) else token
    raise SystemExit("the model has neither BOS nor EOS")


class Gate(nn.Module):
    """The activation of one gated FFN: SiLU for the original model, ReLU for the model being trained."""

    def __init__(self):
        super().__init__()
        self.relu = True
        self.mean = None  # of the activations, through which gradients flow
        self.active = None  # the share of neurons that fire

    def forward(self, gate):
        if not self.relu:
            return nn.functional.silu(gate)
        out = nn.functional.relu(gate)
        self.mean = out.float().mean()
        self.active = (out.detach() > 0).float().mean()
        return out


def install_gates(model):
    """Puts a Gate into every FFN; the gates, one per layer."""
    gates = []
    for layer in model.model.layers:
        layer.mlp.act_fn = Gate()
        gates.append(layer.mlp.act_fn)
    return gates


@contextmanager
def with_silu(gates):
    """A context within which gates have their original activation."""
    for gate in gates:
        gate.relu = False
    try:
        yield
    finally:
        for gate in gates:
            gate.relu = True
