"""Teaches a model of Llama's form to work with ReLU gates of which few fire, as a LoRA adapter for PEFT.

    python relufy.py BASE OUT --text FILE... [--target 0.9] [--minutes 10]

The model with adapters and ReLU learns from itself without them: its predictions (KL divergence), and its
hidden states. A penalty on the mean of each layer's gates makes few of them fire; a controller per layer
sets its weight, so that the share of zeros follows a schedule up to the target. README.md says more.
"""

import argparse
import json
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from base import begin_of_text, install_gates, load_base, load_tokenizer, read_documents, with_silu
from nll import nll

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FFN = ("gate_proj", "up_proj", "down_proj")
NORMS = {"input_layernorm", "post_attention_layernorm", "norm", "q_norm", "k_norm"}

# The controller: the logarithms of penalties' weights move by GAIN times the error of the share of zeros,
# at each step by at most LEAST_STEP or, in short trainings, by WHOLE_WAY times the part of it that a step is;
# down faster than up, since a gate that is always 0 no longer learns. Above the RANGE the penalty would
# outweigh everything else.
GAIN, LEAST_STEP, WHOLE_WAY, DOWN = 1.5, 0.05, 6.0, 3.0
START, RANGE = 1e-2, (1e-5, 0.3)
# The share of zeros reaches the target after this part of the time; the rest is for recovering the loss.
RAMP = (0.05, 0.65)
SMOOTHING = (0.5, 0.9)  # of what the controller sees: in short trainings less


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="Hugging Face directory, or GGUF file")
    parser.add_argument("out", help="directory of the adapter")
    parser.add_argument("--text", nargs="+", required=True, help="training text files")
    parser.add_argument("--held-out", nargs="+", help="text files for evaluation; default: the last 5%% of the text")
    parser.add_argument("--tokenizer", help="directory of the tokenizer; default: the base")
    parser.add_argument("--target", type=float, default=0.9, help="target share of gates that are 0")
    parser.add_argument("--minutes", type=float, default=10, help="time for training")
    parser.add_argument("--steps", type=int, help="train this many steps instead, with a reproducible result")
    parser.add_argument("--rank-ffn", type=int, default=64)
    parser.add_argument("--rank-attention", type=int, default=16)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--batch", type=int, default=8, help="sequences per step")
    parser.add_argument("--length", type=int, default=512, help="tokens per sequence")
    parser.add_argument("--hidden-weight", type=float, default=1.0, help="weight of hidden states in the loss")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    parser.add_argument("--judge-tokens", type=int, default=20_000, help="most tokens of the held-out text to evaluate")
    parser.add_argument("--save-minutes", type=float, default=5, help="minutes between saved states that training can resume from")
    parser.add_argument("--log-steps", type=int, default=10)
    return parser.parse_args()


def texts(args, tokenizer, model):
    """Training ids, and documents for evaluation."""
    bos = torch.tensor([begin_of_text(model, tokenizer)])
    documents = read_documents(tokenizer, args.text)
    if args.held_out:
        held = read_documents(tokenizer, args.held_out)
    else:
        total = sum(map(len, documents))
        kept, held = 0, []
        while len(documents) > 1 and kept < total / 20:
            held.insert(0, documents.pop())
            kept += len(held[0])
    learn = torch.cat([part for document in documents for part in (bos, document)])
    if len(learn) <= args.length or not held:
        raise SystemExit("the text is too short: give more, or smaller --length, or --held-out")
    judged, left = [], args.judge_tokens
    for document in held:
        if left > 0:
            judged.append(document[:left])
            left -= len(judged[-1])
    return learn, judged


def with_adapters(model, args):
    """LoRA on every projection and the norms as a whole, all of it in f32."""
    found = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=args.rank_ffn,
        lora_alpha=args.rank_ffn,
        target_modules=[*ATTENTION, *FFN],
        # alpha / rank is 1 everywhere.
        rank_pattern={name: args.rank_attention for name in ATTENTION},
        alpha_pattern={name: args.rank_attention for name in ATTENTION},
        modules_to_save=sorted(NORMS & found),
        base_model_name_or_path=str(args.base),
    )
    adapted = get_peft_model(model, config)
    # PEFT writes the directory of a GGUF file instead of the file.
    config.base_model_name_or_path = str(args.base)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def normed(states):
    """Hidden states as the next block sees them, whatever their size."""
    states = states.float()
    return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-6)


def divergence(head, student, teacher, chunk=1024):
    """KL divergence of the student's predictions from the teacher's, mean over tokens."""

    def part(mine, theirs):
        wanted = F.log_softmax(head(theirs).float(), -1)
        return F.kl_div(F.log_softmax(head(mine).float(), -1), wanted, log_target=True, reduction="sum")

    mine, theirs = student.flatten(0, 1), teacher.flatten(0, 1)
    # Logits of a large vocabulary are not kept but recomputed for the gradient.
    pairs = zip(mine.split(chunk), theirs.split(chunk))
    return sum(checkpoint(part, a, b, use_reentrant=False) for a, b in pairs) / len(mine)


class Controller:
    """Weights of the penalties on the gates of each layer."""

    def __init__(self, layers, target, device):
        self.target = target
        self.log_weight = torch.full((layers,), math.log(START), device=device)
        self.mean = self.zeros = self.start = None

    def penalty(self, means):
        seen = means.detach() if self.mean is None else self.mean
        return (self.log_weight.exp() * means / seen.clamp(min=1e-8)).sum()

    def observe(self, means, active, progress, part):
        """Records a step that is `part` of the training, and sets the weights for the next one."""
        if self.mean is None:
            self.mean, self.zeros, self.start = means.detach(), 1 - active, 1 - active
        keep = min(SMOOTHING[1], max(SMOOTHING[0], 1 - 5 * part))
        self.mean = torch.lerp(means.detach(), self.mean, keep)
        self.zeros = torch.lerp(1 - active, self.zeros, keep)
        ramp = min(1.0, max(0.0, (progress - RAMP[0]) / (RAMP[1] - RAMP[0])))
        wanted = self.start + (self.target - self.start).clamp(min=0) * ramp
        most = max(LEAST_STEP, WHOLE_WAY * part)
        error = GAIN * (wanted - self.zeros)
        self.log_weight += torch.where(error < 0, DOWN * error, error).clamp(-DOWN * most, most)
        self.log_weight.clamp_(*map(math.log, RANGE))

    def state(self):
        return {key: value for key, value in vars(self).items() if key != "target" and value is not None}


def save_atomically(value, path):
    torch.save(value, f"{path}.part")
    os.replace(f"{path}.part", path)


class Training:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        if args.threads:
            torch.set_num_threads(args.threads)
        dtype = torch.bfloat16 if args.dtype == "bf16" and args.device != "cpu" else torch.float32
        base = load_base(args.base, dtype, args.device)
        self.tokenizer = load_tokenizer(args.tokenizer or args.base)
        self.gates = install_gates(base)
        self.bos = begin_of_text(base, self.tokenizer)
        self.learn, self.judged = texts(args, self.tokenizer, base)
        self.model = with_adapters(base, args)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.controller = Controller(len(self.gates), args.target, args.device)
        self.random = torch.Generator().manual_seed(args.seed)
        self.step, self.seconds, self.seen = 0, 0.0, 0.0
        self.state_file = Path(args.out) / "training.pt"

    def autocast(self):
        return torch.autocast(self.args.device, torch.bfloat16) if self.args.dtype == "bf16" else nullcontext()

    def progress(self):
        if self.args.steps:
            return self.step / self.args.steps
        return self.seconds / (60 * self.args.minutes)

    def states(self, ids):
        """The states after each block, and those that the head sees."""
        out = self.model.get_base_model().model(input_ids=ids, use_cache=False, output_hidden_states=True)
        return out.hidden_states[1:-1], out.last_hidden_state

    def batch(self):
        at = torch.randint(len(self.learn) - self.args.length, (self.args.batch,), generator=self.random)
        return torch.stack([self.learn[i : i + self.args.length] for i in at.tolist()]).to(self.args.device)

    def train_step(self):
        args, progress = self.args, self.progress()
        rate = min(1.0, (self.step + 1) / 20) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimizer.param_groups:
            group["lr"] = args.lr * rate
        ids = self.batch()
        with self.autocast():
            with torch.no_grad(), with_silu(self.gates), self.model.disable_adapter():
                inner, last = self.states(ids)
            mine, mine_last = self.states(ids)
            head = self.model.get_base_model().lm_head
            kl = divergence(head, mine_last, last)
            pairs = list(zip(mine, inner))
            hidden = sum((normed(a) - normed(b)).pow(2).mean() for a, b in pairs) / max(1, len(pairs))
            means = torch.stack([gate.mean for gate in self.gates])
            loss = kl + args.hidden_weight * hidden + self.controller.penalty(means)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        active = torch.stack([gate.active for gate in self.gates])
        self.controller.observe(means, active, progress, progress - self.seen)
        self.seen = progress
        self.step += 1
        return kl.item(), hidden.item()

    def save(self):
        weights = {name: p.data for name, p in self.model.named_parameters() if p.requires_grad}
        state = {
            "weights": weights,
            "optimizer": self.optimizer.state_dict(),
            "controller": self.controller.state(),
            "random": self.random.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "seen": self.seen,
        }
        save_atomically(state, self.state_file)

    def resume(self):
        if not self.state_file.exists():
            return False
        state = torch.load(self.state_file, map_location=self.args.device, weights_only=True)
        named = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in state["weights"].items():
                named[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        vars(self.controller).update(state["controller"])
        self.random.set_state(state["random"].cpu())
        self.step, self.seconds, self.seen = state["step"], state["seconds"], state["seen"]
        return True

    def run(self):
        args = self.args
        saved = logged = self.seconds
        while self.progress() < 1:
            began = time.monotonic()
            kl, hidden = self.train_step()
            self.seconds += time.monotonic() - began
            if not math.isfinite(kl):
                raise SystemExit("the loss is no number any more: take a smaller --lr, or a later --target")
            if self.step % args.log_steps == 0:
                zeros = self.controller.zeros
                speed = args.log_steps * args.batch * args.length / (self.seconds - logged)
                logged = self.seconds
                print(
                    f"{self.seconds:.0f} s, step {self.step}: kl {kl:.3f}, hidden {hidden:.4f}, zeros "
                    f"{zeros.mean():.1%} ({zeros.min():.1%} to {zeros.max():.1%}), {speed:.0f} tokens/s",
                    flush=True,
                )
            if self.seconds - saved > 60 * args.save_minutes:
                saved = self.seconds
                self.save()

    def judge(self):
        self.model.eval()
        with self.autocast():
            return nll(self.model, self.judged, self.args.length, self.bos, self.gates)

    def judge_base(self, relu):
        with self.model.disable_adapter(), nullcontext() if relu else with_silu(self.gates):
            return self.judge()

    def write(self, report):
        """Writes the adapter, with the configuration that it requires, and the report."""
        out = Path(self.args.out)
        for parameter in self.parameters:
            parameter.data = parameter.data.half()
        self.model.save_pretrained(out)
        file = out / "adapter_config.json"
        config = json.loads(file.read_text())
        config["flashllm"] = {"hidden_act": "relu"}
        file.write_text(json.dumps(config, indent=2) + "\n")
        (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        self.state_file.unlink(missing_ok=True)



def main():
    args = arguments()
    training = Training(args)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    trainable = sum(p.numel() for p in training.parameters)
    print(f"{len(training.learn)} training tokens, {trainable / 1e6:.1f} M trainable parameters", flush=True)
    if training.resume():
        print(f"resuming at step {training.step}, after {training.seconds:.0f} s", flush=True)
    before, _ = training.judge_base(relu=False)
    at_once, active_at_once = training.judge_base(relu=True)
    share = sum(active_at_once) / len(active_at_once)
    print(f"held-out nll {before:.4f}; with ReLU before training {at_once:.4f}, {share:.1%} fire", flush=True)
    training.run()
    after, active = training.judge()
    share = sum(active) / len(active)
    print(f"held-out nll {before:.4f} -> {after:.4f}, {share:.1%} fire", flush=True)
    print("by layer: " + " ".join(f"{layer:.1%}" for layer in active), flush=True)
    training.write(
        {
            "base": str(args.base),
            "target": args.target,
            "steps": training.step,
            "seconds": round(training.seconds, 1),
            "tokens": training.step * args.batch * args.length,
            "heldOutTokens": sum(map(len, training.judged)),
            "nll": {"base": before, "reluAtOnce": at_once, "relufied": after},
            "active": active,
        }
    )
    print(f"wrote {args.out}", flush=True)


if __name__ == "__main__":
    main()
