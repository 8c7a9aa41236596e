"""`waldo fleet`: the dashboard of the robots on this network."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

from waldo.errors import InvalidValueError
from waldo.web.listening import listen, url_of
from waldo.web.options import WebOptions


@dataclass(frozen=True, kw_only=True)
class Fleet(WebOptions):
    """Serve a dashboard of the robots on this network: motor heat, time to limit, faults; metrics for Prometheus.

    Robots are discovered automatically: every publisher of diagnostic_msgs/DiagnosticArray on a topic named `motors` in
    the same ROS_DOMAIN_ID. Several robots of one kind need different names: waldo robot so101 --namespace hall2/arm1.
    The token protects this dashboard, not the robots: see docs/guide/securing-dds.md.
    """

    APPLICATION: ClassVar[str] = "fleet"
    """Name of the application, in its cookies and files."""
    TOKEN_VARIABLE: ClassVar[str] = "WALDO_FLEET_TOKEN"
    """Environment variable with the token, which keeps it out of the process list."""

    port: int = 8650
    """Port to listen on; 0 selects a free port."""
    site: str = ""
    """Location of the robots, the label `site` of the metrics."""
    forget_after_h: float = 24.0
    """Hours without a message after which a robot is forgotten; inf for never."""
    max_browsers: int = 1000
    """Maximum number of open pages; further ones receive 503."""

    def __post_init__(self) -> None:
        """Validate the options."""
        from waldo.fleet.store import STALE_S

        super().__post_init__()
        if not self.forget_after_h * 3600 > STALE_S:
            raise InvalidValueError("--forget-after-h", self.forget_after_h, "more than 10 seconds, which are 0.003")
        if self.max_browsers < 1:
            raise InvalidValueError("--max-browsers", self.max_browsers, "a number from 1")

    def run(self) -> int:
        """Serve until Ctrl-C."""
        from waldo.console import err
        from waldo.fleet.listener import Listener
        from waldo.fleet.server import Site, serve
        from waldo.fleet.store import FleetStore
        from waldo.ros import check_domain
        from waldo.web.pairing_display import PairingDisplay, pair_by_lines, shows_pins

        self.require_login(shows_pins=shows_pins())
        check_domain()
        store = FleetStore(forget_s=3600 * self.forget_after_h)
        with listen(self.host, self.port) as listening, Listener(store) as listener:
            port = listening.getsockname()[1]
            security = self.security(port)
            site = Site(
                store=store,
                error=lambda: listener.error,
                security=security,
                name=self.site,
                max_browsers=self.max_browsers,
            )
            address = url_of(self.host, port, encrypted=security.certificate is not None)
            domain = os.environ.get("ROS_DOMAIN_ID") or "0"
            login = "" if self.secret is None else "; log in with the token"
            err().print(f"fleet dashboard of ROS domain {domain} on {address}{login}  (Ctrl-C to stop)", markup=False)
            display = PairingDisplay(security, address)
            display.show_certificate()
            pair_by_lines(display)
            with closing(security.audit):
                serve(site, listening)
        return 0
