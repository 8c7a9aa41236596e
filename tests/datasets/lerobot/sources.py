"""LeRobot datasets for the tests of the import."""

import json
from fractions import Fraction

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.selection import Selection
from waldo.datasets.video.encoder import encode_frames
from waldo.datasets.video.mp4shard import write_mp4

ALL = LeRobotConfig(selection=Selection())


def take(source, target, **settings):
    return import_dataset(source, target, ImportConfig(**settings))


def table(root):
    return pa.concat_tables([pq.read_table(path) for path in sorted(root.glob("data/*/*.parquet"))])


def rows(episode, stream, field="value"):
    return episode.values(stream, field)


def shown(episode, number):
    """Return an image that is unique to an episode and frame number."""
    out = np.full((48, 64, 3), 40 + 60 * episode, np.uint8)
    out[4:44, 2 * number : 2 * number + 8] = (250, 250, 30)
    return out


def write_v21(root, *, episodes=2, length=7, codec="h264", images=False, camera="observation.images.top"):
    """Write a LeRobot dataset v2.1: a Parquet file and an MP4 per episode, tables as JSON lines."""
    (root / "meta").mkdir(parents=True)
    feature = {"dtype": "image" if images else "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": ["x", "x"]},
        camera: feature,
    }
    own = {name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "koch",
        "fps": 30,
        "chunks_size": 1000,
        "features": features | {"timestamp": {"dtype": "float32", "shape": [1]}} | own,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [{"episode_index": k, "tasks": [f"task {k}"], "length": length} for k in range(episodes)]
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stats = [{"episode_index": k, "stats": {"action": {"min": [0], "max": [1]}}} for k in range(episodes)]
    (root / "meta" / "episodes_stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stats))
    tasks = [{"task_index": k, "task": f"task {k}"} for k in range(episodes)]
    (root / "meta" / "tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tasks))
    for k in range(episodes):
        frames = [shown(k, number) for number in range(length)]
        columns = {
            "observation.state": [[float(n), float(k)] for n in range(length)],
            "action": [[float(n + 1), float(k)] for n in range(length)],
            "timestamp": pa.array([n / 30 for n in range(length)], pa.float32()),
            "frame_index": list(range(length)),
            "episode_index": [k] * length,
            "index": [k * length + n for n in range(length)],
            "task_index": [k] * length,
        }
        if images:
            cells = [{"bytes": None, "path": f"images/top/{k}_{n}.png"} for n in range(length)]
            columns["observation.images.top"] = cells
            (root / "images" / "top").mkdir(parents=True, exist_ok=True)
            for n, image in enumerate(frames):
                cv2.imwrite(str(root / "images" / "top" / f"{k}_{n}.png"), image[..., ::-1])
        else:
            path = root / info["video_path"].format(episode_chunk=0, video_key=camera, episode_index=k)
            path.parent.mkdir(parents=True, exist_ok=True)
            if codec == "h264":
                write_mp4(path, encode_frames(frames, gop=2, crf=20), Fraction(30))
            else:
                write_with(path, frames, codec)
        path = root / info["data_path"].format(episode_chunk=0, episode_index=k)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return root


def write_with(path, frames, codec, **options):
    """Write a video with one of FFmpeg's encoders."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))


def change_rows(source, episode, **columns):
    """Replace columns of an episode, or add them."""
    path = source / "data" / "chunk-000" / f"episode_{episode:06d}.parquet"
    rows = pq.read_table(path)
    for name, values in columns.items():
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
        else:
            rows = rows.append_column(name, pa.array(values))
    pq.write_table(rows, path)


def change_info(source, **values):
    path = source / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def write_openpi(root, episodes=2, length=20):
    """Write a v2.1 dataset with the keys of openpi's LIBERO example: images in the rows, `state` and `actions`."""
    (root / "meta").mkdir(parents=True)
    image = {"dtype": "image", "shape": [48, 64, 3], "names": ["height", "width", "channel"]}
    features = {
        "image": image,
        "wrist_image": image,
        "state": {"dtype": "float32", "shape": [8], "names": ["state"]},
        "actions": {"dtype": "float32", "shape": [7], "names": ["actions"]},
    }
    own = {name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "panda",
        "fps": 10,
        "features": features | {"timestamp": {"dtype": "float32", "shape": [1]}} | own,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [{"episode_index": k, "tasks": ["pick"], "length": length} for k in range(episodes)]
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "meta" / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "pick"}) + "\n")
    for k in range(episodes):
        cells = [
            [{"bytes": cv2.imencode(".png", shown(k + shift, n)[..., ::-1])[1].tobytes()} for n in range(length)]
            for shift in (0, 1)
        ]
        columns = {
            "image": cells[0],
            "wrist_image": cells[1],
            "state": [[float(1000 * k + n + d) for d in range(8)] for n in range(length)],
            "actions": [[float(n + d) for d in range(7)] for n in range(length)],
            "timestamp": pa.array([n / 10 for n in range(length)], pa.float32()),
            "frame_index": list(range(length)),
            "episode_index": [k] * length,
            "index": [k * length + n for n in range(length)],
            "task_index": [0] * length,
        }
        path = root / f"data/chunk-000/episode_{k:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return root


OPENPI = (
    "image=cameras/base",
    "wrist_image=cameras/wrist",
    "state=joint_states",
    "actions=joint_commands:x,y,z,a,b,c,g",
)


def rewritten(source, column, values):
    """Replace a column of the first episode."""
    path = source / "data/chunk-000/episode_000000.parquet"
    found = pq.read_table(path)
    pq.write_table(found.set_column(found.column_names.index(column), column, pa.array(values)), path)


def write_at(path, times, codec="libx264"):
    """Write a video whose frames are at the given times [s]."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30, options={"g": "2", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        for number, at_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(shown(0, number), format="rgb24")
            frame.pts, frame.time_base = round(at_s * 90000), Fraction(1, 90000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "action": {"dtype": "float32", "shape": (3,), "names": {"motors": ["a", "b", "c"]}},
    "observation.images.front": {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "observation.images.still": {"dtype": "image", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    "matrix": {"dtype": "float64", "shape": (2, 2), "names": None},
    "count": {"dtype": "int64", "shape": (1,), "names": None},
    "word": {"dtype": "string", "shape": (1,), "names": None},
}


def write_with_lerobot(root, **how):
    from lerobot.datasets import LeRobotDataset

    dataset = LeRobotDataset.create(f"local/{root.name}", 30, FEATURES, root=root, robot_type="so100", **how)
    for episode in range(3):
        for number in range(9 + episode):
            dataset.add_frame(
                {
                    "observation.state": np.array([number, episode, 0.1], np.float32),
                    "action": np.array([number + 1, episode, 0.1], np.float32),
                    "observation.images.front": shown(episode, number),
                    "observation.images.still": shown(episode, number),
                    "next.success": np.array([episode != 1 and number == 8 + episode]),
                    "matrix": np.arange(4.0).reshape(2, 2) + number / 3,
                    "count": np.array([number]),
                    "word": "hello",
                    "task": f"task {episode % 2}",
                }
            )
        dataset.save_episode()
    dataset.finalize()
