"""Recompute a LeRobot export from its recording, without waldo, and print every difference.

    python recompute.py RECORDING EXPORT [MAX_STALENESS_S]

Written from the documentation (docs/guide/episode-store.md) with numpy, zarr, pyarrow and PyAV only, so that a mistake
of the export is not repeated here. Prints a JSON object: how much was compared, and a list of differences.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import zarr

PERIODS = 2.5
"""Gap of the commands from which the operator is disengaged, and age of slow telemetry, in periods of the stream."""

FIRST_KNOWN_S = 1.0
"""Longest time before the first known value of telemetry that gets this value [s]."""

MAX_STALENESS_S = 0.25
"""Largest age of a sample that a row may have by default [s]."""

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


class Recording:
    """One episode of the store."""

    def __init__(self, path: Path, latency_ns: dict[str, int]) -> None:
        self.path, self.latency_ns = path, latency_ns
        self.tables: dict[str, dict[str, np.ndarray]] = {}
        attributes = json.loads((path / "zarr.json").read_text())["attributes"]
        self.streams = attributes["streams"]
        self.outcome, self.task = attributes["outcome"], attributes["task"]

    def table(self, stream: str, name: str = "values") -> dict[str, np.ndarray]:
        path = f"{stream}/{name}"
        if path not in self.tables:
            array = zarr.open_array(self.path / path, mode="r")
            self.tables[path] = dict(zip(array.attrs["columns"], np.asarray(array[...]).T, strict=True))
        return self.tables[path]

    def array(self, stream: str, field: str) -> np.ndarray:
        columns = self.table(stream)
        return np.stack([columns[f"{field}.{label}"] for label in self.labels(stream, field)], axis=1)

    def labels(self, stream: str, field: str) -> list[str]:
        return [name.removeprefix(f"{field}.") for name in self.table(stream) if name.startswith(f"{field}.")]

    def sequence(self, stream: str) -> np.ndarray:
        return self.table(stream, "message_info")["sequence"]

    def times(self, stream: str) -> np.ndarray:
        """Stamps, of a camera those of the exposure [ns]."""
        stamps = zarr.open_array(self.path / stream / "time", mode="r")
        return np.asarray(stamps[...]) - self.latency_ns.get(stream, 0)

    def images(self, camera: str) -> np.ndarray:
        return decode(self.path / "video" / camera / "c.0.0.0.0")

    def has(self, stream: str) -> bool:
        return stream in self.streams

    def rate(self, stream: str) -> float:
        return float(self.streams[stream]["rate_hz"])


def decode(path: Path, start: int = 0, stop: int | None = None) -> np.ndarray:
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    return np.stack(frames[start:stop])


def instants(one: Recording, cameras: list[str], required: list[str], fps: int) -> np.ndarray:
    """Times of the rows: the first camera's frames and its missing ones, else a grid that all streams cover."""
    if cameras and one.rate(cameras[0]) == fps:
        stamps, count = one.times(cameras[0]), one.sequence(cameras[0])
        found = [int(stamps[0])]
        for k in range(1, len(stamps)):
            # The publisher counts: what is missing is exactly known.
            steps = int(count[k] - count[k - 1]) if count[k] > count[k - 1] >= 0 else 1
            found += [int(stamps[k - 1] + round((stamps[k] - stamps[k - 1]) * n / steps)) for n in range(1, steps + 1)]
        return np.array(found)
    start, stop = max(one.times(s).min() for s in required), min(one.times(s).max() for s in required)
    rows = int((stop - start) * Fraction(fps) / 1_000_000_000 + Fraction(1, 1_000_000)) + 1
    return np.array([int(start) + round(k * 1e9 / fps) for k in range(rows)])


def latest(stamps: np.ndarray, row_ns: int) -> int | None:
    """The last sample at or before a row."""
    before = [k for k in range(len(stamps)) if stamps[k] <= row_ns]
    return max(before, key=lambda k: (stamps[k], k)) if before else None


def answer(stamps: np.ndarray, row_ns: int) -> int:
    """The first sample at or after a row; after the end, the last one."""
    after = [k for k in range(len(stamps)) if stamps[k] >= row_ns]
    return min(after, key=lambda k: (stamps[k], k)) if after else int(np.argmax(stamps))


def nearest(stamps: np.ndarray, row_ns: int) -> int:
    """The closest frame; of two at the same distance the earlier one."""
    return min(range(len(stamps)), key=lambda k: (abs(int(stamps[k]) - row_ns), stamps[k]))


SAMPLE = {"latest": latest, "answer": answer, "nearest": nearest}


class Choice:
    """The sample of a stream at each row: index (-1 without a valid one) and age [ns]."""

    def __init__(self, stamps: np.ndarray, rows: np.ndarray, kind: str, limit_s: float) -> None:
        self.index, self.age = np.full(len(rows), -1), np.zeros(len(rows), np.int64)
        for row, at in enumerate(rows.tolist()):
            k = SAMPLE[kind](stamps, at)
            outside = at - int(stamps[0] if at < stamps[0] else stamps[-1])
            valid = k is not None and abs(at - int(stamps[k])) <= round(limit_s * 1e9)
            self.index[row] = k if valid else -1
            self.age[row] = at - int(stamps[k]) if valid else outside


def expected(one: Recording, features: dict, fps: int, limit_s: float) -> tuple[dict, dict, np.ndarray]:
    """Column -> values of the rows, camera -> frame of each row, and the rows' times."""
    cameras = [
        "cameras/" + key.removeprefix("observation.images.") for key, f in features.items() if f["dtype"] == "video"
    ]
    required = ["joints/state", "joints/command", *(["environment"] if one.has("environment") else []), *cameras]
    rows = instants(one, cameras, required, fps)
    kinds = {"joints/state": "latest", "joints/command": "answer", "environment": "latest", "joints/sent": "answer"}
    kinds |= {"motors": "latest", **dict.fromkeys(cameras, "nearest")}
    chosen = {
        stream: Choice(
            one.times(stream),
            rows,
            kind,
            limit_s if stream in required else max(limit_s, PERIODS / one.rate(stream)),
        )
        for stream, kind in kinds.items()
        if one.has(stream) and len(one.times(stream))
    }
    action = disengaged(one, chosen)
    usable = np.flatnonzero(np.all([chosen[stream].index >= 0 for stream in required], axis=0))
    keep = slice(usable[0], usable[-1] + 1)
    columns: dict[str, np.ndarray] = {}
    for key, feature in features.items():
        if key == "action":
            columns[key] = action[keep]
        elif key == "telemetry.staleness":
            columns[key] = np.stack([chosen[stream].age[keep] / 1e9 for stream in feature["names"]], axis=1)
        elif (origin := source(one, key)) is not None:
            stream, field = origin
            labels = [one.labels(stream, field).index(name) for name in feature["names"]]
            values = sampled(one.array(stream, field).astype(float), chosen[stream].index)[keep][:, labels]
            columns[key] = values if stream in required and not key.startswith("telemetry") else known(values, fps)
    success = np.zeros(len(rows[keep]), bool)
    success[-1] = one.outcome == "success"
    columns["next.success"] = success
    return columns, {camera: chosen[camera].index[keep] for camera in cameras}, rows[keep]


def source(one: Recording, key: str) -> tuple[str, str] | None:
    """The stream and field of a column."""
    named = {
        "observation.state": ("joints/state", "position"),
        "observation.environment_state": ("environment", "value"),
    }
    named["telemetry.sent_action"] = ("joints/sent", "position")
    if key in named or not key.startswith("telemetry."):
        return named.get(key)
    field = key.removeprefix("telemetry.")
    return ("joints/state" if one.labels("joints/state", field) else "motors"), field


def sampled(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.where((index >= 0)[:, None], values[np.maximum(index, 0)], np.nan)


def known(values: np.ndarray, fps: int) -> np.ndarray:
    """Unknown values replaced by the latest known ones; before the first one, by it."""
    out = values.copy()
    out[~np.isfinite(out)] = np.nan
    for column in range(out.shape[1]):
        finite = np.flatnonzero(np.isfinite(out[:, column]))
        if not len(finite) or finite[0] > FIRST_KNOWN_S * fps:
            out[:, column] = np.nan  # such a label must not be in the export
            continue
        out[: finite[0], column] = out[finite[0], column]
        for row in range(finite[0], len(out)):
            if not np.isfinite(out[row, column]):
                out[row, column] = out[row - 1, column]
    return out


def disengaged(one: Recording, chosen: dict[str, Choice]) -> np.ndarray:
    """The action of each row; without a command in time, what the robot applied."""
    command = chosen["joints/command"]
    action = sampled(one.array("joints/command", "position").astype(float), command.index)
    if "joints/sent" not in chosen:
        return action
    applied = chosen["joints/sent"]
    values = sampled(one.array("joints/sent", "position").astype(float), applied.index)
    stamps = one.times("joints/command")
    for row in range(len(action)):
        far = command.index[row] >= 0 and abs(command.age[row]) > PERIODS * 1e9 / one.rate("joints/command")
        if applied.index[row] >= 0 and (command.index[row] < 0 or far or np.isnan(action[row]).any()):
            action[row], command.index[row], command.age[row] = values[row], 0, applied.age[row]
    assert len(stamps)
    return action


def statistics(values: np.ndarray) -> dict[str, np.ndarray]:
    table = values.reshape(len(values), -1).astype(np.float64)
    found = {"count": np.array([len(table)]), "mean": table.mean(0), "std": table.std(0)}
    found |= {"min": table.min(0), "max": table.max(0)}
    return found | {name: np.quantile(table, q, axis=0) for name, q in QUANTILES.items()}


class Comparison:
    """The differences found so far."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.compared = {"episodes": 0, "rows": 0, "numbers": 0, "frames": 0, "statistics": 0}

    def numbers(self, where: str, found: np.ndarray, wanted: np.ndarray, tolerance: float = 0.0) -> None:
        found, wanted = np.asarray(found, float), np.asarray(wanted, float)
        self.compared["numbers"] += wanted.size
        if found.size != wanted.size:
            self.differences.append(f"{where}: {found.shape}, expected {wanted.shape}")
            return
        found = found.reshape(wanted.shape)
        wrong = ~(np.abs(found - wanted) <= tolerance)
        if wrong.any():
            at = tuple(int(k) for k in np.argwhere(wrong)[0])
            self.differences.append(f"{where}{list(at)}: {found[at]}, expected {wanted[at]}; {int(wrong.sum())} differ")

    def frames(self, where: str, found: np.ndarray, recorded: np.ndarray, index: np.ndarray) -> None:
        """Each exported image is the recorded frame of its row: no other frame of the episode is closer."""
        self.compared["frames"] += len(index)
        if len(found) != len(index):
            self.differences.append(f"{where}: {len(found)} images, expected {len(index)}")
            return
        for row, image in enumerate(found):
            distance = np.abs(recorded.astype(np.int16) - image.astype(np.int16)).mean(axis=(1, 2, 3))
            if distance[index[row]] > distance.min() + 0.5:
                closest = int(distance.argmin())
                self.differences.append(f"{where} row {row}: frame {closest}, expected {int(index[row])}")

    def statistics(self, where: str, found: dict, values: np.ndarray, tolerance: float = 1e-5) -> None:
        for name, wanted in statistics(values).items():
            self.compared["statistics"] += 1
            size = max(1.0, float(np.abs(wanted).max()))
            self.numbers(f"{where}/{name}", np.asarray(found[name]).reshape(-1), wanted.reshape(-1), tolerance * size)


def latencies(recording: Path) -> dict[str, int]:
    path = recording / "edits.jsonl"
    edits = [json.loads(line)["value"] for line in path.read_text().splitlines()] if path.exists() else []
    found: dict[str, int] = {}
    for edit in edits:
        found |= edit["cameras"] if edit["edit"] == "latency" else {}
    return found


def compare(recording: Path, export: Path, limit_s: float) -> Comparison:
    info = json.loads((export / "meta/info.json").read_text())
    features, fps = info["features"], info["fps"]
    episodes = pq.read_table(export / "meta/episodes").to_pylist()
    stored = {
        one["episode_index"]: one["stored_index"]
        for one in json.loads((export / "meta/waldo.json").read_text())["episodes"]
    }
    result = Comparison()
    everything: dict[str, list[np.ndarray]] = {}
    first = 0
    for entry in episodes:
        number, length = entry["episode_index"], entry["length"]
        where = f"episode {number}"
        one = Recording(recording / f"episode_{stored[number]:06d}.zarr", latencies(recording))
        columns, frames, rows = expected(one, features, fps, limit_s)
        result.numbers(f"{where} length", np.array([length]), np.array([len(rows)]))
        path = export / info["data_path"].format(
            chunk_index=entry["data/chunk_index"], file_index=entry["data/file_index"]
        )
        table = pq.read_table(path, filters=[("episode_index", "=", number)])
        columns |= {"timestamp": np.arange(len(rows)) / fps, "frame_index": np.arange(len(rows))}
        columns |= {"episode_index": np.full(len(rows), number), "index": first + np.arange(len(rows))}
        assert set(columns) | {"task_index"} == set(table.column_names), set(table.column_names) ^ set(columns)
        for key, wanted in columns.items():
            found = np.array(table[key].to_pylist())
            result.numbers(
                f"{where} {key}", found, np.asarray(wanted).astype(np.float32), 1e-6 if key == "timestamp" else 0
            )
            everything.setdefault(key, []).append(wanted)
            stats = {name: entry[f"stats/{key}/{name}"] for name in ("count", "mean", "std", "min", "max", *QUANTILES)}
            result.statistics(f"{where} stats {key}", stats, np.asarray(wanted))
        for camera, index in frames.items():
            key = "observation.images." + camera.removeprefix("cameras/")
            at = {
                name: entry[f"videos/{key}/{name}"]
                for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
            }
            video = export / info["video_path"].format(
                video_key=key, chunk_index=at["chunk_index"], file_index=at["file_index"]
            )
            images = decode(video, round(at["from_timestamp"] * fps), round(at["to_timestamp"] * fps))
            result.frames(f"{where} {camera}", images, one.images(camera), index)
        first += len(rows)
        result.compared["episodes"] += 1
        result.compared["rows"] += len(rows)
    stats = json.loads((export / "meta/stats.json").read_text())
    for key, parts in everything.items():
        result.statistics(f"stats {key}", stats[key], np.concatenate(parts))
    result.numbers("total_frames", np.array([info["total_frames"]]), np.array([first]))
    return result


if __name__ == "__main__":
    done = compare(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else MAX_STALENESS_S)
    sys.stdout.write(json.dumps({"compared": done.compared, "differences": done.differences}, indent=1))
