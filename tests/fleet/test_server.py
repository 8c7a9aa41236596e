import http.client
import json

import pytest

from waldo.fleet.server import PAGE_FILES, Site
from waldo.fleet.store import FleetStore
from waldo.web.access import OPEN_PATHS
from waldo.web.security import Security


def secured(token: str) -> Security:
    """Return the access rules of a dashboard on the network."""
    return Security(application="fleet", token=token, loopback=False)


ROUTES = ["/", *PAGE_FILES, "/api/robots", "/events", "/metrics", "/healthz"]


@pytest.fixture
def store(motor, clock) -> FleetStore:
    store = FleetStore()
    store.add_motors("arm", {"elbow": motor(winding_celsius=41.5, limit_celsius=70)}, clock())
    return store


def next_event(response) -> tuple[str, dict]:
    name = response.readline().decode().removeprefix("event: ").strip()
    data = json.loads(response.readline().decode().removeprefix("data: "))
    assert response.readline() == b"\n"
    return name, data


def test_every_route_has_the_security_headers(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock))
    for route in ROUTES:
        answer = running.request(route)
        assert answer.status == 200, route
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"


def test_robots_as_json_and_as_metrics(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, epoch=lambda: 77.0))
    assert json.loads(running.text("/api/robots"))["robots"][0]["motors"][0]["winding_celsius"] == 41.5
    assert 'waldo_joint_temperature_celsius{joint="elbow",node="winding",robot="arm"} 41.5' in (
        running.text("/metrics")
    )


def test_the_stream_starts_with_the_whole_fleet_and_continues_with_changes(run_site, store, clock, motor) -> None:
    running = run_site(Site(store=store, clock=clock))
    response = running.request("/events")
    assert response.headers["Content-Type"].startswith("text/event-stream")
    name, data = next_event(response)
    assert name == "all"
    assert data["robots"][0]["motors"][0]["history"] == [[1000.0, 41.5, None]]
    store.add_motors("second", {"wrist": motor(winding_celsius=30)}, clock())
    while True:
        name, data = next_event(response)
        assert name == "update"
        if data["robots"]:
            break
    assert [robot["name"] for robot in data["robots"]] == ["second"]
    assert data["order"] == ["arm", "second"]
    clock.now_s += 11
    while not data["stale"]:
        name, data = next_event(response)
    assert data["stale"] == ["arm", "second"]


def test_the_error_of_the_listener_is_reported_by_health_and_json(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, error=lambda: "RCLError: no DDS"))
    assert running.request("/healthz").status == 503
    assert running.text("/healthz") == "RCLError: no DDS\n"
    assert json.loads(running.text("/api/robots"))["error"] == "RCLError: no DDS"


def test_without_the_token_every_route_is_rejected(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, security=secured("s3 crét")))
    for route in [*(one for one in ROUTES if one not in OPEN_PATHS), "/api/robots/arm", "/nothing/here"]:
        for answer in (
            running.request(route),
            running.request(route + "?token=s3+cr%C3%A9t"),
            running.request(route, Authorization="Bearer wrong"),
            running.request(route, Cookie="waldo_fleet=wrong"),
            running.request(route + "?token="),
        ):
            assert answer.status == 401, route
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.read().decode() == (
                "no valid token; send the header Authorization: Bearer TOKEN, or open / in a browser\n"
            )


def test_the_token_is_accepted_in_the_header(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, security=secured("s3cret&more")))
    for route in ROUTES:
        assert running.request(route, Authorization="Bearer s3cret&more").status == 200, route


def log_in(running, content: str) -> http.client.HTTPResponse:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    return running.send("POST", "/login", content, **headers)


def test_the_login_form_gives_a_cookie_that_opens_every_route(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, security=secured("s3cret&more")))
    form = running.request("/", Accept="text/html")
    assert form.status == 401
    text = form.read().decode()
    assert '<form method="post" action="login" >' in text
    assert 'action="pair" hidden>' in text
    answer = log_in(running, "token=s3cret%26more")
    assert (answer.status, answer.headers["Location"]) == (303, "./")
    cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict"} <= set(attributes)
    assert "s3cret" not in answer.headers["Set-Cookie"]
    for route in ROUTES:
        assert running.request(route, Cookie=f"other=1; {cookie}").status == 200, route
    other = run_site(Site(store=store, clock=clock, security=secured("another")))
    assert other.request("/api/robots", Cookie=cookie).status == 401


@pytest.mark.parametrize("content", ["token=wrong", "", "token=s3cret" + 5000 * "x", "%ff=%ff", "x" * 100_000])
def test_a_wrong_login_shows_the_form_again(run_site, store, clock, content: str) -> None:
    running = run_site(Site(store=store, clock=clock, security=secured("s3cret")))
    answer = log_in(running, content)
    assert answer.status == 401
    assert answer.headers["Set-Cookie"] is None
    assert "This is not the token." in answer.read().decode()


def test_no_file_of_the_page_contains_the_token(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, security=secured("s3cret")))
    for route in [one for one in ROUTES if one != "/events"]:
        assert "s3cret" not in running.text(route, Authorization="Bearer s3cret"), route


def test_a_stale_robot_can_be_forgotten(run_site, store, clock, motor) -> None:
    running = run_site(Site(store=store, clock=clock, security=secured("s3cret")))
    store.add_motors("hall 2/arm?", {"elbow": motor()}, clock())

    def forget(path: str, token: str = "s3cret") -> tuple[int, str]:
        answer = running.send("DELETE", f"/api/robots/{path}", Authorization=f"Bearer {token}")
        return answer.status, answer.read().decode()

    assert forget("arm") == (409, "arm is not stale; stop its robot node first\n")
    clock.now_s += 11
    assert forget("arm", token="wrong")[0] == 401
    assert forget("leg") == (404, "no robot leg; /api/robots lists them\n")
    assert forget("hall%202%2Farm%3F") == (204, "")
    assert [robot.name for robot in store.robots(clock())] == ["arm"]


def test_streams_beyond_the_maximum_receive_503(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, max_browsers=2))
    for _ in range(2):
        next_event(running.request("/events"))
    answer = running.request("/events")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert answer.read().decode() == ("the maximum of open pages is reached (2); close one, or raise --max-browsers\n")
    assert running.request("/healthz").status == 200


def test_on_the_loopback_another_host_name_is_rejected(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock))
    answer = running.request("/api/robots", Host="evil.example:8650")
    assert answer.status == 421
    assert answer.read().decode() == (
        "Host header is 'evil.example', expected this machine; open http://localhost instead\n"
    )
    assert running.request("/api/robots", Host="localhost:8650").status == 200


def test_the_server_stops_while_a_stream_is_open(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock))
    response = running.request("/events")
    next_event(response)
    running.server.stop()
    running.thread.join(timeout=120)
    assert not running.thread.is_alive()
