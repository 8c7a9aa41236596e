"""Messages of the services of Unitree's robots: one request and one response type for all of them.

Source: https://github.com/unitreerobotics/unitree_sdk2_python, unitree_sdk2py/idl/unitree_api. DDS matches topics by
the names of types and fields, which are Unitree's.
"""

# No `from __future__ import annotations`: Cyclone DDS evaluates the annotations when the class is created.

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cyclonedds.idl.annotations as annotate
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import int32, int64, sequence, uint8

# Cyclone DDS creates its types at run time, which a type checker cannot evaluate.
if TYPE_CHECKING:
    type i32 = int
    type i64 = int
    type u8s = list[int]
else:
    i32, i64, u8s = int32, int64, sequence[uint8]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class Identity(IdlStruct, typename="unitree_api.msg.dds_.RequestIdentity_"):
    """Number of a request, and of the function that it calls."""

    id: i64
    api_id: i64


@dataclass
@annotate.final
@annotate.autoid("sequential")
class Lease(IdlStruct, typename="unitree_api.msg.dds_.RequestLease_"):
    """Lease of a service; 0 for none."""

    id: i64


@dataclass
@annotate.final
@annotate.autoid("sequential")
class Policy(IdlStruct, typename="unitree_api.msg.dds_.RequestPolicy_"):
    """Priority of a request, and whether it wants no response."""

    priority: i32
    noreply: bool


@dataclass
@annotate.final
@annotate.autoid("sequential")
class RequestHeader(IdlStruct, typename="unitree_api.msg.dds_.RequestHeader_"):
    """Header of a request."""

    identity: Identity
    lease: Lease
    policy: Policy


@dataclass
@annotate.final
@annotate.autoid("sequential")
class Request(IdlStruct, typename="unitree_api.msg.dds_.Request_"):
    """A request: a function's parameter as JSON."""

    header: RequestHeader
    parameter: str
    binary: u8s


@dataclass
@annotate.final
@annotate.autoid("sequential")
class Status(IdlStruct, typename="unitree_api.msg.dds_.ResponseStatus_"):
    """Result code of a request; 0 for success."""

    code: i32


@dataclass
@annotate.final
@annotate.autoid("sequential")
class ResponseHeader(IdlStruct, typename="unitree_api.msg.dds_.ResponseHeader_"):
    """Header of a response, with the identity of its request."""

    identity: Identity
    status: Status


@dataclass
@annotate.final
@annotate.autoid("sequential")
class Response(IdlStruct, typename="unitree_api.msg.dds_.Response_"):
    """A response: a function's result as JSON."""

    header: ResponseHeader
    data: str
    binary: u8s
