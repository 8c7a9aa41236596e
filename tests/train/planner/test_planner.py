import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from waldo.cli.main import main
from waldo.cli.policies.plan import task_scene
from waldo.errors import FileError
from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner.format import AnswerError, parse_plan, plan_json, plan_schema, prompt
from waldo.train.planner.plan_check import PlanError
from waldo.train.planner.planner import PlannerServerError, ServerPlanner, TransformersPlanner, make_plan
from waldo.train.planner.training.examples import sample

SORT = Scene(("red cube", "green cube", "blue cube"), ("left bin", "right bin"))
CARRY = Scene(("box",), ())


@pytest.fixture(scope="module")
def toy() -> TransformersPlanner:
    return TransformersPlanner()


@pytest.mark.parametrize(
    ("instruction", "scene", "texts"),
    [
        (
            "put the red cube in the left bin, then the blue one in the right bin",
            SORT,
            ["put the red cube in the left bin", "put the blue cube in the right bin"],
        ),
        ("lift the green cube", SORT, ["lift the green cube"]),
        ("Please hand over the box.", CARRY, ["hand over the box"]),
        ("pick up the box", CARRY, ["lift the box"]),
        ("Could you place the blue cube into the left bin?", SORT, ["put the blue cube in the left bin"]),
        (
            "put all the cubes in the right bin",
            SORT,
            [f"put the {color} cube in the right bin" for color in ("red", "green", "blue")],
        ),
    ],
)
def test_the_toy_planner_plans(instruction: str, scene: Scene, texts: list[str], toy: TransformersPlanner) -> None:
    assert [goal.text for goal in make_plan(toy, instruction, scene)] == texts


def test_completed_steps_are_omitted(toy: TransformersPlanner) -> None:
    instruction = "put the red cube in the left bin, then the blue one in the right bin"
    done = [Goal("put", "red cube", "left bin")]
    assert make_plan(toy, instruction, SORT, done) == [Goal("put", "blue cube", "right bin")]


def test_the_schema_never_yields_a_name_outside_the_scene(toy: TransformersPlanner) -> None:
    """Even for instructions about other scenes, with names that occur often in the training."""
    rng = Random(11)
    for _ in range(12):
        answer = toy.answer(sample(rng).instruction, CARRY)
        assert all(goal.object == "box" and goal.target is None for goal in parse_plan(answer))


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            "put the purple cube in the left bin",
            "no plan for 'put the purple cube in the left bin': purple cube is not in the scene; "
            "the scene has: red cube, green cube, blue cube, left bin, right bin",
        ),
        (
            "lift the spaceship",
            "no plan for 'lift the spaceship': spaceship is not in the scene; "
            "the scene has: red cube, green cube, blue cube, left bin, right bin",
        ),
    ],
)
def test_the_toy_planner_refuses_absent_names(instruction: str, message: str, toy: TransformersPlanner) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(toy, instruction, SORT)
    assert str(caught.value) == message


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Any) -> None:
    with pytest.raises(
        FileError, match=r"not a planner model \(.*\); choose a folder or hub name of a causal language"
    ):
        TransformersPlanner(tmp_path).plan("lift the red cube", SORT)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("I will!", "the planner returned 'I will!', which is not JSON (Expecting value)"),
        ('{"steps":[]}', 'the planner returned \'{"steps":[]}\', expected {"plan": [...]}'),
        (
            '{"plan":[{"skill":"put","object":"cup"}]}',
            "the planner returned the step \"{'skill': 'put', 'object': 'cup'}\": "
            "target is None, expected a target to put the object in",
        ),
        ('{"plan":["lift"]}', 'the planner returned the step \'lift\', expected {"skill", "object", "target"}'),
    ],
)
def test_a_malformed_answer_is_refused(answer: str, message: str) -> None:
    with pytest.raises(AnswerError) as caught:
        parse_plan(answer)
    assert str(caught.value) == message


def test_the_prompt_has_the_form_of_the_training() -> None:
    assert prompt("Lift  the “Red” cube", SORT, [Goal("put", "blue cube", "left bin")]) == (
        'scene: {"objects":["red cube","green cube","blue cube"],"targets":["left bin","right bin"],"holding":null}\n'
        "done: put the blue cube in the left bin\n"
        'task: lift the "red" cube'
    )


# servers


class Server(ThreadingHTTPServer):
    """The part of the OpenAI chat-completions API that a planner needs; records the requests."""

    def __init__(self, answers: Sequence[str] | TransformersPlanner) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests = answers, list[dict[str, Any]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, **request})
        if request["model"] != "tiny":
            self.reply(404, {"error": {"message": f"The model {request['model']} does not exist.", "code": 404}})
            return
        answers = self.server.answers
        if isinstance(answers, TransformersPlanner):
            user = [{"role": "user", "content": request["messages"][-1]["content"]}]
            text = answers._loaded[0].apply_chat_template(user, add_generation_prompt=True, tokenize=False)
            content = answers.complete(text, request["response_format"]["json_schema"]["schema"])
        else:
            content = answers[len(self.server.requests) - 1]
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.reply(200, {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(answers: Sequence[str] | TransformersPlanner) -> Server:
        server = Server(answers)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_plan_comes_over_http(serve: Any, toy: TransformersPlanner, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(toy)
    arguments = ["plan", "put the red cube in the left bin", "--server", server.url, "--server-model", "tiny"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "1. put the red cube in the left bin\n"
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["response_format"]["type"] == "json_schema"
    assert request["response_format"]["json_schema"]["schema"] == plan_schema(task_scene("sort"))
    assert request["temperature"] == 0.0


def test_an_impossible_plan_is_requested_again_with_the_reason(serve: Any) -> None:
    impossible = plan_json([Goal("put", "red cube", "left bin"), Goal("put", "red cube", "right bin")])
    server = serve([impossible, plan_json([Goal("put", "red cube", "left bin")])])
    planner = ServerPlanner(server.url, "tiny")
    assert make_plan(planner, "put the red cube in the left bin", SORT) == [Goal("put", "red cube", "left bin")]
    assert len(server.requests) == 2
    assert server.requests[1]["messages"][-1]["content"].endswith(
        "your last plan was refused: step 2 (put the red cube in the right bin) moves the red cube again after: "
        "put the red cube in the left bin. answer with a plan that avoids this"
    )


def test_a_server_that_insists_on_the_impossible_is_refused(serve: Any) -> None:
    server = serve(["no", "no"])
    with pytest.raises(PlanError) as caught:
        make_plan(ServerPlanner(server.url, "tiny"), "lift the red cube", SORT)
    expected = "no plan for 'lift the red cube': the planner returned 'no', which is not JSON (Expecting value)"
    assert str(caught.value) == expected
    assert len(server.requests) == 2


def test_a_server_without_the_model_is_one_clear_error(serve: Any) -> None:
    server = serve([])
    with pytest.raises(PlannerServerError) as caught:
        ServerPlanner(server.url, "huge").plan("lift the red cube", SORT)
    assert str(caught.value).startswith(
        f"the planning server at {server.url} returned no plan with the model 'huge' (Error code: 404 - "
    )
    assert str(caught.value).endswith(
        "check that it is running, that the address ends in /v1, and the name of the model"
    )


# closed and open vocabularies


class FixedPlanner:
    """Return a given plan for every instruction."""

    retries = 0

    def __init__(self, plan: list[Goal], *, closed_vocabulary: bool) -> None:
        self.steps, self.closed_vocabulary = plan, closed_vocabulary

    def plan(self, instruction: str, scene: Scene, done: Sequence[Goal] = (), problem: str | None = None) -> list[Goal]:
        return self.steps


@pytest.mark.parametrize(
    "instruction", ["clear the table", "tidy up please", "I am thirsty", "put the crockery into the bowl"]
)
def test_a_general_planner_is_free_in_its_wording(instruction: str) -> None:
    """Grounding compares words of a closed vocabulary, which would refuse correct plans of a general model."""
    scene = Scene(("red cup", "plate"), ("bowl", "tray"))
    plan = [Goal("put", "red cup", "bowl"), Goal("put", "plate", "bowl")]
    assert make_plan(FixedPlanner(plan, closed_vocabulary=False), instruction, scene) == plan
    with pytest.raises(PlanError):
        make_plan(FixedPlanner(plan, closed_vocabulary=True), instruction, scene)


def test_a_general_planner_is_still_held_to_the_scene() -> None:
    planner = FixedPlanner([Goal("put", "red cube", "shelf")], closed_vocabulary=False)
    with pytest.raises(PlanError, match="names the target 'shelf', which is not in the scene"):
        make_plan(planner, "tidy up please", SORT)


def test_a_server_plans_words_outside_the_vocabulary_of_the_toy_planner(serve: Any) -> None:
    plan = [Goal("put", name, "left bin") for name in SORT.objects]
    server = serve([plan_json(plan)])
    assert make_plan(ServerPlanner(server.url, "tiny"), "clear the table", SORT) == plan


def test_only_models_of_this_training_have_a_closed_vocabulary(toy: TransformersPlanner) -> None:
    assert toy.closed_vocabulary
    assert not ServerPlanner("http://localhost:1/v1", "qwen").closed_vocabulary
