"""Planners: translate an instruction about a scene into subtasks that a robot can execute.

    planner = TransformersPlanner()                                   # the toy planner that comes with waldo
    planner = TransformersPlanner("Qwen/Qwen3-4B")                    # any causal Qwen, local folder or hub name
    planner = ServerPlanner("http://localhost:8000/v1", "qwen3-4b")   # any OpenAI-compatible server
    make_plan(planner, "put the red cube in the left bin", scene)     # -> [Goal(...)], checked

The toy planner is a small model of the Qwen3 architecture, trained from scratch on a synthetic grammar of English; it
contains no Qwen weights and understands no other phrasings. Use a larger model for free speech.

A planner only translates. `make_plan` refuses plans that name something outside the scene or cannot be executed in
their order. For planners with a closed vocabulary it also refuses names that the scene lacks, and plans that contradict
the wording (`grounding`).
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
from waldo.train.large_import import large_import
from waldo.train.planner.format import SYSTEM, AnswerError, parse_plan, plan_schema, prompt
from waldo.train.planner.grounding import mentioned_scene, strange_steps, unheard_names, unknown_mentions
from waldo.train.planner.plan_check import PlanError, plan_problems

MAX_TOKENS = 400
"""Longest answer of a model [tokens]; twelve steps need less."""


class Planner(Protocol):
    """Translate an instruction into subtasks."""

    retries: int
    """How often a refused plan is requested again with the reason; 0 for deterministic planners."""

    @property
    def closed_vocabulary(self) -> bool:
        """Whether the planner only understands the words of its training, so `grounding` must check the wording."""
        ...

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        """Return the remaining steps.

        Args:
            instruction: The task in English.
            scene: Objects, targets and the held object.
            done: Steps that are done.
            problem: Why the previous answer was refused.

        Raises:
            AnswerError: If the answer of the model is not a plan.
        """
        ...


def make_plan(planner: Planner, instruction: str, scene: Scene, done: Sequence[Goal] = ()) -> list[Goal]:
    """Return a plan that can be executed in a scene.

    Args:
        planner: The planner.
        instruction: The task in English.
        scene: Objects, targets and the held object.
        done: Steps that are done.

    Raises:
        PlanError: If there is no such plan; the message states the reasons.
    """
    if planner.closed_vocabulary:
        _require_known_names(instruction, scene)
    problem: str | None = None
    problems: list[str] = []
    for _ in range(planner.retries + 1):
        try:
            plan = planner.plan(instruction, scene, done, problem)
        except AnswerError as error:
            problems = [str(error)]
        else:
            if not plan and not done:
                raise PlanError(instruction, ["the planner returned no steps"], "name the objects and their targets")
            problems = plan_problems(plan, scene, done)
            if not problems and planner.closed_vocabulary:
                problems = strange_steps(instruction, scene, plan, done)
            if not problems:
                return plan
        problem = "; ".join(problems)
    raise PlanError(instruction, problems)


def _require_known_names(instruction: str, scene: Scene) -> None:
    """Raise if an instruction names something that the scene or the vocabulary lacks."""
    missing = unknown_mentions(instruction, scene) or unheard_names(instruction, scene)
    if missing:
        present = ", ".join((*scene.objects, *scene.targets))
        raise PlanError(instruction, [f"{name} is not in the scene" for name in missing], f"the scene has: {present}")


class TransformersPlanner:
    """A causal language model on this machine, whose output is constrained to the scene's JSON schema.

    Args:
        model: Model folder or hub name; None loads the toy planner.
        threads: Number of CPU threads.
    """

    retries = 0

    @property
    def closed_vocabulary(self) -> bool:
        """True for models trained by `waldo.train.planner.training`."""
        return bool(getattr(self._loaded[1].config, "waldo_planner", False))

    def __init__(self, model: str | Path | None = None, *, threads: int = 1) -> None:
        self.source = str(files("waldo.train.planner") / "model") if model is None else str(model)
        self.threads = threads

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """The tokenizer, the model and the grammar compiler."""
        with large_import():
            import torch
            import xgrammar
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # Loading takes milliseconds.
        torch.set_num_threads(self.threads)
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(self.source)
            model = AutoModelForCausalLM.from_pretrained(self.source, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())[:160]
            raise FileError(
                self.source, f"not a planner model ({why})", "choose a folder or hub name of a causal language model"
            ) from error
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=model.config.vocab_size)
        return tokenizer, model, xgrammar.GrammarCompiler(info)

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        """Return the remaining steps, decoded greedily under the scene's schema."""
        return parse_plan(self.answer(instruction, scene, done, problem))

    def answer(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> str:
        """Return the JSON of the model."""
        tokenizer, _, _ = self._loaded
        messages = [{"role": "user", "content": prompt(instruction, scene, done)}]
        if not self.closed_vocabulary:
            messages = chat_messages(instruction, scene, done, problem)
        text = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False, tokenize=False
        )
        return self.complete(
            text, plan_schema(mentioned_scene(instruction, scene) if self.closed_vocabulary else scene)
        )

    def complete(self, text: str, schema: dict[str, Any]) -> str:
        """Return a continuation of `text` as JSON that satisfies `schema`."""
        import torch
        from xgrammar.contrib.hf import LogitsProcessor

        tokenizer, model, compiler = self._loaded
        grammar = compiler.compile_json_schema(json.dumps(schema), any_whitespace=False, separators=(",", ":"))
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            tokens = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                logits_processor=[LogitsProcessor(grammar)],  # Has state: one per call.
            )
        return cast("str", tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


class ServerPlanner:
    """A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp ...), which enforces the schema.

    The API key is read from the environment variable OPENAI_API_KEY.

    Args:
        base_url: Address of the server, ending in `/v1`.
        model: Name of the model on the server.
        timeout_s: Time limit of a request [s].
    """

    retries = 1

    @property
    def closed_vocabulary(self) -> bool:
        """False: a general model is not limited to a list of words."""
        return False

    def __init__(self, base_url: str, model: str, *, timeout_s: float = 60.0) -> None:
        self.base_url, self.model, self.timeout_s = base_url, model, timeout_s

    @cached_property
    def _client(self) -> Any:
        import os

        from openai import OpenAI

        key = os.environ.get("OPENAI_API_KEY") or "none"
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout_s, max_retries=1)

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        """Return the remaining steps."""
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
    """A planning server that cannot be reached or returns an error."""

    exit_code = 3

    def __init__(self, base_url: str, model: str, why: str) -> None:
        """Build the message from the address, the name of the model and the error."""
        super().__init__(
            f"the planning server at {base_url} returned no plan with the model {model!r} ({why}); "
            "check that it is running, that the address ends in /v1, and the name of the model"
        )


def chat_messages(instruction: str, scene: Scene, done: Sequence[Goal], problem: str | None) -> list[dict[str, str]]:
    """Return the messages for a general model: the rules, the task, and why its last answer was refused."""
    request = prompt(instruction, scene, done)
    if problem is not None:
        request += f"\nyour last plan was refused: {problem}. answer with a plan that avoids this"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": request}]
