"""The policy `keypoint_vla`: where to look in each image, given the instruction, and how to move from here.

Each camera has convolutions whose blocks are modulated by the instruction (FiLM: Perez et al. 2018, arXiv:1709.07871)
and end in a spatial soft-argmax (Levine et al. 2016, arXiv:1504.00702): the coordinates of a few points, which a
network of two layers turns into a chunk of actions relative to the present state. On demonstrations of a few hundred
episodes that learns faster than attention over image tokens, and needs no pretrained weights.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn
from torch.nn import functional

from lerobot_policy_keypoint_vla.configuration_keypoint_vla import KeypointVLAConfig
from lerobot_policy_keypoint_vla.text import TextEncoder, vocabulary_of

SETTLED = 100
"""Batches from which the scale of the relative actions is estimated."""

SMALLEST_STD = 1e-3
"""Smallest standard deviation by which a joint is divided: a joint that never moves stays near zero."""


def steady(path: Tensor, points: int, step: float, still: float) -> Tensor:
    """Return points of a path at equal distances, from its first point on; the last one is repeated beyond its end.

    An operator pauses, and slows down before and after each move. A policy that imitates this timing cannot see when a
    pause ends, and predicts the mean of moving and staying: it stops where operators slow down.

    Args:
        path: Points at equal times, (batch, times, joints).
        points: Number of points to return.
        step: Distance between them.
        still: Distance between two points of the path up to which it stands still.

    Returns:
        Shape (batch, points, joints).
    """
    moved = (path[:, 1:] - path[:, :-1]).norm(dim=2)
    moved = torch.where(moved > still, moved, 0.0)
    progress = functional.pad(moved.cumsum(1), (1, 0))
    wanted = (step * torch.arange(points, device=path.device)).expand(len(path), -1).contiguous()
    after = torch.searchsorted(progress, wanted).clamp(1, path.shape[1] - 1)
    at, end = progress.gather(1, after - 1), progress.gather(1, after)
    share = ((wanted - at) / (end - at).clamp_min(1e-6)).clamp(0.0, 1.0)[..., None]
    index = after[..., None].expand(-1, -1, path.shape[2])
    return torch.lerp(path.gather(1, index - 1), path.gather(1, index), share)


class FilmBlock(nn.Module):
    """Two convolutions with a shortcut, scaled and shifted by the instruction."""

    def __init__(self, inputs: int, outputs: int, stride: int, text_dim: int) -> None:
        """Initialize with no effect of the instruction."""
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.film = nn.Linear(text_dim, 2 * outputs)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, features: Tensor, text: Tensor) -> Tensor:
        """Return features (batch, outputs, height / stride, width / stride)."""
        found = functional.relu(self.first_norm(self.first(features)))
        found = self.second_norm(self.second(found))
        scale, shift = self.film(text)[..., None, None].chunk(2, 1)
        return functional.relu(found * (1 + scale) + shift + self.shortcut(features))


class Eye(nn.Module):
    """One camera: points at which to look, in -1 to 1 of width and height, and averaged features."""

    def __init__(self, config: KeypointVLAConfig) -> None:
        super().__init__()
        first, middle, last = config.channels
        self.stem = nn.Sequential(nn.Conv2d(3, first, 5, 2, 2, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        sizes = ((first, middle, 2), (middle, last, 1), (last, last, 1))
        self.blocks = nn.ModuleList(FilmBlock(*size, config.text_dim) for size in sizes)
        self.points = nn.Conv2d(last, config.keypoints, 1)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        self.pooled = nn.Linear(last, config.pooled)
        self.outputs = 2 * config.keypoints + config.pooled

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Return the points and features, (batch, outputs)."""
        found = self.stem(image)
        for block in self.blocks:
            found = block(found, text)
        heat = self.points(found).float()
        height, width = heat.shape[2:]
        weights = functional.softmax(heat.flatten(2) * self.sharpness.exp(), -1).view_as(heat)
        across = torch.linspace(-1, 1, width, device=heat.device)
        down = torch.linspace(-1, 1, height, device=heat.device)
        points = ((weights.sum(2) * across).sum(-1), (weights.sum(3) * down).sum(-1))
        return torch.cat([*points, self.pooled(found.float().mean((2, 3)))], 1)


class KeypointVLAPolicy(PreTrainedPolicy):
    """A vision-language-action policy of about one million parameters."""

    config_class = KeypointVLAConfig
    name = "keypoint_vla"

    def __init__(
        self,
        config: KeypointVLAConfig,
        dataset_stats: Mapping[str, Mapping[str, Any]] | None = None,
        dataset_meta: Any = None,
        **_: Any,
    ) -> None:
        """Initialize the weights.

        Args:
            config: The options. An empty vocabulary is replaced by the words of the dataset's instructions.
            dataset_stats: Statistics of the training data, whose state is normalized by its mean and deviation.
            dataset_meta: LeRobot's metadata of the training data.
            _: Further arguments of LeRobot's factory.

        Raises:
            ValueError: If the inputs and outputs do not suit the policy.
        """
        super().__init__(config)
        config.validate_features()
        self.config: KeypointVLAConfig = config
        if dataset_meta is not None and not config.vocabulary:
            config.vocabulary = vocabulary_of(str(text) for text in dataset_meta.tasks.index)
        joints = int(config.action_feature.shape[0])  # type: ignore[union-attr]
        state = (dataset_stats or {}).get(OBS_STATE, {})
        for name, default in (("mean", 0.0), ("std", 1.0)):
            values = torch.as_tensor(state.get(name, torch.full((joints,), default)), dtype=torch.float32)
            self.register_buffer(f"state_{name}", values.reshape(joints).clone())
        self.register_buffer("relative_sum", torch.zeros(joints))
        self.register_buffer("relative_squares", torch.zeros(joints))
        self.register_buffer("relative_batches", torch.tensor(0))
        self.text = TextEncoder(config.vocabulary, config.text_dim, config.max_words, config.word_dropout)
        self.eyes = nn.ModuleList(Eye(config) for _ in config.image_features)
        inputs = sum(eye.outputs for eye in self.eyes) + joints + config.text_dim
        hidden = config.hidden_dim
        self.head = nn.Sequential(
            *(nn.Linear(inputs, hidden), nn.GELU(), nn.LayerNorm(hidden)),
            *(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden)),
            nn.Linear(hidden, config.chunk_size * joints),
        )
        self.reset()

    def get_optim_params(self) -> Any:
        """Return the parameters to train."""
        return self.parameters()

    def reset(self) -> None:
        """Forget the actions that are not carried out yet."""
        self._queue: deque[Tensor] = deque(maxlen=self.config.n_action_steps)

    def forward(self, batch: dict[str, Any], reduction: str = "mean") -> tuple[Tensor, dict[str, float]]:
        """Return the loss, the mean absolute error of the normalized relative actions.

        Args:
            batch: Images 0 to 1, (batch, 3, height, width); `observation.state` (batch, joints); `action`
                (batch, actions, joints), the last one repeated beyond the end of an episode; `task`, one text each.
            reduction: "mean", or "none" for the loss of each sample, (batch,).
        """
        target = batch[ACTION] - batch[OBS_STATE][:, None]
        if self.training:
            self._measure(target)
        mean, std = self._relative_scale()
        target = (target - mean) / std
        if self.config.step_length:
            target = steady(target, self.config.chunk_size, self.config.step_length, self.config.still_length)
        error = (target - self._predict(batch)).abs()
        loss = error.mean((1, 2)) if reduction == "none" else error.mean()
        return loss, {"l1_loss": float(error.detach().mean())}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """Return the next actions, (batch, chunk_size, joints), in the units of the training data."""
        self.eval()
        mean, std = self._relative_scale()
        return self._predict(batch) * std + mean + batch[OBS_STATE][:, None]

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """Return the next action, (batch, joints); the policy looks when all earlier ones are carried out."""
        if not self._queue:
            self._queue.extend(self.predict_action_chunk(batch)[:, : self.config.n_action_steps].transpose(0, 1))
        return self._queue.popleft()

    def _predict(self, batch: dict[str, Any]) -> Tensor:
        """Return the normalized relative actions, (batch, chunk_size, joints)."""
        state = (batch[OBS_STATE] - self.state_mean) / self.state_std.clamp_min(SMALLEST_STD)
        if self.training:
            state = state + self.config.state_noise * torch.randn_like(state)
        text = self.text(batch["task"])
        views = (self._prepare(batch[key]) for key in self.config.image_features)
        seen = [eye(view, text) for eye, view in zip(self.eyes, views, strict=True)]
        found = self.head(torch.cat([*seen, state, text.float()], 1)).float()
        return found.view(len(state), self.config.chunk_size, -1)

    def _prepare(self, image: Tensor) -> Tensor:
        """Return an image in -0.5 to 0.5 of the policy's size, in training shifted and of another brightness."""
        size, most = tuple(self.config.image_size), self.config.shift_px
        image = image.float() - 0.5
        if tuple(image.shape[2:]) != size:
            image = functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
        if self.training and most:
            padded = functional.pad(image, (most,) * 4, mode="replicate")
            down, right = torch.randint(0, 2 * most + 1, (2,)).tolist()
            image = padded[:, :, down : down + size[0], right : right + size[1]]
        if self.training and self.config.brightness:
            image = image * (1 + self.config.brightness * torch.randn(len(image), 1, 1, 1, device=image.device))
        return image.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _measure(self, target: Tensor) -> None:
        """Include a batch in the mean and the deviation of the relative actions."""
        if int(self.relative_batches) < SETTLED:
            values = target.detach().float()
            self.relative_sum += values.mean((0, 1))
            self.relative_squares += values.square().mean((0, 1))
            self.relative_batches += 1

    def _relative_scale(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the deviation of the relative actions, each (joints,)."""
        batches = self.relative_batches.clamp_min(1)
        mean = self.relative_sum / batches
        variance = (self.relative_squares / batches - mean.square()).clamp_min(0)
        return mean, variance.sqrt().clamp_min(SMALLEST_STD)
