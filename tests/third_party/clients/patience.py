"""What a client script needs on a busy machine, which may schedule the emulated hardware late."""

import time


def patiently(call, *arguments, attempts=20):
    """Call until there is no error."""
    for attempt in range(attempts):
        try:
            return call(*arguments)
        except Exception:
            if attempt == attempts - 1:
                raise


def until(condition, timeout_s=60):
    """Wait until a condition is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)
