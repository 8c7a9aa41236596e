"""The console on a network: pairing, roles, revocation, and what is refused, over real TLS."""

from __future__ import annotations

import json
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.collect.console.console_bench import requests
from tests.collect.console.network_bench import request, states, station
from tests.collect.console.page_socket import PageSocket
from waldo.collect.console.view import STOP
from waldo.web.addresses import network_address
from waldo.web.pairing import MAX_WRONG
from waldo.web.roles import Role
from waldo.web.visits import REVOKED


def closed(page: Any) -> int:
    """Return the code with which the server closes a WebSocket."""
    with pytest.raises(ConnectionClosed) as caught:
        states(page, lambda _: False)
    assert caught.value.rcvd is not None
    return int(caught.value.rcvd.code)


def test_two_installations_have_different_certificates(tmp_path: Path) -> None:
    with station(tmp_path / "one") as one, station(tmp_path / "two") as two:
        assert one.browser().get("/").status_code == 401
        # The certificate of one is not accepted as that of the other.
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(two.url, verify=one.tls)


def test_plain_http_is_not_served(tmp_path: Path) -> None:
    with station(tmp_path) as found, pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(f"http://localhost:{found.console.port}/")


def test_a_browser_is_paired_by_a_pin(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        browser = found.browser()
        form = browser.get("/")
        assert form.status_code == 401
        assert '<form id="pair" method="post" action="pair" >' in form.text
        assert 'action="login" hidden>' in form.text
        pin = found.pairing.offer(Role.OPERATE)
        answer = browser.post("/pair", data={"pin": pin, "name": "Quest of Ada"})
        assert (answer.status_code, answer.headers["location"]) == (303, "./")
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        assert cookie.startswith("__Host-waldo_console_")
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(attributes)
        assert browser.get("/").status_code == 200
        with found.open(browser) as page:
            state = states(page, lambda _: True)
            assert (state["role"], state["rights"]) == ("operator", "operate")
            request(page, "start")
            assert requests(found.console, 1) == ["start"]
        entry = found.logged(event="request", request="start")
        assert (entry["name"], entry["address"], entry["role"]) == ("Quest of Ada", "127.0.0.1", "operate")
        everything = "".join(one.read_text() for one in tmp_path.iterdir())
        assert pin not in everything
        assert cookie.partition("=")[2] not in everything
        assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_a_paired_browser_stays_paired_when_the_server_restarts(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        browser = found.pair(Role.OPERATE)
        print_before = found.security.certificate.fingerprint()
    with station(tmp_path) as found:
        assert found.security.certificate.fingerprint() == print_before
        assert found.browser(cookies=browser.cookies).get("/").status_code == 200


@pytest.mark.parametrize("given", ["00000000", "", "x" * 5000, "%ff", "\N{ARABIC-INDIC DIGIT ONE}" * 8])
def test_a_wrong_pin_is_refused(tmp_path: Path, given: str) -> None:
    with station(tmp_path) as found:
        browser = found.browser()
        found.pairing.offer(Role.OPERATE)
        answer = browser.post("/pair", data={"pin": given, "name": "x"})
        assert answer.status_code == 401
        assert "This PIN is not valid; get another one where the server runs." in answer.text
        assert "set-cookie" not in answer.headers
        assert browser.get("/page.js").status_code == 401
        found.logged(event="refused", reason="wrong PIN", address="127.0.0.1")


def test_a_replayed_pairing_is_refused(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        first, second = found.browser(), found.browser()
        form = {"pin": found.pairing.offer(Role.OPERATE), "name": "Quest"}
        assert first.post("/pair", data=form).status_code == 303
        answer = second.post("/pair", data=form)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert len(found.security.paired.all()) == 1


def test_brute_force_is_locked_out(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        browser = found.browser()
        pin = found.pairing.offer(Role.OPERATE)
        wrong = str((int(pin) + 1) % 10**8).zfill(8)
        codes = [browser.post("/pair", data={"pin": wrong}).status_code for _ in range(MAX_WRONG + 3)]
        assert codes[0] == 401
        assert 429 in codes
        answer = browser.post("/pair", data={"pin": pin})
        assert (answer.status_code, "set-cookie" in answer.headers) == (429, False)
        assert int(answer.headers["retry-after"]) >= 0
        found.logged(event="refused", reason="too many attempts")


def test_the_token_of_programs_works_beside_pins(tmp_path: Path) -> None:
    with station(tmp_path, token="s3cret") as found:
        browser = found.browser()
        assert browser.get("/", headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert browser.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert browser.get("/?token=s3cret").status_code == 401
        answer = browser.post("/login", data={"token": "s3cret"})
        assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
        assert browser.get("/").status_code == 200
        assert (
            httpx.post(f"{found.url}/stop", headers={"Authorization": "Bearer s3cret"}, verify=found.tls).text
            == "stopped\n"
        )
        assert requests(found.console, 1) == [STOP]
        assert "s3cret" not in (tmp_path / "audit.log").read_text()


def test_a_watcher_looks_and_stops_and_nothing_else(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        watcher = found.pair(Role.WATCH, "phone")
        with found.open(watcher) as page, found.open(watcher, "/stop") as line:
            state = states(page, lambda _: True)
            # Although it is the first page.
            assert (state["role"], state["operator"], state["rights"]) == ("watcher", "", "watch")
            for message in ("start", "enable", "save"):
                request(page, message)
                reply = states(page, lambda one: bool(one["replies"]))["replies"][0]
                assert reply == "this browser is paired to watch; pair it again to operate"
            for force in (False, True):
                page.send(json.dumps({"kind": "take_control", "force": force}))
                states(page, lambda one: bool(one["replies"]))
            assert states(page, lambda _: True)["operator"] == ""
            assert found.console.view.take_requests() == []
            line.send("stop")
            assert json.loads(line.recv(60)) == {"kind": "stopped"}
            assert found.console.view.take_requests() == [STOP]
            request(page, STOP)
            assert requests(found.console, 1) == [STOP]
            assert watcher.post("/stop").status_code == 200
            assert requests(found.console, 1) == [STOP]
            assert watcher.get("/browsers").status_code == 403
            assert watcher.delete("/browsers/00").status_code == 403
        found.logged(event="refused", name="phone", path="/session")


def test_an_operator_does_not_administer(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        operator, other = found.pair(Role.OPERATE), found.pair(Role.OPERATE, "other")
        (browser,) = [one.browser for one in found.security.paired.all() if one.name == "other"]
        assert operator.get("/browsers/list").status_code == 403
        assert operator.delete(f"/browsers/{browser}").status_code == 403
        assert other.get("/").status_code == 200
        with found.open(operator) as first, found.open(other) as second:
            states(second, lambda one: one["role"] == "watcher")
            second.send(json.dumps({"kind": "take_control", "force": True}))
            reply = states(second, lambda one: bool(one["replies"]))["replies"][0]
            assert reply == "only an administrator may take control by force"
            assert states(first, lambda _: True)["role"] == "operator"


def test_an_administrator_takes_control_and_revokes_a_browser_which_is_cut_at_once(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        operator, administrator = found.pair(Role.OPERATE, "Quest"), found.pair(Role.ADMINISTER, "desk")
        with found.open(operator) as page, found.open(operator, "/stop") as line, found.open(administrator) as own:
            states(page, lambda one: one["role"] == "operator")
            own.send(json.dumps({"kind": "take_control", "force": True}))
            states(own, lambda one: one["role"] == "operator")
            states(page, lambda one: one["operator"] == "desk (127.0.0.1)")
            listed = {one["name"]: one for one in administrator.get("/browsers/list").json()}
            assert (listed["Quest"]["role"], listed["Quest"]["connected"]) == ("operate", True)
            assert listed["desk"]["is_this"]
            assert administrator.delete(f"/browsers/{listed['Quest']['browser']}").status_code == 204
            assert closed(page) == REVOKED
            assert closed(line) == REVOKED
            assert states(own, lambda _: True)["role"] == "operator"
        assert operator.get("/").status_code == 401
        with pytest.raises(InvalidStatus), found.open(operator):
            pass
        assert administrator.delete(f"/browsers/{listed['Quest']['browser']}").status_code == 404
        found.logged(event="revoked", name="desk", revoked_name="Quest")
        found.logged(event="control", control="forced", name="desk")


def test_pairing_again_replaces_the_former_pairing(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        browser = found.pair(Role.WATCH)
        former = dict(browser.cookies)
        with found.open(browser) as page:
            states(page, lambda _: True)
            browser.post("/pair", data={"pin": found.pairing.offer(Role.OPERATE), "name": "Quest"})
            assert closed(page) == REVOKED
        assert [one.role for one in found.security.paired.all()] == [Role.OPERATE]
        assert found.browser(cookies=former).get("/").status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:{port}", "https://localhost:1"])
def test_other_pages_can_neither_open_a_socket_nor_change_anything(tmp_path: Path, origin: str) -> None:
    with station(tmp_path) as found:
        browser, origin = found.pair(Role.ADMINISTER), origin.format(port=found.console.port)
        for path in ("/session", "/stop"):
            with pytest.raises(InvalidStatus) as error, found.open(browser, path, Origin=origin):
                pass
            assert error.value.response.status_code == 403
        for path in ("/stop", "/pair", "/login"):
            assert browser.post(path, headers={"Origin": origin}).status_code == 403
        assert browser.delete("/browsers/00", headers={"Origin": origin}).status_code == 403
        assert found.console.view.take_requests() == []
        assert browser.post("/stop", headers={"Origin": found.url}).status_code == 200
        found.logged(event="refused", reason="sent by another page", path="/session")


@pytest.mark.parametrize("host", ["evil.example", "192.0.2.1", "localhost.evil.example", ""])
def test_a_name_that_resolves_to_this_machine_is_refused(tmp_path: Path, host: str) -> None:
    """DNS rebinding on the network: a page of another site reads the console through a paired browser."""
    with station(tmp_path, names=("robots.example",)) as found:
        browser = found.pair(Role.ADMINISTER)
        assert browser.get("/", headers={"Host": host}).status_code == 421
        assert browser.get("/", headers={"Host": f"Robots.example:{found.console.port}"}).status_code == 200
        assert browser.get("/", headers={"Host": network_address()}).status_code == 200
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        tls = found.tls
        tls.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", found.console.port)) as line,
            pytest.raises(InvalidStatus),
            PageSocket(
                "wss://evil.example/session",
                sock=line,
                ssl=tls,
                origin="https://evil.example",  # type: ignore[arg-type]
                additional_headers={"Cookie": cookies},
            ),
        ):
            pass


def test_without_a_cookie_every_route_is_refused(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        browser = found.browser()
        for path in ("/", "/page.js", "/browsers", "/browsers/list", "/browsers.js", "/healthz", "/nothing"):
            assert browser.get(path).status_code == 401, path
        for path in ("/style.css", "/icon.svg", "/pair.js", "/login.css"):
            assert browser.get(path).status_code == 200, path
        assert browser.post("/stop").status_code == 401
        for path in ("/session", "/stop"):
            with pytest.raises(InvalidStatus), found.open(None, path):
                pass
        assert found.console.view.take_requests() == []
        for cookie in ("x", "00" * 32):
            browser.cookies.set("__Host-waldo_console_8652", cookie)
            assert browser.get("/").status_code == 401


def test_the_security_headers_are_strict(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        browser = found.pair(Role.ADMINISTER)
        for path in ("/", "/pair.js", "/browsers", "/browsers.js", "/browsers/list", "/stop.js"):
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["referrer-policy"] == "same-origin"


def test_a_renewed_certificate_reaches_new_connections_of_a_running_server(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        before = ssl.get_server_certificate(("localhost", found.console.port))
        certificate = found.security.certificate
        certificate.hosts.names.append("new.example")
        assert certificate.renew()
        assert ssl.get_server_certificate(("localhost", found.console.port)) != before


def test_an_http_client_without_tls_does_not_hold_a_connection(tmp_path: Path) -> None:
    with station(tmp_path) as found:
        with socket.create_connection(("localhost", found.console.port), timeout=60) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP" not in b"".join(iter(lambda: line.recv(4096), b""))
        assert found.browser().get("/").status_code == 401
