"""Options of the policy `keypoint_vla`."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, CosineDecayWithWarmupSchedulerConfig


@PreTrainedConfig.register_subclass("keypoint_vla")
@dataclass
class KeypointVLAConfig(PreTrainedConfig):
    """Options of the policy `keypoint_vla`; see `KeypointVLAPolicy` for the model."""

    n_obs_steps: int = 1
    chunk_size: int = 30
    """Actions that one look at the images predicts."""
    n_action_steps: int = 15
    """Actions of them that are carried out before the policy looks again."""
    step_length: float = 0.25
    """Distance between two actions of a chunk, in standard deviations of the relative actions over all joints: the
    policy follows the demonstrated path at a steady speed. 0: with the timing of the demonstration."""
    still_length: float = 0.05
    """Distance between two demonstrated actions up to which the operator is taken to pause; the hand trembles."""
    lookahead: int = 45
    """Demonstrated actions from which a chunk is made, with `step_length`."""

    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)
    )
    """None: actions are relative to the unnormalized state, so the policy normalizes inside."""

    image_size: tuple[int, int] = (96, 128)
    """Height and width to which images are scaled [px]."""
    channels: tuple[int, ...] = (32, 48, 48)
    """Channels of the convolutions: after the first one, at a quarter of the size, and at the end."""
    keypoints: int = 48
    """Points per camera at which the policy looks."""
    pooled: int = 32
    """Averaged features per camera, for what is not at a point."""
    text_dim: int = 128
    """Size of the embedding of an instruction."""
    hidden_dim: int = 512
    """Size of the hidden layers that predict the actions."""
    max_words: int = 24
    """Words of an instruction that are read."""
    vocabulary: list[str] = field(default_factory=lambda: list[str]())
    """Words of the instructions in the training data; found when training starts."""

    shift_px: int = 4
    """Largest random shift of an image in training [px]."""
    brightness: float = 0.2
    """Standard deviation of the random brightness of an image in training, as a factor."""
    state_noise: float = 0.02
    """Standard deviation of the noise on the normalized state in training."""
    word_dropout: float = 0.02
    """Probability that a word is replaced by the unknown word in training."""

    use_amp: bool = True
    """Train in bfloat16 where the device has it."""
    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-4
    optimizer_grad_clip_norm: float = 10.0
    scheduler_warmup_steps: int = 250
    scheduler_decay_steps: int = 2_500
    """Steps after which the learning rate has its smallest value; LeRobot shortens it to those of the training."""
    scheduler_decay_lr: float = 2e-6

    def __post_init__(self) -> None:
        """Reject values that contradict each other."""
        super().__post_init__()
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ValueError(f"n_action_steps is {self.n_action_steps}, expected 1 to chunk_size ({self.chunk_size})")
        if self.n_obs_steps != 1:
            raise ValueError(f"n_obs_steps is {self.n_obs_steps}, expected 1: the policy has no history")
        for name in ("step_length", "still_length"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.step_length and self.lookahead < 2:
            raise ValueError(f"lookahead is {self.lookahead}, expected 2 or more")
        if len(self.channels) != 3:
            raise ValueError(f"channels has {len(self.channels)} values, expected 3")
        if min(self.image_size) < 16:
            raise ValueError(f"image_size is {tuple(self.image_size)}, expected at least 16 x 16 pixels")

    def validate_features(self) -> None:
        """Raise ValueError unless there are images, and a state with the joints of the action."""
        if not self.image_features:
            raise ValueError("keypoint_vla requires at least one camera among the inputs")
        state, action = self.robot_state_feature, self.action_feature
        if state is None or action is None or tuple(state.shape) != tuple(action.shape):
            shapes = [None if one is None else tuple(one.shape) for one in (state, action)]
            raise ValueError(
                "keypoint_vla predicts actions relative to the state, so both must have the same joints; found "
                f"observation.state of shape {shapes[0]} and action of shape {shapes[1]}"
            )

    def get_optimizer_preset(self) -> AdamWConfig:
        """Return the optimizer."""
        return AdamWConfig(
            lr=self.optimizer_lr,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        """Return the schedule of the learning rate."""
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=self.scheduler_decay_steps,
            peak_lr=self.optimizer_lr,
            decay_lr=self.scheduler_decay_lr,
        )

    @property
    def observation_delta_indices(self) -> None:
        """None: only the present observation is used."""
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """The demonstrated actions that a chunk is made from."""
        return list(range(self.lookahead if self.step_length else self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """None: rewards are not used."""
        return None
