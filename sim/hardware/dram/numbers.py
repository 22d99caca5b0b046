"""The fixed numbers of a channel's record (`sim.core.units.dram.state`), from a description."""

from __future__ import annotations

from typing import Any

from sim.hardware.dram.legality import field_bits
from sim.hardware.dram.mapping import Piece, pieces
from sim.hardware.dram.schema import Dram
from sim.hardware.dram.standards import Distance, distances, read_latency, siblings


def channel_numbers(dram: Dram) -> dict[str, Any]:
    """Return field -> number of one channel; "pieces", "distances", "siblings" and "rules" by name."""
    t, c, bits = dram.timing, dram.controller, field_bits(dram)
    rules = {"hbm2": "two_slots", "lpddr5": "two_step"}.get(dram.standard, c.rules)
    burst = t["nBL_min"] if dram.standard == "lpddr5" else t["nBL"]
    return {
        "rules": rules,
        "pieces": inside(dram),
        "distances": distances(dram.standard, t),
        "siblings": siblings(dram.standard, t) if dram.ranks > 1 else [],
        "ranks": dram.ranks,
        "group_bits": bits["bank_group"],
        "bank_bits": bits["bank"],
        "line_bits": dram.line_bytes.bit_length() - 1,
        "faw": t["nFAW"],
        "read_latency": read_latency(dram.standard, t),
        "refresh_interval": t["nREFI"] if dram.refresh else 0,
        "split_limit": t.get("nAAD", 0),
        "read_sync": t["nCL"] + burst + t.get("nWCKPST", 0),
        "write_sync": t["nCWL"] + burst + t.get("nWCKPST", 0),
        "read_depth": c.read_queue,
        "write_depth": c.write_queue,
        "bank_depth": c.bank_queue,
        "drain_from": c.drain_from,
        "drain_until": c.drain_until,
        "keep_hits": int(c.row_hits_first),
        "closed_page": int(c.page == "closed"),
        "merge_reads": int(c.merge_reads),
        "posted_writes": int(c.posted_writes),
    }


def inside(dram: Dram) -> list[Piece]:
    """Return the pieces of the address map inside a channel, from the lowest bit up."""
    found, _ = pieces(dram.address_map, field_bits(dram))
    return [piece for piece in found if piece.field != "channel"]


__all__ = ["Distance", "channel_numbers", "inside"]
