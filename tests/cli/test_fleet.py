import http.client
import os
import re
import signal
import subprocess
import sys

import pytest

from waldo.cli.fleet import Fleet
from waldo.cli.main import main
from waldo.errors import ConfigError
from waldo.web.addresses import network_address
from waldo.web.listening import listen, url_of


def test_other_machines_need_a_token_or_a_terminal(monkeypatch) -> None:
    monkeypatch.delenv("WALDO_FLEET_TOKEN", raising=False)
    with pytest.raises(ConfigError) as caught:
        Fleet(host="0.0.0.0").require_login(shows_pins=False)
    assert str(caught.value) == (
        "--host 0.0.0.0 requires --token; pass --token SECRET, start it in a terminal, which shows a PIN, or listen on "
        "127.0.0.1"
    )
    Fleet(host="0.0.0.0").require_login(shows_pins=True)
    Fleet(host="0.0.0.0", token="s3cret").require_login(shows_pins=False)
    assert Fleet(host="0.0.0.0", token="s3cret").secret == "s3cret"
    monkeypatch.setenv("WALDO_FLEET_TOKEN", "from the environment")
    assert Fleet(host="0.0.0.0").secret == "from the environment"


def test_an_empty_token_is_rejected() -> None:
    with pytest.raises(ConfigError) as caught:
        Fleet(host="0.0.0.0", token="")
    assert str(caught.value) == "--token is '', expected one character or more"


def test_a_port_out_of_range() -> None:
    with pytest.raises(ConfigError) as caught:
        Fleet(port=70000)
    assert str(caught.value) == "--port is 70000, expected 0 to 65535"


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ConfigError) as caught:
        listen("192.0.2.1", 0)
    assert str(caught.value).startswith("--host is '192.0.2.1', expected an address of this machine (")


def test_a_port_in_use_is_one_line_and_exit_2(capsys) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["fleet", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"waldo: error: --port is {port}, expected a free port; stop the program that uses it or pass another port\n"
    )


def test_addresses_to_open() -> None:
    assert url_of("127.0.0.1", 8650) == "http://127.0.0.1:8650/"
    assert url_of("::1", 8650) == "http://[::1]:8650/"
    assert url_of("0.0.0.0", 8650, encrypted=True) == f"https://{network_address()}:8650/"


@pytest.mark.parametrize("hours", [0, -1, 0.002, float("nan")])
def test_robots_are_not_forgotten_before_they_are_stale(hours: float) -> None:
    with pytest.raises(ConfigError, match=r"^--forget-after-h is .*, expected more than 10 seconds, which are 0.003$"):
        Fleet(forget_after_h=hours)


def test_a_page_must_be_possible() -> None:
    with pytest.raises(ConfigError) as caught:
        Fleet(max_browsers=0)
    assert str(caught.value) == "--max-browsers is 0, expected a number from 1"


def test_the_token_is_not_printed(ros_domain) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "WALDO_FLEET_TOKEN": "s3cret"}
    command = [sys.executable, "-m", "waldo", "fleet", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.endswith("/; log in with the token  (Ctrl-C to stop)\n")
            connection = http.client.HTTPConnection("127.0.0.1", int(line.split(":")[-1].split("/")[0]), timeout=120)
            connection.request("GET", "/api/robots", headers={"Authorization": "Bearer s3cret"})
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGTERM)
            printed = line + process.stderr.read()
            assert "s3cret" not in printed
        finally:
            process.kill()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_while_a_stream_is_open(ros_domain, sig) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "waldo", "fleet", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.fullmatch(
                rf"fleet dashboard of ROS domain {ros_domain} on http://127.0.0.1:(\d+)/  \(Ctrl-C to stop\)\n", line
            )
            assert found, line
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=120)
            connection.request("GET", "/events")
            assert connection.getresponse().readline() == b"event: all\n"
            process.send_signal(sig)
            assert process.wait(timeout=120) == 0
            assert process.stderr.read() == ""
            connection.close()
        finally:
            process.kill()
