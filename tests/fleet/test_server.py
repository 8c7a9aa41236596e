import json

import pytest

from waldo.fleet.server import PAGE_FILES, Site, page_file
from waldo.fleet.store import FleetStore

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
        assert answer.headers["Referrer-Policy"] == "no-referrer"
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
    running = run_site(Site(store=store, clock=clock, token="s3 crét", loopback=False))
    for route in [*ROUTES, "/nothing/here"]:
        for answer in (
            running.request(route),
            running.request(route + "?token=wrong"),
            running.request(route, Authorization="Bearer wrong"),
            running.request(route + "?token="),
        ):
            assert answer.status == 401, route
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.read().decode() == (
                "no valid token; open /?token=TOKEN or send the header Authorization: Bearer TOKEN\n"
            )


def test_the_token_is_accepted_in_the_query_and_in_the_header(run_site, store, clock) -> None:
    running = run_site(Site(store=store, clock=clock, token="s3cret&more", loopback=False))
    for route in ROUTES:
        assert running.request(route + "?token=s3cret%26more").status == 200, route
        assert running.request(route, Authorization="Bearer s3cret&more").status == 200, route


def test_links_of_the_page_carry_the_token() -> None:
    assert 'src="page.js?token=x"' in page_file("index.html", "?token=x")
    assert 'src="page.js"' in page_file("index.html", "")
    for name in ("index.html", *(path.lstrip("/") for path in PAGE_FILES)):
        assert "{query}" not in page_file(name, "")


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
