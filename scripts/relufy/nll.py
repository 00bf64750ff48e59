"""Negative log-likelihood of a text as `flashllm eval` computes it: each document in consecutive windows of
`context` - 1 tokens, each behind a BOS, every token counted.

    python nll.py BASE TEXT [--adapter DIR] [--tokenizer DIR] [--context N] [--silu]

The model is the base with the adapter merged by PEFT, and the activation that the adapter asks for.
"""

import argparse
import json
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.nn import functional as F

from base import begin_of_text, install_gates, load_base, load_tokenizer, read_documents, with_silu


@torch.no_grad()
def nll(model, documents, context, bos, gates=()):
    """Mean over all tokens, in nats, and the share of neurons that fire in each layer."""
    device = model.device
    total, tokens = 0.0, 0
    active = torch.zeros(len(gates))
    for document in documents:
        for window in document.split(context - 1):
            given = torch.cat([torch.tensor([bos]), window[:-1]]).to(device)
            logits = model(input_ids=given[None], use_cache=False).logits[0].float()
            total += F.cross_entropy(logits, window.to(device), reduction="sum").item()
            tokens += len(window)
            if gates and gates[0].relu:
                active += torch.tensor([gate.active.item() for gate in gates]) * len(window)
    return total / tokens, (active / tokens).tolist()


def main():
    parser = argparse.ArgumentParser(description="nll of a text under a base, or under base and adapter")
    parser.add_argument("base", help="Hugging Face directory, or GGUF file")
    parser.add_argument("text")
    parser.add_argument("--adapter", help="merged by PEFT; its configuration decides the activation")
    parser.add_argument("--tokenizer", help="directory of the tokenizer; default: the base")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--relu", action="store_true", help="ReLU in the gates without an adapter")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_base(args.base, torch.float32, "cpu")
    tokenizer = load_tokenizer(args.tokenizer or args.base)
    bos = begin_of_text(model, tokenizer)
    relu = args.relu
    if args.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, args.adapter).merge_and_unload()
        config = json.loads((Path(args.adapter) / "adapter_config.json").read_text())
        relu = relu or config.get("flashllm", {}).get("hidden_act") == "relu"
    gates = install_gates(model)
    documents = read_documents(tokenizer, [args.text])
    with nullcontext() if relu else with_silu(gates):
        value, active = nll(model, documents, args.context, bos, gates)
    tokens = sum(len(document) for document in documents)
    print(json.dumps({"tokens": tokens, "nll": value, "active": active if relu else None}))


if __name__ == "__main__":
    main()
