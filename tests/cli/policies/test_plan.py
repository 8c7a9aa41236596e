"""`waldo plan`: plans and messages."""

import json

import pytest

from waldo.cli.main import main

PURPLE = (
    "waldo: error: no plan for 'lift the purple cube': purple cube is not in the scene; "
    "the scene has: red cube, blue cup, left bin\n"
)


def test_a_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "lift the red cube"]) == 0
    assert capsys.readouterr().out == "1. lift the red cube\n"
    assert main(["plan", "lift the cup", "--objects", "red cube", "blue cup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "instruction": "lift the cup",
        "scene": {"objects": ["red cube", "blue cup"], "targets": [], "holding": None},
        "plan": [{"skill": "lift", "object": "blue cup", "target": None, "text": "lift the blue cup"}],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "lift the purple cube", "--objects", "red cube", "blue cup", "--targets", "left bin"], PURPLE),
        (["plan", "lift it", "--targets", "bowl"], "waldo: error: --targets requires --objects\n"),
        (
            ["plan", "lift it", "--server", "http://127.0.0.1:9/v1"],
            "waldo: error: --server requires --server-model; pass the name of the model on the server\n",
        ),
        (
            ["plan", "lift it", "--server-model", "qwen"],
            "waldo: error: --server-model requires --server; pass the address of the server, or use --model\n",
        ),
    ],
)
def test_bad_input_ends_with_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)
