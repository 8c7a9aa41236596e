"""Planners: an instruction and a scene go in, subtasks that a robot can carry out come out.

    planner = TransformersPlanner()                                   # the small model that comes with waldo
    planner = TransformersPlanner("Qwen/Qwen3-4B")                    # any causal Qwen, local folder or hub name
    planner = ServerPlanner("http://localhost:8000/v1", "qwen3-4b")   # any OpenAI-compatible server
    make_plan(planner, "put the red cube in the left bin", scene)     # -> [Goal(...)], checked

A planner only translates. `make_plan` refuses instructions about things that are not there, and plans that name what
is not there, cannot be done in their order, or are about something else than the instruction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, cast

from waldo.errors import FileError, WaldoError
from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner.format import SYSTEM, AnswerError, parse_plan, plan_schema, prompt
from waldo.train.planner.grounding import sayable, strange_steps, unheard_names, unknown_mentions
from waldo.train.planner.plan_check import PlanError, plan_problems

MAX_TOKENS = 400
"""Longest answer: twelve steps fit with room to spare."""


class Planner(Protocol):
    """What turns an instruction into subtasks."""

    retries: int
    """How often a refused plan may be asked for again with the reason; 0 if the answer would not change."""

    @property
    def closed(self) -> bool:
        """True if it knows the words of its training alone: what it never heard of is refused before it guesses."""
        ...

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        """Return the steps that remain; `problem` says what was wrong with the answer before."""
        ...


def make_plan(planner: Planner, instruction: str, scene: Scene, done: Sequence[Goal] = ()) -> list[Goal]:
    """Return a plan that can be carried out in `scene`, or raise a PlanError that says why there is none."""
    if missing := unknown_mentions(instruction, scene) or (planner.closed and unheard_names(instruction, scene)):
        there = ", ".join((*scene.objects, *scene.targets))
        raise PlanError(instruction, [f"there is no {name}" for name in missing], f"the scene has: {there}")
    problem: str | None = None
    problems: list[str] = []
    for _ in range(planner.retries + 1):
        try:
            plan = planner.plan(instruction, scene, done, problem)
        except AnswerError as error:
            problems = [str(error)]
        else:
            if not plan and not done:
                raise PlanError(instruction, ["the planner found nothing to do"], "name the objects and where they go")
            problems = plan_problems(plan, scene, done) or strange_steps(instruction, scene, plan, done)
            if not problems:
                return plan
        problem = "; ".join(problems)
    raise PlanError(instruction, problems)


class TransformersPlanner:
    """A causal language model on this machine, held to the scene's own JSON schema as it writes."""

    retries = 0

    @property
    def closed(self) -> bool:
        """True for the models that `waldo.train.planner.training` makes."""
        return bool(getattr(self._loaded[1].config, "waldo_planner", False))

    def __init__(self, model: str | Path | None = None, *, threads: int = 1) -> None:
        """Take a model folder or hub name; None is the small model that comes with waldo."""
        self.source = str(files("waldo.train.planner") / "model") if model is None else str(model)
        self.threads = threads

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """The tokenizer, the model and the grammar compiler."""
        import torch
        import xgrammar
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a few milliseconds of loading need none
        torch.set_num_threads(self.threads)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.source)
            model = AutoModelForCausalLM.from_pretrained(self.source, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())[:160]
            raise FileError(
                self.source, f"is no planner model ({why})", "name a folder or hub model of a causal language model"
            ) from error
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=model.config.vocab_size)
        return tokenizer, model, xgrammar.GrammarCompiler(info)

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        """Return the steps that remain, decoded greedily under the scene's schema."""
        return parse_plan(self.answer(instruction, scene, done, problem))

    def answer(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> str:
        """Return the model's JSON."""
        tokenizer, _, _ = self._loaded
        messages = [{"role": "user", "content": prompt(instruction, scene, done)}]
        if not self.closed:
            messages = chat_messages(instruction, scene, done, problem)
        text = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False, tokenize=False
        )
        return self.complete(text, plan_schema(sayable(instruction, scene) if self.closed else scene))

    def complete(self, text: str, schema: dict[str, Any]) -> str:
        """Go on from `text` with JSON that satisfies `schema`."""
        import torch
        import xgrammar

        tokenizer, model, compiler = self._loaded
        grammar = compiler.compile_json_schema(json.dumps(schema), any_whitespace=False, separators=(",", ":"))
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            tokens = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                logits_processor=[xgrammar.contrib.hf.LogitsProcessor(grammar)],  # keeps state: a new one each time
            )
        return cast("str", tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


class ServerPlanner:
    """A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp ...), held to the schema by the server."""

    retries = 1

    @property
    def closed(self) -> bool:
        """False: a general model knows more words than a list does."""
        return False

    def __init__(self, base_url: str, model: str, *, timeout_s: float = 60.0) -> None:
        """Take the server's address with `/v1` and the model's name there; the key comes from OPENAI_API_KEY."""
        self.base_url, self.model, self.timeout_s = base_url, model, timeout_s

    @cached_property
    def _client(self) -> Any:
        import os

        from openai import OpenAI

        key = os.environ.get("OPENAI_API_KEY") or "none"
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout_s, max_retries=1)

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        """Return the steps that remain, as the server's model answers."""
        from openai import OpenAIError

        form = {"name": "plan", "schema": plan_schema(scene), "strict": True}
        try:
            response = self._client.chat.completions.create(
                model=self.model,
                messages=chat_messages(instruction, scene, done, problem),
                temperature=0.0,
                max_tokens=MAX_TOKENS,
                response_format={"type": "json_schema", "json_schema": form},
            )
        except OpenAIError as error:
            why = " ".join(str(error).split())[:200]
            raise PlannerServerError(self.base_url, self.model, why) from error
        return parse_plan(response.choices[0].message.content or "")


class PlannerServerError(WaldoError):
    """A planning server that cannot be reached or refuses."""

    def __init__(self, base_url: str, model: str, why: str) -> None:
        """Take the address, the model's name and what the server or the network said."""
        super().__init__(
            f"the planning server at {base_url} gave no plan with the model {model!r} ({why}); "
            "check that it runs, that the address ends in /v1, and the model's name"
        )


def chat_messages(instruction: str, scene: Scene, done: Sequence[Goal], problem: str | None) -> list[dict[str, str]]:
    """Return what a general model is told: the rules, the case, and what was wrong with its last answer."""
    asked = prompt(instruction, scene, done)
    if problem is not None:
        asked += f"\nyour last plan was refused: {problem}. answer with a plan that avoids this"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]
