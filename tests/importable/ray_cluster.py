"""Ray with a start-up that takes as long as it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def without_startup_deadline() -> Iterator[None]:
    """Remove Ray's deadline for the start of a new node, for the duration of the block.

    Ray raises an exception if a new node has not registered after 30 s, a constant in `Node.__init__`. A busy machine
    takes longer. Here the query for the node waits until it is registered instead of failing, so only the timeout of
    the test itself applies.
    """
    from ray._private import services

    get_node = services.get_node

    def wait_for_node(*args: Any, **options: Any) -> Any:
        while True:
            try:
                return get_node(*args, **options)
            except RuntimeError:  # not registered yet
                time.sleep(0.1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "get_node", wait_for_node)
        yield
