import ctypes
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.machine import needs_linux
from waldo.checks import devices, graphics, machine, network, software, storage
from waldo.checks.finding import Finding, Probe, absent, fail, last_line, ok, run_probe, warn
from waldo.cli.doctor import Doctor, run_checks, summary_of, table_of

MB, GB = 1 << 20, 1 << 30


def state(finding: Finding) -> str:
    """Return a finding's state; errors and warnings name a fix, other findings do not."""
    assert bool(finding.fix) == (finding.state in ("WARN", "FAIL"))
    assert "\n" not in finding.found + finding.fix
    return finding.state


# software


def test_python_is_3_12_or_nothing() -> None:
    assert state(software.judge_python((3, 12), "3.12.4")) == "OK"
    found = software.judge_python((3, 13), "3.13.1")
    assert (state(found), found.found) == ("FAIL", "3.13.1, expected 3.12")


def test_an_extra_is_whole_or_absent_or_broken() -> None:
    assert state(software.judge_extra("train", lambda _: True)) == "OK"
    nothing = software.judge_extra("train", lambda _: False)
    assert (state(nothing), nothing.found) == (
        "absent",
        "not installed; to install it: uv sync --inexact --extra train",
    )
    # The modules of `sim` do not show that `train` was requested.
    assert state(software.judge_extra("train", lambda m: m in software.EXTRAS["sim"])) == "absent"
    part = software.judge_extra("train", lambda m: m != "xgrammar")
    assert (state(part), part.found) == ("FAIL", "partly installed, missing xgrammar")
    assert part.fix == "uv sync --inexact --extra train"


def test_ros_messages_that_uv_removed_need_a_fresh_environment() -> None:
    found = software.judge_extra("collect", lambda m: m not in ("sensor_msgs", "std_srvs"))
    assert (state(found), found.found) == ("FAIL", "partly installed, missing sensor_msgs, std_srvs")
    assert found.fix == software.ROS_FIX
    found = software.judge_ros_import("", "ModuleNotFoundError: No module named 'rpyutils'", 1)
    assert (state(found), found.fix) == ("FAIL", software.ROS_FIX)
    assert found.found == "cannot be imported (ModuleNotFoundError: No module named 'rpyutils')"
    assert software.judge_ros_import("", "", -11).found == "cannot be imported (the process crashed)"


def test_a_middleware_that_is_not_there_is_named_as_the_cause() -> None:
    trouble = "[ERROR] [rcl]: Expected RMW implementation identifier of 'rmw_x' but instead found 'rmw_fastrtps_cpp'"
    for found in (software.judge_ros_import("", trouble, 1), network.judge_message("", trouble, 1)):
        assert (state(found), found.fix) == ("FAIL", software.RMW_FIX)


def test_video() -> None:
    assert state(software.judge_h264("libx264 encodes", "", 0)) == "OK"
    assert state(software.judge_h264("", "UnknownCodecError: libx264", 1)) == "FAIL"


# graphics


def probe(returncode: int | None, output: str = "", trouble: str = "") -> Probe:
    return Probe(returncode=returncode, output=output, trouble=trouble)


def test_the_first_back_end_that_draws_is_enough() -> None:
    found = graphics.judge_graphics({"egl": probe(0, "llvmpipe")}, "")
    assert (state(found), found.found) == ("OK", "egl renders with llvmpipe")
    found = graphics.judge_graphics({"egl": probe(1, "", "no display"), "osmesa": probe(0, "softpipe")}, "")
    assert (state(found), found.found) == ("OK", "osmesa renders with softpipe")


def test_no_back_end_names_the_packages() -> None:
    found = graphics.judge_graphics({"egl": probe(-11), "osmesa": probe(1, "", "no libOSMesa")}, "")
    assert state(found) == "FAIL"
    assert found.found == "cannot render without a display (egl: crashed; osmesa: no libOSMesa)"
    assert found.fix == "apt-get install libegl1 libgl1-mesa-dri  (or libosmesa6)"


@pytest.mark.parametrize(
    "judged",
    [
        graphics.judge_graphics({"egl": probe(None, "", "no result after 6 s")}, ""),
        graphics.judge_graphics({"egl": probe(None, "", "no result after 6 s"), "osmesa": probe(1)}, "egl"),
        software.judge_ros_import("", "no result after 6 s", None),
        software.judge_h264("", "no result after 6 s", None),
        network.judge_message("", "no result after 6 s", None),
    ],
)
def test_a_probe_that_times_out_is_a_warning_since_the_machine_may_be_busy(judged: Finding) -> None:
    assert (judged.state, judged.found) == ("WARN", "no result after 6 s: the machine is busy, or this part hangs")


def test_a_back_end_that_the_user_chose_must_work() -> None:
    found = graphics.judge_graphics({"glfw": probe(1, "", "no DISPLAY"), "egl": probe(0, "llvmpipe")}, "glfw")
    assert (state(found), found.found) == ("FAIL", "MUJOCO_GL=glfw cannot render (no DISPLAY)")
    assert found.fix == "unset MUJOCO_GL: egl works"


def test_drawing_on_the_processor_beside_a_gpu_is_a_warning() -> None:
    drawn = ok("graphics", "egl renders with llvmpipe (LLVM 15)")
    assert state(graphics.judge_software_rendering(drawn, gpu=True)) == "WARN"
    assert graphics.judge_software_rendering(drawn, gpu=False) is drawn


# network

PROFILE = """<?xml version="1.0"?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"><profiles><transport_descriptors>
<transport_descriptor><transport_id>u</transport_id><type>UDPv4</type></transport_descriptor>
{}</transport_descriptors></profiles></dds>"""
SHM = "<transport_descriptor><transport_id>s</transport_id><type>SHM</type>{}</transport_descriptor>"


def test_waldos_profile_has_the_documented_segment() -> None:
    assert (
        network.segment_size((Path(network.__file__).parents[1] / "ros" / "fastdds.xml").read_text())
        == network.WALDO_SEGMENT
    )
    assert state(network.judge_profile({})) == "OK"


@pytest.mark.parametrize(
    ("transports", "expected"),
    [
        (SHM.format("<segment_size>67108864</segment_size>"), "OK"),
        (SHM.format("<segment_size>1048576</segment_size>"), "WARN"),
        (SHM.format(""), "WARN"),
        ("", "WARN"),
        (SHM.format("<segment_size>big</segment_size>"), "FAIL"),
    ],
)
def test_a_users_profile(tmp_path: Path, transports: str, expected: str) -> None:
    path = tmp_path / "profile.xml"
    path.write_text(PROFILE.format(transports))
    assert state(network.judge_profile({"FASTRTPS_DEFAULT_PROFILES_FILE": str(path)})) == expected


def test_a_profile_that_is_not_there_or_no_xml(tmp_path: Path) -> None:
    path = tmp_path / "profile.xml"
    found = network.judge_profile({"FASTDDS_DEFAULT_PROFILES_FILE": str(path)})
    assert (state(found), found.found) == ("FAIL", f"{path} cannot be read (No such file or directory)")
    path.write_text("segment_size: 64 MB")
    assert state(network.judge_profile({"FASTDDS_DEFAULT_PROFILES_FILE": str(path)})) == "FAIL"


def test_transports_that_the_user_chose_are_his() -> None:
    assert state(network.judge_profile({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"})) == "OK"


def test_shared_memory() -> None:
    assert state(network.judge_shared_memory(8 * GB, 8 * GB)) == "OK"
    assert state(network.judge_shared_memory(128 * MB, 128 * MB)) == "WARN"
    found = network.judge_shared_memory(64 * MB, 60 * MB)
    assert (state(found), found.found) == ("FAIL", "/dev/shm 60 MB free of 64 MB, each process needs 64 MB")


def test_middleware_and_domain() -> None:
    assert state(network.judge_rmw("")) == state(network.judge_rmw("rmw_fastrtps_cpp")) == "OK"
    assert state(network.judge_rmw("rmw_cyclonedds_cpp")) == "WARN"
    expected = {"": "OK", "0": "OK", "101": "OK", "102": "WARN", "214": "WARN", "215": "OK", "232": "OK"}
    expected |= {"233": "FAIL", "-1": "FAIL", "lab": "FAIL", "٣": "FAIL"}
    assert {text: state(network.judge_domain(text)) for text in expected} == expected


def test_message() -> None:
    assert state(network.judge_message("3 images", "", 0)) == "OK"
    found = network.judge_message("", "0 of 3 received in 7 s", 1)
    assert (state(found), found.found) == (
        "FAIL",
        "an image was not received by another process (0 of 3 received in 7 s)",
    )


# devices


def test_absent_devices_are_not_an_error() -> None:
    assert state(devices.judge_cameras({})) == state(devices.judge_serial({}, [])) == "absent"


def test_devices_that_may_not_be_opened_name_the_group() -> None:
    cameras = devices.judge_cameras({"/dev/video0": ("C920", False), "/dev/video2": ("Wrist", True)})
    assert (state(cameras), cameras.fix) == ("FAIL", "sudo usermod -aG video $USER, then log in again")
    assert cameras.found == "/dev/video0 cannot be opened by this user"
    ports = devices.judge_serial({"/dev/ttyACM0": False}, [])
    assert (state(ports), ports.fix) == ("FAIL", "sudo usermod -aG dialout $USER, then log in again")


def test_devices_are_named() -> None:
    assert devices.judge_cameras({"/dev/video0": ("C920", True)}).found == "/dev/video0 C920"
    assert devices.judge_serial({"/dev/ttyACM0": True}, []).found == "/dev/ttyACM0"
    assert devices.judge_serial({"/dev/ttyACM0": True}, ["/dev/serial/by-id/usb-1a86"]).found == (
        "/dev/serial/by-id/usb-1a86"
    )


def test_metadata_nodes_are_not_cameras(tmp_path: Path) -> None:
    for node, index in (("video0", "0"), ("video1", "1"), ("video10", "0")):
        (tmp_path / node).touch()
        (tmp_path / "sys" / node).mkdir(parents=True)
        (tmp_path / "sys" / node / "index").write_text(f"{index}\n")
        (tmp_path / "sys" / node / "name").write_text(f"camera {node}\n")
    found = devices.list_cameras(tmp_path, tmp_path / "sys")
    assert found == {
        str(tmp_path / "video0"): ("camera video0", True),
        str(tmp_path / "video10"): ("camera video10", True),
    }


# storage


def test_disk_speed() -> None:
    assert state(storage.judge_speed(400e6, 0.01, "/data")) == "OK"
    assert state(storage.judge_speed(400e6, 1.5, "/data")) == "WARN"
    assert state(storage.judge_speed(10e6, 0.01, "/data")) == "WARN"
    found = storage.judge_speed(1e6, 0.5, "/data")
    assert (state(found), found.found) == (
        "FAIL",
        "/data: 1 MB/s synced, slowest write 500 ms; recording needs 1.5 MB/s and a margin",
    )


def test_disk_space_in_minutes_of_recording() -> None:
    found = storage.judge_space(90_000_000_000, "/data")
    assert (state(found), found.found) == (
        "OK",
        "/data: 90.0 GB free, about 1000 minutes of recording with three cameras",
    )
    assert state(storage.judge_space(9_000_000_000, "/data")) == "WARN"
    assert state(storage.judge_space(100_000_000, "/data")) == "FAIL"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (found,) = storage.check_disk(tmp_path / "none")
    assert (state(found), found.found) == ("FAIL", f"{tmp_path / 'none'} is not a folder")


def test_a_measured_folder_keeps_nothing(tmp_path: Path) -> None:
    speed, slowest = storage.measure(tmp_path)
    assert speed > 0
    assert slowest > 0
    assert list(tmp_path.iterdir()) == []


# machine


def test_clock() -> None:
    assert state(machine.judge_clock(True, 0.0)) == "OK"
    assert state(machine.judge_clock(False, 0.0)) == "WARN"
    assert state(machine.judge_clock(None, 0.0)) == "absent"
    found = machine.judge_clock(True, -0.25)
    assert (state(found), found.found) == (
        "WARN",
        "the clock jumped by -250 ms during the check: timestamps would jump too",
    )


@needs_linux
def test_the_flag_agrees_with_the_kernel() -> None:
    time_error = 5  # returned by adjtimex(2) for a clock that is not synchronized
    verdict = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    assert machine.kernel_synchronized() == (verdict != time_error)


def test_processors() -> None:
    assert state(machine.judge_processors(8, "", "")) == "OK"
    assert state(machine.judge_processors(1, "", "")) == "WARN"
    assert state(machine.judge_processors(8, "powersave", "intel_pstate")) == "OK"
    assert state(machine.judge_processors(8, "powersave", "acpi-cpufreq")) == "WARN"
    assert state(machine.judge_processors(8, "performance", "acpi-cpufreq")) == "OK"


def test_memory() -> None:
    assert [state(machine.judge_memory(size)) for size in (16 * GB, 2 * GB, GB // 2)] == ["OK", "WARN", "FAIL"]
    meminfo = "MemTotal: 16 kB\nMemAvailable:    8192 kB\n"
    assert machine.available_memory(meminfo, "", "") == 8192 * 1024
    assert machine.available_memory(meminfo, "max", "5") == 8192 * 1024
    assert machine.available_memory(meminfo, "1000", "400") == 600
    assert machine.available_memory("", "", "") is None


def test_gpu() -> None:
    assert state(machine.judge_gpu(None, True, None)) == "absent"
    assert state(machine.judge_gpu("RTX 4090", False, None)) == "OK"
    assert state(machine.judge_gpu("RTX 4090", True, "RTX 4090")) == "OK"
    found = machine.judge_gpu("RTX 4090", True, None, "driver too old")
    assert (state(found), found.found) == ("WARN", "RTX 4090, but torch does not find it (driver too old)")


# the doctor


def test_a_probe_may_crash_or_hang() -> None:
    crashed = run_probe("import os; os.abort()", timeout_s=30)
    assert crashed.returncode == -6
    failed = run_probe("raise ValueError('no lens')", timeout_s=30)
    assert (failed.returncode, failed.trouble) == (1, "ValueError: no lens")
    hung = run_probe("import time; time.sleep(600)", timeout_s=1.0)
    assert (hung.returncode, hung.trouble) == (None, "no result after 1 s")
    spoke = run_probe("import os, sys; print(sys.argv[1], os.environ['X'])", "a", timeout_s=30, environment={"X": "1"})
    assert spoke == Probe(returncode=0, output="a 1", trouble="")
    assert last_line("") == ""


def test_findings_keep_the_order_of_the_checks_and_broken_ones_are_findings() -> None:
    never = threading.Event()

    def broken() -> list[Finding]:
        raise KeyError("lens")

    def hanging() -> list[Finding]:
        never.wait()
        return []

    checks = {"hanging": hanging, "broken": broken, "fine": lambda: [ok("a", "1"), absent("b", "2")]}
    findings = run_checks(checks, time_limit_s=2.0)
    never.set()
    assert [(f.check, f.state, f.found) for f in findings] == [
        ("hanging", "WARN", "no result after 2 s"),
        ("broken", "WARN", "the check failed (KeyError: 'lens')"),
        ("a", "OK", "1"),
        ("b", "absent", "2"),
    ]


def test_the_table_contains_the_fix() -> None:
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table_of([ok("clock", "right"), fail("disk", "[full]", "free some space")]))
    assert [line.rstrip() for line in console.export_text().splitlines()] == [
        "OK    clock  right",
        "FAIL  disk   [full]",
        "             -> free some space",
    ]


def test_summary() -> None:
    assert summary_of([ok("a", ""), absent("b", "")]) == "no problems found"
    assert summary_of([ok("a", ""), warn("b", "", "x"), fail("c", "", "x"), fail("d", "", "x")]) == (
        "2 errors, 1 warning"
    )


@pytest.mark.parametrize(("state_found", "code"), [("OK", 0), ("WARN", 0), ("absent", 0), ("FAIL", 1)])
def test_only_a_failure_fails(monkeypatch, capsys, state_found, code) -> None:
    finding = Finding(check="disk", state=state_found, found="x", fix="y")
    monkeypatch.setattr("waldo.cli.doctor.all_checks", lambda _: {"disk": lambda: [finding]})
    assert Doctor(json=True).run() == code
    assert json.loads(capsys.readouterr().out) == {
        "failed": code,
        "findings": [{"check": "disk", "state": state_found, "found": "x", "fix": "y"}],
    }


def test_a_real_run(tmp_path: Path) -> None:
    environment = os.environ | {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}
    command = [sys.executable, "-m", "waldo", "doctor", "--json", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    states = {finding["check"]: finding["state"] for finding in report["findings"]}
    names = {"python", "extra collect", "extra sim", "extra train", "extra fleet", "rclpy", "video", "graphics", "GPU"}
    names |= {"DDS profile", "shared memory", "middleware", "ROS domain", "ROS message", "cameras", "serial ports"}
    names |= {"disk speed", "disk space", "clock", "processors", "memory"}
    assert set(states) == names
    assert states["python"] == "OK"
    assert states["ROS domain"] == "OK"
    assert done.returncode == int("FAIL" in states.values()) == int(report["failed"] > 0)
