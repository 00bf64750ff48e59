"""What transformers computes in float32 from a GGUF file, for what token-windows.ts wrote: whether its greedy
ids are the same, and the negative log-likelihood per token of the windows.

    python scripts/reference-nll.py <model.gguf> <windows.json>

Needs torch, transformers and gguf.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

path, given = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
model = AutoModelForCausalLM.from_pretrained(
    path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
).eval()
total, count = 0.0, 0
with torch.no_grad():
    for ids, expected in zip(given["ids"], given["greedy"]):
        cache, new, found = None, ids, []
        for _ in expected:
            output = model(torch.tensor([new]), past_key_values=cache, use_cache=True)
            cache, new = output.past_key_values, [output.logits[0, -1].argmax().item()]
            found += new
        print("equal" if found == expected else f"differs: {found} {expected}", flush=True)
    for ids in given["windows"]:
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
        chosen = torch.log_softmax(logits, -1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        total -= chosen.double().sum().item()
        count += len(ids) - 1
print(f"nll {total / count:.6f} of {count} tokens")
