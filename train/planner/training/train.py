"""Train the toy planner: a small model of the Qwen3 architecture with its own tokenizer, on a synthetic grammar.

    python -m waldo.train.planner.training OUT             # Ctrl-C saves the state, the same command resumes
    python -m waldo.train.planner.training.measure OUT     # the fraction of plans that are exactly right

The model starts from random weights: it contains no Qwen weights. Its architecture is that of Qwen3 so that the same
code runs this model and any Qwen. The shipped weights in `train/planner/model/` were trained by it, with the deviations
described in docs/planning.md. Matrices are optimized by Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/),
the rest by AdamW; the learning rate warms up, stays constant and decays.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import tyro

from waldo.console import err, out, progress
from waldo.errors import FileError
from waldo.files import atomic_file
from waldo.train.planner.format import plan_json, prompt
from waldo.train.planner.training.examples import Example, sample

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
CHAT = (
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{%- endif %}"
)
"""Qwen3's chat template with thinking disabled."""
IGNORED = -100
"""Label of padding, which the loss ignores."""
BLOCK = 8
"""Number of batches that are drawn together."""


@dataclass(frozen=True, kw_only=True)
class PlannerTraining:
    """Train the toy planner."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the model; an interrupted training in it is resumed."""
    steps: int = 5000
    """Number of optimizer steps."""
    batch: int = 16
    """Examples per step."""
    dim: int = 192
    """Width of the residual stream."""
    layers: int = 4
    """Transformer blocks."""
    heads: int = 6
    """Attention heads; three share a key-value head."""
    vocabulary: int = 768
    """Size of the byte-level BPE vocabulary."""
    matrix_rate: float = 0.01
    """Learning rate of Muon."""
    rate: float = 3e-3
    """Learning rate of AdamW."""
    plain_from: int = 1504
    """Step from which all examples are plain; the complex ones come first."""
    prompt_weight: float = 0.2
    """Weight of the loss on prompt tokens, relative to plan tokens."""
    seed: int = 0
    """Seed of weights and examples."""
    threads: int = 1
    """Number of CPU threads."""

    def run(self) -> int:
        """Start or resume the training and write the model."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)
        self.out.mkdir(parents=True, exist_ok=True)
        tokenizer = load_tokenizer(self) or make_tokenizer(self)
        model = make_model(self, tokenizer)
        optimizers = make_optimizers(self, model)
        start = load_state(self, model, optimizers)
        try:
            train(self, tokenizer, model, optimizers, start)
        except KeyboardInterrupt:
            err().print(f"waldo: training interrupted; run the same command to resume from {self.out / 'training.pt'}")
            return 130
        save_model(self, tokenizer, model)
        out().print(f"planner written to {self.out}")
        return 0


def make_tokenizer(config: PlannerTraining) -> Any:
    """Train a byte-level BPE tokenizer on examples of the grammar."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = Random(f"tokenizer {config.seed}")
    examples = [sample(rng) for _ in range(6000)]
    texts = [t for e in examples for t in (prompt(e.instruction, e.scene, e.done), plan_json(e.plan))]
    bpe.train_from_iterator([*texts, *["\n\n", "user\n", "assistant\n", "system\n"] * 500], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT,
        model_max_length=1024,
    )
    tokenizer.save_pretrained(config.out)
    return tokenizer


def load_tokenizer(config: PlannerTraining) -> Any:
    """Return the tokenizer of an earlier run in this folder, or None."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(config.out) if (config.out / "tokenizer.json").exists() else None


def make_model(config: PlannerTraining, tokenizer: Any) -> Any:
    """Return the untrained model; `waldo_planner` in its config marks a closed vocabulary and no system prompt."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    make: Any = Qwen3Config  # Its keywords are those of a base class.
    return Qwen3ForCausalLM(
        make(
            vocab_size=len(tokenizer),
            hidden_size=config.dim,
            intermediate_size=2 * config.dim,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads // 3,
            head_dim=32,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            waldo_planner=True,
            attn_implementation="eager",  # The backward pass of fused attention is slow on CPUs.
        )
    )


def make_optimizers(config: PlannerTraining, model: Any) -> list[tuple[torch.optim.Optimizer, float]]:
    """Return the optimizers with their full learning rates."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(matrices, lr=config.matrix_rate, momentum=0.95, weight_decay=0.01)
    adam = torch.optim.AdamW(rest, lr=config.rate, betas=(0.9, 0.98), weight_decay=0.0)
    return [(muon, config.matrix_rate), (adam, config.rate)]


def schedule(step: int, steps: int) -> float:
    """Return the factor of the learning rate: 50 warm-up steps, constant, then a decay over the last 35 %."""
    return min(1.0, (step + 1) / 50) * min(1.0, (1 - step / steps) / 0.35) + 1e-3


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def make_batches(config: PlannerTraining, tokenizer: Any, block: int) -> list[Batch]:
    """Return BLOCK batches of token ids, labels and label weights, Shape (batch, length) each.

    Examples of similar length share a batch, which reduces padding; the order of the batches is random.
    """
    rng = Random(f"{config.seed} {block}")
    examples = [sample(rng, plain=block * BLOCK >= config.plain_from) for _ in range(BLOCK * config.batch)]
    rows = sorted((encode(tokenizer, example) for example in examples), key=lambda r: len(r[0]) + len(r[1]))
    batches = [pad(config, tokenizer, rows[i : i + config.batch]) for i in range(0, len(rows), config.batch)]
    rng.shuffle(batches)
    return batches


def encode(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    """Return the tokens of the prompt and of the answer."""
    message = [{"role": "user", "content": prompt(example.instruction, example.scene, example.done)}]
    text = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    prompted = tokenizer(text, add_special_tokens=False)["input_ids"]
    answered = tokenizer(plan_json(example.plan), add_special_tokens=False)["input_ids"]
    return prompted, [*answered, tokenizer.eos_token_id]


def pad(config: PlannerTraining, tokenizer: Any, rows: list[tuple[list[int], list[int]]]) -> Batch:
    """Return one batch of examples, padded on the right."""
    length = max(len(a) + len(b) for a, b in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    labels = torch.full((len(rows), length), IGNORED)
    weights = torch.zeros((len(rows), length))
    for i, (prompted, answered) in enumerate(rows):
        end = len(prompted) + len(answered)
        ids[i, :end] = labels[i, :end] = torch.tensor(prompted + answered)
        weights[i, : len(prompted)] = config.prompt_weight
        weights[i, len(prompted) : end] = 1.0
    return ids, labels, weights


def loss_of(model: Any, ids: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross-entropy; causal attention needs no mask, as all padding is on the right."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="none"
    )
    weight = weights[:, 1:].flatten()
    return (losses * weight).sum() / weight.sum()


def train(config: PlannerTraining, tokenizer: Any, model: Any, optimizers: Any, start: int) -> None:
    """Run the optimization from step `start`; save its state every 250 steps and on Ctrl-C."""
    model.train()
    mean = 0.0
    with progress() as bar, (config.out / "loss.csv").open("a", newline="") as file:
        table = csv.writer(file)
        task = bar.add_task("planner", total=config.steps, completed=start, note="")
        step, batches = start, list[Batch]()
        try:
            for step in range(start, config.steps):
                if step % BLOCK == 0 or not batches:
                    batches = make_batches(config, tokenizer, step // BLOCK)
                for optimizer, rate in optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = rate * schedule(step, config.steps)
                loss = loss_of(model, *batches[step % BLOCK])
                model.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for optimizer, _ in optimizers:
                    optimizer.step()
                mean = loss.item() if step == start else 0.98 * mean + 0.02 * loss.item()
                bar.update(task, completed=step + 1, note=f"loss {mean:.4f}")
                if (step + 1) % 50 == 0:
                    table.writerow([step + 1, f"{mean:.5f}"])
                    file.flush()
                if (step + 1) % 250 == 0:
                    save_state(config, model, optimizers, step + 1)
        except KeyboardInterrupt:
            save_state(config, model, optimizers, step)
            raise


def settings(config: PlannerTraining) -> str:
    """Return the settings that a resumed training must share; the others only affect its end."""
    return json.dumps({**asdict(config), "out": "", "threads": 0, "steps": 0, "plain_from": 0})


def save_state(config: PlannerTraining, model: Any, optimizers: Any, step: int) -> None:
    """Save everything that a resumed training needs."""
    state = {
        "step": step,
        "config": settings(config),
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer, _ in optimizers],
    }
    with atomic_file(config.out / "training.pt") as partial:
        torch.save(state, partial)


def load_state(config: PlannerTraining, model: Any, optimizers: Any) -> int:
    """Load the state of an earlier run; return the step to resume from."""
    path = config.out / "training.pt"
    if not path.exists():
        return 0
    state = torch.load(path)
    if state["config"] != settings(config):
        raise FileError(
            path, "the saved training has other settings", "pass the same settings, or choose another folder"
        )
    model.load_state_dict(state["model"])
    for (optimizer, _), saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def save_model(config: PlannerTraining, tokenizer: Any, model: Any) -> None:
    """Write the model in bfloat16, which halves its size without loss of accuracy."""
    model.generation_config.max_new_tokens = 320
    model.to(torch.bfloat16).save_pretrained(config.out)
    tokenizer.save_pretrained(config.out)
