"""openpi's own client asks our server, and our client asks a server with openpi's messages, each in an environment with
the published openpi-client.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_server import FRONT, METADATA, STATE, WAIT_S, chunk, serving

from tests.machine import install_apart
from waldo.train.serving.child import LocalServer
from waldo.train.serving.client import PolicyClient, ServerError

CLIENT = """
import json, sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

port, key, observations = json.loads(sys.argv[1])

def decode(observation):
    return {
        name: value if isinstance(value, str) else np.array(value["values"], value["dtype"])
        for name, value in observation.items()
    }

try:
    policy = WebsocketClientPolicy("127.0.0.1", port, api_key=key)
except Exception as error:
    print(json.dumps(str(error)))
    sys.exit()
answers = []
for observation in observations:
    try:
        answer = policy.infer(decode(observation))
        timing = sorted(answer["server_timing"])
        answers.append([str(answer["actions"].dtype), answer["actions"].tolist(), sorted(answer), timing])
    except RuntimeError as error:
        answers.append(str(error))
broker = ActionChunkBroker(policy, action_horizon=3)
steps = [broker.infer(decode(observations[0]))["actions"].tolist() for _ in range(3)]
print(json.dumps({"metadata": policy.get_server_metadata(), "answers": answers, "steps": steps}))
"""
"""Connects with openpi's client, sends observations, and prints what it received."""

SERVER = """
import asyncio, time, traceback
import numpy as np
import websockets.asyncio.server
from openpi_client import msgpack_numpy

def infer(observation):
    if observation["prompt"] == "raise":
        raise RuntimeError("the policy failed")
    state = observation["observation/state"]
    assert observation["observation/image"].shape == (6, 8, 3)
    actions = np.stack([state.astype(np.float64) + step for step in range(5)])
    return {"actions": actions, "state": state, "policy_timing": {"infer_ms": np.float32(1.5)}}

async def handle(connection):
    packer, previous = msgpack_numpy.Packer(), None
    await connection.send(packer.pack({"robot": "test", "reset_pose": np.zeros(3)}))
    while True:
        try:
            start = time.monotonic()
            answer = infer(msgpack_numpy.unpackb(await connection.recv()))
            answer["server_timing"] = {"infer_ms": 1000 * (time.monotonic() - start)}
            if previous is not None:
                answer["server_timing"]["prev_total_ms"] = 1000 * previous
            await connection.send(packer.pack(answer))
            previous = time.monotonic() - start
        except websockets.ConnectionClosed:
            return
        except Exception:
            await connection.send(traceback.format_exc())
            await connection.close(1011, "Internal server error. Traceback included in previous frame.")
            return

async def main():
    serve = websockets.asyncio.server.serve(handle, "127.0.0.1", 0, compression=None, max_size=None)
    async with serve as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

asyncio.run(main())
"""
"""A server with the messages of openpi's: the metadata, an answer to each observation, a traceback and code 1011."""


@pytest.fixture(scope="module")
def openpi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with openpi-client, whose metadata do not list typing_extensions."""
    return install_apart(tmp_path_factory.mktemp("openpi") / "venv", "openpi-client==0.1.2", "typing_extensions")


def variables() -> dict[str, str]:
    """Return an environment in which only the packages of openpi's environment are found."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def encoded(**values: Any) -> dict[str, Any]:
    """Return an observation as JSON values; slashes of its keys are double underscores."""
    return {
        key.replace("__", "/"): value
        if isinstance(value, str)
        else {"values": value.tolist(), "dtype": value.dtype.str}
        for key, value in values.items()
    }


def ask(openpi: Path, port: int, observations: list[dict[str, Any]], key: str | None = None) -> Any:
    """Return what openpi's client receives from our server."""
    argument = json.dumps([port, key, observations])
    done = subprocess.run([openpi, "-c", CLIENT, argument], capture_output=True, text=True, env=variables())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def openpi_server(openpi: Path) -> Iterator[PolicyClient]:
    """Run a server with openpi's messages; return our client of it."""
    with subprocess.Popen([openpi, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=variables()) as process:
        assert process.stdout is not None
        try:
            client = PolicyClient(f"ws://127.0.0.1:{int(process.stdout.readline())}", answer_s=WAIT_S)
            yield client
            client.close()
        finally:
            process.kill()


IMAGE = np.zeros((12, 16, 3), np.uint8)


def observation(number: float, prompt: str = "fold the towel") -> dict[str, Any]:
    """Return an observation under the names of openpi's examples."""
    state = np.array([number, 0.0, -1.0], np.float32)
    return {"observation/state": state, "observation/image": IMAGE[:6, :8], "prompt": prompt}


@pytest.mark.parametrize("key", [None, "s3cret"])
def test_openpi_s_client_receives_the_metadata_and_the_actions(openpi: Path, key: str | None) -> None:
    state = np.array([2.0, 0.0, -1.0])
    good = encoded(observation__state=state, observation__image=IMAGE, prompt="fold the towel")
    bad = encoded(observation__state=state, prompt="fold the towel")
    failing = encoded(observation__state=state, observation__image=IMAGE, prompt="raise")
    with serving(token=key) as served:
        found = ask(openpi, served.port, [good, bad, failing, good], key)
    answer = ["float32", chunk(2.0).tolist(), ["actions", "server_timing"], ["infer_ms"]]
    given = "observation/state, prompt"
    assert found == {
        "metadata": METADATA,
        "answers": [
            answer,
            f"Error in inference server:\nan observation lacks {FRONT}; it contains {given}",
            "Error in inference server:\nRuntimeError: the policy failed",
            answer,
        ],
        "steps": chunk(2.0)[:3].tolist(),
    }
    assert (served.server.answered, served.server.refused) == (3, 2)


@pytest.mark.parametrize("key", [None, "wrong"])
def test_openpi_s_client_without_the_token_is_refused(openpi: Path, key: str | None) -> None:
    with serving(token="s3cret") as served:
        assert ask(openpi, served.port, [], key) == "server rejected WebSocket connection: HTTP 401"


def test_openpi_s_client_receives_the_actions_of_a_trained_policy(openpi: Path, trained: Path) -> None:
    server = LocalServer(trained)
    try:
        client = server.connect()
        shapes = client.metadata["inputs"]
        values = {key: np.full(shape, 0.25, np.float32) for key, shape in shapes.items()}
        expected = client.infer(values | {"task": "lift the red cube"})
        client.close()
        names = {key.replace(".", "__"): value for key, value in values.items()}
        port = int(server.url.rpartition(":")[2])
        found = ask(openpi, port, [encoded(**names, prompt="lift the red cube")], server._token)
    finally:
        server.close()
    assert found["metadata"] == client.metadata
    np.testing.assert_allclose(found["answers"][0][1], expected, atol=1e-6)


def test_our_client_receives_the_actions_of_a_server_with_openpi_s_messages(openpi: Path) -> None:
    with openpi_server(openpi) as client:
        assert client.metadata["robot"] == "test"
        np.testing.assert_array_equal(client.metadata["reset_pose"], np.zeros(3))
        for number in (1.0, -2.5):
            actions = client.infer(observation(number))
            assert actions.dtype == np.float64
            expected = [[number + step, step, step - 1] for step in range(5)]
            np.testing.assert_array_equal(actions, expected)
        assert client.is_open


def test_an_error_of_a_server_with_openpi_s_messages_ends_the_connection(openpi: Path) -> None:
    with openpi_server(openpi) as client:
        with pytest.raises(ServerError) as caught:
            client.infer(observation(1.0, "raise"))
        assert str(caught.value).endswith("RuntimeError: the policy failed")
        client._connection.recv_events_thread.join(WAIT_S)
        assert not client.is_open
        reason = "received 1011 (internal error) Internal server error. Traceback included in previous frame."
        with pytest.raises(ServerError) as caught:
            client.infer(observation(1.0))
        assert str(caught.value).startswith(f"{client.url}: {reason}")
        again = PolicyClient(client.url, answer_s=WAIT_S)
        np.testing.assert_array_equal(again.infer(observation(3.0))[0], [3.0, 0.0, -1.0])
        again.close()


def test_a_key_that_openpi_s_server_lacks_is_its_error(openpi: Path) -> None:
    with openpi_server(openpi) as client, pytest.raises(ServerError, match="KeyError: 'prompt'"):
        client.infer({STATE: np.zeros(3)})
