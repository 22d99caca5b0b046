"""The gallery: twenty networks on two machines, as one Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.run.pipeline import run
from sim.run.request import Request, Resolver
from sim.timing.disk import default_timings
from sim.timing.memo import Memo

MACHINES = ("gemmini_ibert", "gemmini_default")
"""The machine with normalisation units, and the one whose host normalises."""


@dataclass(frozen=True)
class GalleryEntry:
    """A network with its sizes."""

    name: str
    sizes: Mapping[str, Any] = field(default_factory=dict)


GALLERY: tuple[GalleryEntry, ...] = (
    GalleryEntry("bert-base", {"seq": 128}),
    GalleryEntry("distilbert", {"seq": 128}),
    GalleryEntry("albert-base", {"seq": 128}),
    GalleryEntry("mobilebert", {"seq": 128}),
    GalleryEntry("tinybert-4", {"seq": 128}),
    GalleryEntry("minilm-l6", {"seq": 128}),
    GalleryEntry("linformer", {"seq": 512}),
    GalleryEntry("performer", {"seq": 512}),
    GalleryEntry("longformer-base", {"seq": 1024}),
    GalleryEntry("bigbird-base", {"seq": 1024}),
    GalleryEntry("gpt2", {"phase": "prefill", "seq": 128}),
    GalleryEntry("gpt2", {"phase": "decode", "kv": 1023}),
    GalleryEntry("llama-3.2-1b", {"phase": "decode", "kv": 1024}),
    GalleryEntry("qwen3-30b-a3b", {"phase": "decode", "kv": 1024, "layers": 4}),
    GalleryEntry("t5-small", {"phase": "encode", "seq": 128}),
    GalleryEntry("whisper-tiny", {"phase": "encode"}),
    GalleryEntry("vit-base"),
    GalleryEntry("swin-tiny"),
    GalleryEntry("mobilevit-xs"),
    GalleryEntry("mobilenet-v2"),
    GalleryEntry("resnet50"),
)
"""Published sizes, at lengths that run in seconds each."""

HEADINGS = ("network", "sizes", "GMACs", "machine", "cycles", "ms", "on the host", "energy mJ", "utilization")


HEAD = (
    "# Gallery: 20 networks on two machines",
    "",
    "Made by `carat gallery -o docs/GALLERY.md`. `gemmini_ibert` has normalisation units, `gemmini_default`",
    "leaves softmax, LayerNorm and GELU to the host CPU; operators that no array runs are the host's on both",
    "(docs/WORKLOADS.md, Engines). Utilization: MACs over the peak of the array in all cycles.",
    "Energy: the machine's own table.",
    "",
)


def rows(
    entries: Sequence[GalleryEntry] = GALLERY,
    machines: Sequence[str] = MACHINES,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterable[tuple[str, ...]]:
    """Yield a row for each network and machine. Raises InputError."""
    resolver, memo = Resolver(), Memo(default_timings())
    for entry in entries:
        for machine in machines:
            progress(f"{entry.name} on {machine}")
            total = run(resolver.case(Request(entry.name, machine, sizes=tuple(entry.sizes.items()))), memo).totals
            yield (
                f"`{entry.name}`",
                " ".join(f"{name}={value}" for name, value in entry.sizes.items()),
                f"{total['macs'] / 1e9:,.3f}",
                f"`{machine}`",
                f"{total['cycles']:,}",
                f"{total['time_s'] * 1e3:,.1f}",
                f"{total['host_cycles'] / total['cycles']:.1%}",
                f"{total['energy_pj'] / 1e9:,.2f}",
                f"{total['utilization']:.1%}",
            )


def page(table: Iterable[tuple[str, ...]]) -> str:
    """Return the page of the gallery in Markdown."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *table]
    return "\n".join([*HEAD, *(f"| {' | '.join(cells)} |" for cells in lines), ""])
