"""Learning algorithms, and the tagged union that chooses one.

A new method is a file with a ``Method`` and its config, and one word in the union below.
"""

from typing import Annotated

from pydantic import Field, RootModel

from sspcm_kedro.methods.base import MakeNet, Method
from sspcm_kedro.methods.pose_cons import PoseConsConfig
from sspcm_kedro.methods.pose_dual import PoseDualConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.methods.supervised import SupervisedConfig


class MethodConfig(
    RootModel[
        Annotated[
            SupervisedConfig | PoseConsConfig | PoseDualConfig | SSPCMConfig,
            Field(discriminator="kind"),
        ]
    ]
):
    """Which algorithm a run trains."""

    def build(self, make_net: MakeNet) -> Method:
        return self.root.build(make_net)
