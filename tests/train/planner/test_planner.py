import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from waldo.cli.main import main
from waldo.cli.train import task_scene
from waldo.errors import FileError
from waldo.sim.tasks.goal import Goal, Scene
from waldo.train.planner.format import AnswerError, parse_plan, plan_json, plan_schema, prompt
from waldo.train.planner.grammar import sample
from waldo.train.planner.plan_check import PlanError
from waldo.train.planner.planner import PlannerServerError, ServerPlanner, TransformersPlanner, make_plan

SORT = Scene(("red cube", "green cube", "blue cube"), ("left bin", "right bin"))
CARRY = Scene(("box",), ())


@pytest.fixture(scope="module")
def embedded() -> TransformersPlanner:
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
            [f"put the {colour} cube in the right bin" for colour in ("red", "green", "blue")],
        ),
    ],
)
def test_the_embedded_planner_plans(
    instruction: str, scene: Scene, texts: list[str], embedded: TransformersPlanner
) -> None:
    assert [goal.text for goal in make_plan(embedded, instruction, scene)] == texts


def test_steps_that_are_done_are_left_out(embedded: TransformersPlanner) -> None:
    instruction = "put the red cube in the left bin, then the blue one in the right bin"
    done = [Goal("put", "red cube", "left bin")]
    assert make_plan(embedded, instruction, SORT, done) == [Goal("put", "blue cube", "right bin")]


def test_the_schema_never_yields_a_name_outside_the_scene(embedded: TransformersPlanner) -> None:
    """Even for instructions about other scenes, whose names the model has seen a thousand times."""
    rng = Random(11)
    for _ in range(12):
        answer = embedded.answer(sample(rng).instruction, CARRY)
        assert all(goal.object == "box" and goal.target is None for goal in parse_plan(answer))


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            "put the purple cube in the left bin",
            "no plan for 'put the purple cube in the left bin': there is no purple cube; "
            "the scene has: red cube, green cube, blue cube, left bin, right bin",
        ),
        (
            "lift the spaceship",
            "no plan for 'lift the spaceship': there is no spaceship; "
            "the scene has: red cube, green cube, blue cube, left bin, right bin",
        ),
    ],
)
def test_what_is_absent_is_not_planned_around(instruction: str, message: str, embedded: TransformersPlanner) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(embedded, instruction, SORT)
    assert str(caught.value) == message


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Any) -> None:
    with pytest.raises(FileError, match=r"is no planner model \(.*\); name a folder or hub model of a causal language"):
        TransformersPlanner(tmp_path).plan("lift the red cube", SORT)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("I will!", "the planner answered 'I will!', which is not JSON (Expecting value)"),
        ('{"steps":[]}', 'the planner answered \'{"steps":[]}\', expected {"plan": [...]}'),
        (
            '{"plan":[{"skill":"put","object":"cup"}]}',
            "the planner answered the step \"{'skill': 'put', 'object': 'cup'}\": "
            "target is None, expected a place to put the object",
        ),
        ('{"plan":["lift"]}', 'the planner answered the step \'lift\', expected {"skill", "object", "target"}'),
    ],
)
def test_an_answer_that_is_no_plan_is_refused(answer: str, message: str) -> None:
    with pytest.raises(AnswerError) as caught:
        parse_plan(answer)
    assert str(caught.value) == message


def test_the_prompt_is_what_training_shows() -> None:
    assert prompt("Lift  the “Red” cube", SORT, [Goal("put", "blue cube", "left bin")]) == (
        'scene: {"objects":["red cube","green cube","blue cube"],"targets":["left bin","right bin"],"holding":null}\n'
        "done: put the blue cube in the left bin\n"
        'task: lift the "red" cube'
    )


# -- the server's way -----------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Speaks as much of the OpenAI chat-completions form as a planner needs, and remembers what it was asked."""

    def __init__(self, answers: Sequence[str] | TransformersPlanner) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = answers, list[dict[str, Any]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **request})
        if request["model"] != "tiny":
            self.reply(404, {"error": {"message": f"The model {request['model']} does not exist.", "code": 404}})
            return
        answers = self.server.answers
        if isinstance(answers, TransformersPlanner):
            user = [{"role": "user", "content": request["messages"][-1]["content"]}]
            text = answers._loaded[0].apply_chat_template(user, add_generation_prompt=True, tokenize=False)
            content = answers.complete(text, request["response_format"]["json_schema"]["schema"])
        else:
            content = answers[len(self.server.asked) - 1]
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


def test_a_plan_comes_over_http(serve: Any, embedded: TransformersPlanner, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(embedded)
    arguments = ["plan", "put the red cube in the left bin", "--server", server.url, "--server-model", "tiny"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "1. put the red cube in the left bin\n"
    (asked,) = server.asked
    assert asked["path"] == "/v1/chat/completions"
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["schema"] == plan_schema(task_scene("sort", 0))
    assert asked["temperature"] == 0.0


def test_an_impossible_plan_is_asked_for_once_more_with_the_reason(serve: Any) -> None:
    impossible = plan_json([Goal("put", "red cube", "left bin"), Goal("put", "red cube", "right bin")])
    server = serve([impossible, plan_json([Goal("put", "red cube", "left bin")])])
    planner = ServerPlanner(server.url, "tiny")
    assert make_plan(planner, "put the red cube in the left bin", SORT) == [Goal("put", "red cube", "left bin")]
    assert len(server.asked) == 2
    assert server.asked[1]["messages"][-1]["content"].endswith(
        "your last plan was refused: step 2 (put the red cube in the right bin) moves the red cube again after: "
        "put the red cube in the left bin. answer with a plan that avoids this"
    )


def test_a_server_that_insists_on_the_impossible_is_refused(serve: Any) -> None:
    server = serve(["no", "no"])
    with pytest.raises(PlanError) as caught:
        make_plan(ServerPlanner(server.url, "tiny"), "lift the red cube", SORT)
    expected = "no plan for 'lift the red cube': the planner answered 'no', which is not JSON (Expecting value)"
    assert str(caught.value) == expected
    assert len(server.asked) == 2


def test_a_server_without_the_model_is_one_clear_error(serve: Any) -> None:
    server = serve([])
    with pytest.raises(PlannerServerError) as caught:
        ServerPlanner(server.url, "huge").plan("lift the red cube", SORT)
    assert str(caught.value).startswith(
        f"the planning server at {server.url} gave no plan with the model 'huge' (Error code: 404 - "
    )
    assert str(caught.value).endswith("check that it runs, that the address ends in /v1, and the model's name")
