"""The layer graph of a trained vision transformer (`workloads.checkpoint.vision`).

The host cuts the image into patches and stores them as int8; the array multiplies them by the weights and adds
positions and tokens as int32. The layers are those of a decoder, without its mask.
"""

from __future__ import annotations

from sim.graph import Tensor, View
from workloads.checkpoint.decoder_layers import DecoderLayers
from workloads.checkpoint.vision import PATCHES, TABLE

IMAGE = "patches"
"""Input of the graph: the rows of `workloads.checkpoint.vision.patches`, float."""


class VisionLayers(DecoderLayers):
    """Collects the tensors and operators of one model."""

    def build_layers(self) -> None:
        """Add everything."""
        stream = self.embedded_patches()
        for layer in range(self.model.layers):
            stream = self.decoder_layer(layer, stream)
        self.head(self.normed("final_norm", stream, f"L{self.model.layers - 1}.output", None))

    def embedded_patches(self) -> Tensor:
        """Add the product of the patches; return the residual stream of the first layer, float."""
        model = self.model
        assert model.vision is not None
        x = self.elements(self.tensor(IMAGE, (self.seq, model.vision.elements), "fp32", "input"), None)
        weight = self.tensor(f"{PATCHES}.weight", (x.shape[1], model.hidden), kind="weight")
        table = self.tensor(TABLE, (self.seq, model.hidden), self.sums, "weight")
        sums = self.tensor("embedded.sums", table.shape, self.sums)
        self.op(PATCHES, "matmul", [View.whole(x), View.whole(weight), View.whole(table)], View.whole(sums), None)
        return self.real(sums, None)
