"""The options of `carat infer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sim.cli import options

DEFAULT_TOKENS = "random:128"

Gelu = Literal["host", "array", "fused"]
Engine = Literal["host", "array"]


@dataclass(frozen=True)
class InferOptions:
    """The options as given."""

    model_dir: Annotated[
        Path,
        typer.Argument(
            help="Folder with config.json and model.safetensors (BERT, RoBERTa, DistilBERT, GPT-2, LLaMA, ViT)."
        ),
    ]
    tokens: Annotated[
        str | None,
        typer.Option(
            "--tokens", metavar="IDS", help=f"Ids 101,2023,...; a file of them; or random:N (default {DEFAULT_TOKENS})."
        ),
    ] = None
    text: Annotated[
        str | None, typer.Option("--text", help="Text instead of ids; needs the tokenizer in the folder.")
    ] = None
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="FILE.npy",
            help="Image of a vision transformer: normalised floats [channels, rows, columns], or 8-bit pixels "
            "(without one: random waves).",
        ),
    ] = None
    hw: options.Machine = options.DEFAULT_HARDWARE
    set_: options.Settings = None
    cpu: options.Cpu = None
    quantize: Annotated[
        list[str] | None,
        typer.Option(
            "--quantize",
            metavar="KEY=VALUE",
            help="clip=max|percentile|mse, percentile=99.99, channels=on|off, smooth=0.8, outlier_columns=16, "
            "residual=int8|int32, rounding=nearest|compensated, bias_correction=on|off, scales=static|dynamic; "
            "or plain: one scale per tensor, int8 everywhere.",
        ),
    ] = None
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            help="File of token sequences, or of names of images (.npy), one per line, that set the scales; or "
            "builtin.",
        ),
    ] = None
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Run a series of quantisations; prints accuracy, cycles and bytes of each."),
    ] = False
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--evaluate",
            help="File of sequences, one per line, each followed by a tab and its label if known: share of "
            "decisions equal to float's, and to the label.",
        ),
    ] = None
    sentences: Annotated[
        Path | None,
        typer.Option(
            "--sentences",
            help="File of sentences, one per line: cosine of their mean-pooled vectors to those in float, and rank "
            "correlation of all similarities between them.",
        ),
    ] = None
    generate: Annotated[
        int | None,
        typer.Option(
            "--generate",
            min=1,
            metavar="N",
            help="Let a decoder choose N tokens after the prompt, and compare each choice with that in float.",
        ),
    ] = None
    fisher: Annotated[
        Path | None,
        typer.Option(
            "--fisher",
            metavar="FILE.npz",
            help="Keep the weights with their diagonal Fisher information on the calibration sequences here, for "
            "carat run --prune ... --weights FILE.npz.",
        ),
    ] = None
    pad_to: Annotated[
        int | None, typer.Option("--pad-to", min=1, metavar="N", help="Pad to N tokens behind an attention mask.")
    ] = None
    gelu: Annotated[
        Gelu,
        typer.Option(
            "--gelu", help="host: in float; array: the integer unit, in a separate pass; fused: after the matmul."
        ),
    ] = "host"
    layernorm: Annotated[
        Engine, typer.Option("--layernorm", help="host: in float; array: the normaliser, gain and shift as a product.")
    ] = "host"
    embeddings: Annotated[
        Engine, typer.Option("--embeddings", help="host: summed in float; array: summed in int8.")
    ] = "host"
    integer: Annotated[
        bool,
        typer.Option(
            "--integer",
            help="All operators that the array supports: array for the three options above; for a decoder products, "
            "sums and softmax (the report lists the operators left on the host).",
        ),
    ] = False
    sparsity: Annotated[
        str | None,
        typer.Option(
            "--sparsity",
            metavar="W4A8|SPEC.toml",
            help="Word sizes of matmuls: w4a8, w4a8@*.FF?, or [[precision]] tables, on an array that takes them.",
        ),
    ] = None
    commands: Annotated[
        bool,
        typer.Option(
            "--commands", help="Execute every command at its time and check the traffic; slower, the same values."
        ),
    ] = False
    seed: options.Seed = 0
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write output.npy, infer.json and masks.npz here."),
    ] = None
    as_json: options.AsJson = False

    @property
    def settings(self) -> dict[str, object]:
        """Overrides of the machine. Raises InputError."""
        return options.settings(self.set_, self.cpu)

    def engines(self, decodes: bool) -> tuple[Any, ...]:
        """Return the engines of GELU, LayerNorm and the embeddings; ``decodes``: of a decoder."""
        chosen = (self.gelu, self.layernorm, self.embeddings)
        return ("array",) * 3 if self.integer and not decodes else chosen
