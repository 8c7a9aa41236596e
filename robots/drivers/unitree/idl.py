"""Unitree's DDS messages for Eclipse Cyclone DDS, with the types and field order of the robots.

Source: https://github.com/unitreerobotics/unitree_sdk2_python, unitree_sdk2py/idl. `unitree_hg` is used by G1 and
H1-2, `unitree_go` by Go2, B2 and H1. DDS matches topics by the names of types and fields, which are Unitree's.
"""

# No `from __future__ import annotations`: Cyclone DDS evaluates the annotations when the class is created.

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cyclonedds.idl.annotations as annotate
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float32, int16, int32, sequence, uint8, uint16, uint32

# Cyclone DDS creates its types at run time, which a type checker cannot evaluate.
if TYPE_CHECKING:
    type u8 = int
    type u16 = int
    type u32 = int
    type i16 = int
    type i32 = int
    type f32 = float
    type f32x3 = list[float]
    type f32x4 = list[float]
    type f32x12 = list[float]
    type i16x2 = list[int]
    type i16x4 = list[int]
    type u16x4 = list[int]
    type u16x15 = list[int]
    type u32x2 = list[int]
    type u32x3 = list[int]
    type u32x4 = list[int]
    type u8x2 = list[int]
    type u8x3 = list[int]
    type u8x12 = list[int]
    type u8x40 = list[int]
else:
    u8, u16, u32, i16, i32, f32 = uint8, uint16, uint32, int16, int32, float32
    f32x3 = array[float32, 3]
    f32x4 = array[float32, 4]
    f32x12 = array[float32, 12]
    i16x2 = array[int16, 2]
    i16x4 = array[int16, 4]
    u16x4 = array[uint16, 4]
    u16x15 = array[uint16, 15]
    u32x2 = array[uint32, 2]
    u32x3 = array[uint32, 3]
    u32x4 = array[uint32, 4]
    u8x2 = array[uint8, 2]
    u8x3 = array[uint8, 3]
    u8x12 = array[uint8, 12]
    u8x40 = array[uint8, 40]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HgMotorCmd(IdlStruct, typename="unitree_hg.msg.dds_.MotorCmd_"):
    """Command of one motor: torque = kp (q - position) + kd (dq - velocity) + tau."""

    mode: u8
    """1 enables the motor, 0 disables it."""
    q: f32
    dq: f32
    tau: f32
    kp: f32
    kd: f32
    reserve: u32


if TYPE_CHECKING:
    type HgMotorCmds = list[HgMotorCmd]
else:
    HgMotorCmds = array[HgMotorCmd, 35]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HgMotorState(IdlStruct, typename="unitree_hg.msg.dds_.MotorState_"):
    """State of one motor; the order of the two temperatures [°C] differs between Unitree's own sources."""

    mode: u8
    q: f32
    dq: f32
    ddq: f32
    tau_est: f32
    temperature: i16x2
    vol: f32
    sensor: u32x2
    motorstate: u32
    reserve: u32x4


if TYPE_CHECKING:
    type HgMotorStates = list[HgMotorState]
else:
    HgMotorStates = array[HgMotorState, 35]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HgImuState(IdlStruct, typename="unitree_hg.msg.dds_.IMUState_"):
    """State of the inertial measurement unit in the pelvis."""

    quaternion: f32x4
    gyroscope: f32x3
    accelerometer: f32x3
    rpy: f32x3
    temperature: i16


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HgLowCmd(IdlStruct, typename="unitree_hg.msg.dds_.LowCmd_"):
    """Topic rt/lowcmd of G1 and H1-2."""

    mode_pr: u8
    mode_machine: u8
    motor_cmd: HgMotorCmds
    reserve: u32x4
    crc: u32


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HgLowState(IdlStruct, typename="unitree_hg.msg.dds_.LowState_"):
    """Topic rt/lowstate of G1 and H1-2."""

    version: u32x2
    mode_pr: u8
    mode_machine: u8
    tick: u32
    imu_state: HgImuState
    motor_state: HgMotorStates
    wireless_remote: u8x40
    reserve: u32x4
    crc: u32


if TYPE_CHECKING:
    type HandMotorCmds = list[HgMotorCmd]
    type HandMotorStates = list[HgMotorState]
else:
    HandMotorCmds = sequence[HgMotorCmd]
    HandMotorStates = sequence[HgMotorState]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HandCmd(IdlStruct, typename="unitree_hg.msg.dds_.HandCmd_"):
    """Topics rt/dex3/left/cmd and rt/dex3/right/cmd."""

    motor_cmd: HandMotorCmds
    reserve: u32x4


@dataclass
@annotate.final
@annotate.autoid("sequential")
class PressSensorState(IdlStruct, typename="unitree_hg.msg.dds_.PressSensorState_"):
    """Pressures and temperatures [°C] of one sensor pad."""

    pressure: f32x12
    temperature: f32x12
    lost: u32
    reserve: u32


if TYPE_CHECKING:
    type PressSensorStates = list[PressSensorState]
else:
    PressSensorStates = sequence[PressSensorState]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class HandState(IdlStruct, typename="unitree_hg.msg.dds_.HandState_"):
    """Topics rt/dex3/left/state and rt/dex3/right/state."""

    motor_state: HandMotorStates
    press_sensor_state: PressSensorStates
    imu_state: HgImuState
    power_v: f32
    power_a: f32
    system_v: f32
    device_v: f32
    error: u32x2
    reserve: u32x2


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoMotorCmd(IdlStruct, typename="unitree_go.msg.dds_.MotorCmd_"):
    """Command of one motor."""

    mode: u8
    """1 enables the motor (field-oriented control), 0 disables it."""
    q: f32
    dq: f32
    tau: f32
    kp: f32
    kd: f32
    reserve: u32x3


if TYPE_CHECKING:
    type GoMotorCmds = list[GoMotorCmd]
else:
    GoMotorCmds = array[GoMotorCmd, 20]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoMotorState(IdlStruct, typename="unitree_go.msg.dds_.MotorState_"):
    """State of one motor, with one temperature [°C]."""

    mode: u8
    q: f32
    dq: f32
    ddq: f32
    tau_est: f32
    q_raw: f32
    dq_raw: f32
    ddq_raw: f32
    temperature: u8
    lost: u32
    reserve: u32x2


if TYPE_CHECKING:
    type GoMotorStates = list[GoMotorState]
else:
    GoMotorStates = array[GoMotorState, 20]


if TYPE_CHECKING:
    type GoMotorCmdList = list[GoMotorCmd]
    type GoMotorStateList = list[GoMotorState]
else:
    GoMotorCmdList = sequence[GoMotorCmd]
    GoMotorStateList = sequence[GoMotorState]


@dataclass
@annotate.final
@annotate.autoid("sequential")
class MotorCmds(IdlStruct, typename="unitree_go.msg.dds_.MotorCmds_"):
    """Topic rt/inspire/cmd: both hands."""

    cmds: GoMotorCmdList


@dataclass
@annotate.final
@annotate.autoid("sequential")
class MotorStates(IdlStruct, typename="unitree_go.msg.dds_.MotorStates_"):
    """Topic rt/inspire/state: both hands."""

    states: GoMotorStateList


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoImuState(IdlStruct, typename="unitree_go.msg.dds_.IMUState_"):
    """State of the inertial measurement unit in the body."""

    quaternion: f32x4
    gyroscope: f32x3
    accelerometer: f32x3
    rpy: f32x3
    temperature: u8


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoBmsState(IdlStruct, typename="unitree_go.msg.dds_.BmsState_"):
    """State of the battery."""

    version_high: u8
    version_low: u8
    status: u8
    soc: u8
    current: i32
    cycle: u16
    bq_ntc: u8x2
    mcu_ntc: u8x2
    cell_vol: u16x15


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoBmsCmd(IdlStruct, typename="unitree_go.msg.dds_.BmsCmd_"):
    """Command of the battery."""

    off: u8
    reserve: u8x3


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoLowCmd(IdlStruct, typename="unitree_go.msg.dds_.LowCmd_"):
    """Topic rt/lowcmd of Go2, B2 and H1."""

    head: u8x2
    level_flag: u8
    frame_reserve: u8
    sn: u32x2
    version: u32x2
    bandwidth: u16
    motor_cmd: GoMotorCmds
    bms_cmd: GoBmsCmd
    wireless_remote: u8x40
    led: u8x12
    fan: u8x2
    gpio: u8
    reserve: u32
    crc: u32


@dataclass
@annotate.final
@annotate.autoid("sequential")
class GoLowState(IdlStruct, typename="unitree_go.msg.dds_.LowState_"):
    """Topic rt/lowstate of Go2, B2 and H1."""

    head: u8x2
    level_flag: u8
    frame_reserve: u8
    sn: u32x2
    version: u32x2
    bandwidth: u16
    imu_state: GoImuState
    motor_state: GoMotorStates
    bms_state: GoBmsState
    foot_force: i16x4
    foot_force_est: i16x4
    tick: u32
    wireless_remote: u8x40
    bit_flag: u8
    adc_reel: f32
    temperature_ntc1: u8
    temperature_ntc2: u8
    power_v: f32
    power_a: f32
    fan_frequency: u16x4
    reserve: u32
    crc: u32
