"""servolab refuses two servos that answer to the same id; argument: the port."""

import sys

from servolab.bus import Bus
from servolab.errors import DuplicateIdError
from servolab.ports import feetech_port

feetech_port.NORMAL_TIMEOUT_MS = 3000
bus = Bus(feetech_port.FeetechPort(sys.argv[1]))
found = None
for _ in range(20):
    try:
        assert bus.scan(range(1, 2)) == []  # no answer in time
    except DuplicateIdError as error:
        found = str(error)
        break
assert found is not None, "two servos with one id were not noticed"
assert "1" in found
