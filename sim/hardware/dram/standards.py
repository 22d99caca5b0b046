"""Least distances of each standard between two commands, from its timing symbols; and the rules for these.

A distance is (scope, previous command, next command, clocks) with the names of `sim.core.units.dram.state`. Sources:
JESD79-3F (DDR3), JESD79-4B (DDR4), JESD209-5 (LPDDR5, bank-group mode), JESD235C (HBM2). Two read-to-write turnarounds
(the 2 clocks of preamble and bus turn) are the usual ones of controllers, not of the standards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sim.base.errors import did_you_mean

Timing = Mapping[str, int]

SYMBOLS = {
    "ddr3": "nBL nCL nCWL nRCD nRP nRAS nRC nWR nRTP nCCD nRRD nFAW nWTR nCS nRFC nREFI",
    "ddr4": "nBL nCL nCWL nRCD nRP nRAS nRC nWR nRTP nCCDS nCCDL nRRDS nRRDL nFAW nWTRS nWTRL nCS nRFC nREFI",
    "lpddr5": "nBL_min nBL_max nCL nCWL nRCD nRPpb nRPab nRAS nRC nWR nRTP nCCDS nCCDL nRRD nFAW nWTRS nWTRL nPPD nAAD "
    "nWCKPST nCS nRFC nREFI",
    "hbm2": "nBL nCL nCWL nRCDRD nRCDWR nRP nRAS nRC nWR nRTPL nCCDS nCCDL nRRDS nRRDL nFAW nWTRS nWTRL nRFC nREFI",
}
"""Timing symbols of each standard."""

TURN = 2
"""Clocks between a read's data and a write's on one bus."""

MAX_CLOCKS = 1_000_000
"""Longest distance: a thousand times a refresh."""

REFRESH_NS = {"ddr3": 7800, "ddr4": 7800, "lpddr5": 3907, "hbm2": 3900}
"""Longest average time between two refreshes of all banks (tREFI up to 85 C), in ns."""


class Distance(NamedTuple):
    """Clocks from a command to the next one in a scope."""

    scope: str
    previous: str
    following: str
    clocks: int


class Common(NamedTuple):
    """Quantities of all standards under common names."""

    burst: int  # clocks of data, for the next burst in another group
    burst_same: int  # the same for the next one in the same group
    rcd_read: int
    rcd_write: int
    rp: int
    rp_all: int
    rtp: int
    ccd: int
    ccd_same: int
    rrd: int
    rrd_same: int
    wtr: int
    wtr_same: int
    late: int  # clocks from ACT's first clock on the bus until it takes effect


def common(standard: str, t: Timing) -> Common:
    """Return the quantities of a standard's timing values."""
    if standard == "ddr3":
        return Common(t["nBL"], t["nBL"], t["nRCD"], t["nRCD"], t["nRP"], t["nRP"], t["nRTP"], t["nCCD"], t["nCCD"],
                      t["nRRD"], t["nRRD"], t["nWTR"], t["nWTR"], 0)  # fmt: skip
    if standard == "ddr4":
        return Common(t["nBL"], t["nBL"], t["nRCD"], t["nRCD"], t["nRP"], t["nRP"], t["nRTP"], t["nCCDS"], t["nCCDL"],
                      t["nRRDS"], t["nRRDL"], t["nWTRS"], t["nWTRL"], 0)  # fmt: skip
    if standard == "lpddr5":
        return Common(t["nBL_min"], t["nBL_max"], t["nRCD"], t["nRCD"], t["nRPpb"], t["nRPab"], t["nRTP"], t["nCCDS"],
                      t["nCCDL"], t["nRRD"], t["nRRD"], t["nWTRS"], t["nWTRL"], 0)  # fmt: skip
    # ACT holds HBM's row bus for two clocks, and takes effect in the second
    return Common(t["nBL"], t["nBL"], t["nRCDRD"], t["nRCDWR"], t["nRP"], t["nRP"], t["nRTPL"], t["nCCDS"], t["nCCDL"],
                  t["nRRDS"], t["nRRDL"], t["nWTRS"], t["nWTRL"], 1)  # fmt: skip


def distances(standard: str, t: Timing) -> list[Distance]:
    """Return the least clocks between commands, of all scopes."""
    c = common(standard, t)
    write_end = t["nCWL"] + c.burst
    rules = [
        Distance("rank", "RD", "RD", c.ccd),
        Distance("rank", "WR", "WR", c.ccd),
        Distance("rank", "RD", "WR", t["nCL"] + c.burst + TURN - t["nCWL"]),
        Distance("rank", "WR", "RD", write_end + c.wtr),
        Distance("rank", "RD", "PREA", c.rtp),
        Distance("rank", "WR", "PREA", write_end + t["nWR"]),
        Distance("rank", "ACT", "ACT", c.rrd),
        Distance("rank", "ACT", "PREA", t["nRAS"] + c.late),
        Distance("rank", "PREA", "ACT", c.rp_all - c.late),
        Distance("rank", "ACT", "REF", t["nRC"] + c.late),
        Distance("rank", "PRE", "REF", c.rp),
        Distance("rank", "PREA", "REF", c.rp),
        Distance("rank", "REF", "ACT", t["nRFC"] - c.late),
        Distance("rank", "REF", "PREA", t["nRFC"]),
        Distance("rank", "REF", "REF", t["nRFC"]),
        Distance("group", "RD", "RD", c.ccd_same),
        Distance("group", "WR", "WR", c.ccd_same),
        Distance("group", "WR", "RD", t["nCWL"] + c.burst_same + c.wtr_same),
        Distance("group", "ACT", "ACT", c.rrd_same),
        Distance("bank", "ACT", "ACT", t["nRC"]),
        Distance("bank", "ACT", "RD", c.rcd_read + c.late),
        Distance("bank", "ACT", "WR", c.rcd_write + c.late),
        Distance("bank", "ACT", "PRE", t["nRAS"] + c.late),
        Distance("bank", "PRE", "ACT", c.rp - c.late),
        Distance("bank", "RD", "PRE", c.rtp),
        Distance("bank", "WR", "PRE", write_end + t["nWR"]),
    ]
    if standard == "lpddr5":
        rules += [Distance("rank", a, b, t["nPPD"]) for a in ("PRE", "PREA") for b in ("PRE", "PREA")]
    if standard == "hbm2":
        rules += [Distance("channel", "ACT", b, 1 + c.late) for b in ("ACT", "PRE", "PREA", "REF")]
    return rules


def siblings(standard: str, t: Timing) -> list[Distance]:
    """Return the clocks between bursts of two ranks on one data bus; pseudo channels share no bus."""
    if standard == "hbm2":
        return []
    burst, switch = common(standard, t).burst, t["nCS"]
    return [
        Distance("sibling", "RD", "RD", burst + switch),
        Distance("sibling", "WR", "WR", burst + switch),
        Distance("sibling", "RD", "WR", t["nCL"] + burst + switch - t["nCWL"]),
        Distance("sibling", "WR", "RD", max(1, t["nCWL"] + burst + switch - t["nCL"])),
    ]


def read_latency(standard: str, t: Timing) -> int:
    """Return the clocks from a RD to its last data beat."""
    return t["nCL"] + common(standard, t).burst


def timing_problems(standard: str, t: Timing, tck_ps: int) -> list[str]:
    """Return the rules of its standard that timing values break, each with the nearest legal value."""
    known = SYMBOLS[standard].split()
    problems = [f"timing.{name}: no symbol of {standard}{did_you_mean(name, known)}" for name in t if name not in known]
    problems += [f"timing.{name}: missing, {standard} needs it" for name in known if name not in t]
    problems += [
        f"timing.{name} = {n}: 0 to {MAX_CLOCKS} clocks; nearest legal value {min(max(n, 0), MAX_CLOCKS)}"
        for name, n in t.items()
        if not 0 <= n <= MAX_CLOCKS
    ]
    if problems:
        return problems
    c = common(standard, t)
    rp = "nRPpb" if standard == "lpddr5" else "nRP"
    least = [
        ("nRC", t["nRAS"] + t[rp], f"nRAS + {rp}: a bank's row opens, closes and opens again"),
        ("nRAS", c.rcd_read + c.burst, "nRCD + burst: a row stays open for a read"),
        ("nFAW", c.rrd * 3 + 1, "3 nRRD + 1: a fourth activation fits no earlier"),
        ("nRFC", t["nRC"], "nRC: a refresh takes at least as long as an activation"),
        ("nREFI", t["nRFC"] + 1, "nRFC + 1: a refresh ends before the next"),
        ("nCL", t["nCWL"], "nCWL: write latency is at most read latency"),
        *[(long, t[short], f"{short}: same group is never sooner than another one") for short, long in
          (("nCCDS", "nCCDL"), ("nRRDS", "nRRDL"), ("nWTRS", "nWTRL"), ("nBL_min", "nBL_max")) if short in t],
        ("nCCD" if "nCCD" in t else "nCCDS", c.burst, "the burst: data of two reads do not overlap"),
        *[(name, 1, "1: no command takes effect at once") for name in ("nRCD", "nRCDRD", "nRCDWR", rp, "nRTP", "nRTPL",
          "nWR", "nCWL") if name in t],
    ]  # fmt: skip
    problems = [
        f"timing.{name} = {t[name]}: less than {why}; nearest legal value {bound}"
        for name, bound, why in least
        if t[name] < bound
    ]
    most = REFRESH_NS[standard] * 1000 // tck_ps + 1
    if t["nREFI"] > most:
        problems.append(
            f"timing.nREFI = {t['nREFI']}: {standard} is refreshed every {REFRESH_NS[standard]} ns at least, "
            f"{most} clocks of {tck_ps} ps; nearest legal value {most}"
        )
    return problems
