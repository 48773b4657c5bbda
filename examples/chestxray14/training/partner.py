"""The network of a finished run that a function of your own is given beside the one that is trained."""

from __future__ import annotations

from torch import Tensor, nn

from awb import AWBError


class Partner(nn.Module):
    """A network that stays as it is: frozen, and in eval mode in whatever mode the network around it is.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Partner:
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def load_partner(run: str) -> Partner:
    """Network of a finished run.

    Raises:
        AWBError: As in `load_run`.
    """
    from examples.chestxray14.training.predict import load_run  # which builds the network of any run

    return Partner(load_run(run))


def require_whole(model: nn.Module, partner: Partner) -> None:
    """Refuse a network that has a part of its partner outside of it, where it would be trained.

    Raises:
        AWBError: The message names the part.
    """
    inside = {id(module) for module in partner.network.modules()}
    modules = list(model.named_modules(remove_duplicate=False))
    homes = [f"{path}." for path, module in modules if module is partner]
    for path, module in modules:
        if id(module) in inside and not any(path.startswith(home) for home in homes):
            raise AWBError(
                f"{path} is a part of the partner, which would be trained there: keep the partner whole, "
                "self.partner = partner"
            )
