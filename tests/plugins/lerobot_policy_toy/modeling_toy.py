"""The toy policy: two linear layers from the state to a chunk of actions."""

from collections import deque
from typing import Any

from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from .configuration_toy import ToyConfig


class ToyPolicy(PreTrainedPolicy):
    config_class = ToyConfig
    name = "toy"

    def __init__(self, config: ToyConfig, **kwargs: Any) -> None:
        super().__init__(config)
        self.config = config
        self.actions = config.output_features["action"].shape[0]
        inputs = config.input_features["observation.state"].shape[0]
        outputs = config.chunk_size * self.actions
        self.net = nn.Sequential(nn.Linear(inputs, config.width), nn.ReLU(), nn.Linear(config.width, outputs))
        self.reset()

    def get_optim_params(self) -> Any:
        return self.parameters()

    def reset(self) -> None:
        self.queue: deque[Tensor] = deque()

    def predict_action_chunk(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        return self.net(batch["observation.state"]).unflatten(-1, (self.config.chunk_size, self.actions))

    def select_action(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        if not self.queue:
            self.queue.extend(self.predict_action_chunk(batch)[:, : self.config.n_action_steps].unbind(1))
        return self.queue.popleft()

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
        return nn.functional.mse_loss(self.predict_action_chunk(batch), batch["action"]), None
