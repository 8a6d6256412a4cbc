"""The nodes that mix identities, and that weigh the parts of the UNet."""

from collections.abc import Mapping

from comfy_api.latest import io
from torch import Tensor

from ..hyperlora_core.faces.scale import INSIGHTFACE
from ..hyperlora_core.identity.mixing import EVERYWHERE, METHODS, agreement, blend, join, weighted, without_outliers
from ..hyperlora_core.identity.value import Identity
from ..hyperlora_core.lora.blocks import BlockStrengths
from .cards import identity_card
from .host.progress import Remarks
from .host.sockets import CATEGORY, Blocks, IdentitySocket, LoraSocket, identities_input, numbers
from .lora import ours


class HyperLoRAMixPhotos(io.ComfyNode):
    """Put photos of one person together, weigh them, drop those that do not fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAMixPhotos",
            display_name="HyperLoRA Mix Photos",
            category=CATEGORY,
            description="Puts the photos of one person together, out of one or several identities: each photo at its "
            "weight, and without those that look like somebody else.",
            search_aliases=["weighted photos", "combine embeds", "average", "outlier", "merge identities"],
            inputs=[
                identities_input("identities", "identity", 1, "An identity of the person; its photos come in order."),
                io.String.Input(
                    "weights",
                    default="",
                    tooltip="One number a photo, in order, as '1, 0.5, 1'; only their proportions matter. Empty: each "
                    "photo as it came, which is equally unless they were weighed before.",
                ),
                io.Combo.Input(
                    "outliers",
                    options=["keep", "drop"],
                    default="keep",
                    tooltip="Photos whose face agrees with the others less than least_agreement: keep them, or drop "
                    "them, the worst first. What was dropped is said, and in the report.",
                ),
                io.Float.Input(
                    "least_agreement",
                    default=INSIGHTFACE.same,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Mean likeness to the other photos that a photo needs, by its face embedding. Photos of "
                    f"one person have {INSIGHTFACE.same} and more, of two people {INSIGHTFACE.different} and less, "
                    "mostly.",
                ),
            ],
            outputs=[
                IdentitySocket.Output(display_name="identity"),
                io.String.Output(display_name="report", tooltip="How well each photo agrees with the others."),
            ],
        )

    @classmethod
    def execute(cls, identities: dict, weights: str, outliers: str, least_agreement: float) -> io.NodeOutput:
        remarks = Remarks()
        together = join([identity for identity in identities.values() if identity is not None])
        if weights.strip():
            together = weighted(together, numbers(weights))
        accepted = without_outliers(together, least_agreement, remarks) if outliers == "drop" else together
        shares = together.weights or (1.0,) * together.refs
        lines = [f"{together.refs} photos"]
        if together.embeds is not None:
            lines = [
                f"photo {number}: agreement {agrees:.2f}, weight {share:g}"
                for number, (agrees, share) in enumerate(zip(agreement(together), shares, strict=True), start=1)
            ]
        return io.NodeOutput(accepted, "\n".join([*lines, *remarks]), ui=remarks.ui(identity_card(accepted, cls)))


class HyperLoRABlend(io.ComfyNode):
    """A person between two people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRABlend",
            display_name="HyperLoRA Blend People",
            category=CATEGORY,
            description="A person between two people, in the space of coefficients: one LoRA of one rank, not two "
            "LoRAs on top of each other.",
            search_aliases=["interpolate", "slerp", "morph", "mix faces", "blend identities"],
            inputs=[
                IdentitySocket.Input("identity_a", tooltip="The first person."),
                IdentitySocket.Input("identity_b", tooltip="The second person."),
                io.Float.Input(
                    "amount",
                    default=0.5,
                    min=-2.0,
                    max=3.0,
                    step=0.01,
                    tooltip="0 is the first person, 1 the second. Beyond them, what tells them apart is exaggerated.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    tooltip="linear: the mean. spherical: along the arc between them, so that equal steps of amount "
                    "are equal steps of likeness where the two differ much.",
                ),
                Blocks.Input(
                    "blocks",
                    optional=True,
                    tooltip="What amount is multiplied by in each part of the UNet: a part at 0 is the first person's.",
                ),
            ],
            outputs=[IdentitySocket.Output(display_name="identity")],
        )

    @classmethod
    def execute(
        cls,
        identity_a: Identity,
        identity_b: Identity,
        amount: float,
        method: str,
        blocks: BlockStrengths | None = None,
    ) -> io.NodeOutput:
        between = blend(identity_a, identity_b, amount, method, blocks or EVERYWHERE)
        return io.NodeOutput(between, ui=identity_card(between, cls))


def _block_input(name: str, tooltip: str) -> io.Input:
    return io.Float.Input(name, default=1.0, min=-10.0, max=10.0, step=0.01, tooltip=tooltip)


class HyperLoRABlocks(io.ComfyNode):
    """A strength for each part of the UNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRABlocks",
            display_name="HyperLoRA Block Strengths",
            category=CATEGORY,
            description="A strength for each part of the UNet, for HyperLoRA Scale Blocks and HyperLoRA Blend People. "
            "The strengths of all parts that an attention is in are multiplied.",
            search_aliases=["block weights", "lbw", "layer weights"],
            inputs=[
                _block_input("down", "The way down."),
                _block_input("mid", "The middle: composition, pose."),
                _block_input("up", "The way up: details, likeness."),
                _block_input("attn1", "The picture's attention to itself."),
                _block_input("attn2", "The picture's attention to the prompt."),
                io.String.Input(
                    "more",
                    default="",
                    multiline=True,
                    tooltip="Further parts, one a line: 'up.0 = 0.5', 'up.0.attentions.1.transformer_blocks.3 = 0', "
                    "'attn2.to_v = 1.5'.",
                ),
            ],
            outputs=[Blocks.Output(display_name="blocks")],
        )

    @classmethod
    def execute(cls, down: float, mid: float, up: float, attn1: float, attn2: float, more: str) -> io.NodeOutput:
        parts = {"down": down, "mid": mid, "up": up, "attn1": attn1, "attn2": attn2}
        return io.NodeOutput(
            BlockStrengths.parse(more, {part: strength for part, strength in parts.items() if strength != 1})
        )


class HyperLoRAScaleBlocks(io.ComfyNode):
    """Scale a LoRA by blocks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAScaleBlocks",
            display_name="HyperLoRA Scale Blocks",
            category=CATEGORY,
            description="The same LoRA with each part of the UNet at its strength. Applied, saved or sent to other "
            "nodes, the strengths are in it.",
            search_aliases=["block weights", "lbw", "layer weights", "lora block"],
            inputs=[
                LoraSocket.Input("lora", tooltip="From HyperLoRA Generate LoRA."),
                Blocks.Input("blocks", tooltip="From HyperLoRA Block Strengths."),
            ],
            outputs=[LoraSocket.Output(display_name="lora")],
        )

    @classmethod
    def execute(cls, lora: Mapping[str, Tensor], blocks: BlockStrengths) -> io.NodeOutput:
        return io.NodeOutput(ours(lora).scaled(blocks))
