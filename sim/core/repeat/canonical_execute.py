"""Canonical form of the execute controller, the array and the memories' ports."""

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import BANKS, RING
from sim.core.units.accumulator import DEPTH
from sim.core.units.execute.state import COMPUTE, ENTRIES
from sim.core.units.mesh import ROWS, TAGS


@njit
def _queues(x, now):
    for i in range(x.u_n, 2):
        x.u_funct[i] = 0
        x.u_rs1[i] = 0
        x.u_rs2[i] = 0
        x.u_slot[i] = 0
    x.u_pop_t = recent(x.u_pop_t, now, 0)
    for ring in (x.q_funct, x.q_rs1, x.q_rs2, x.q_slot):
        straighten(ring, x.q_head, x.q_n, RING)
    x.q_head = 0
    x.q_pop_t = recent(x.q_pop_t, now, 0)
    if x.q_pop_t == LONG_AGO:
        x.q_popped = 0
    for ring in (x.e_fires, x.e_first, x.e_t, x.e_total, x.e_slot, x.e_addr, x.e_rows):
        straighten(ring, x.e_head, x.e_n, ENTRIES)
    x.e_head = 0
    x.pace_t = due(x.pace_t, now)
    for i in range(x.e_n):
        x.e_t[i] = due(x.e_t[i], now)


@njit
def _command(x):
    """The command being performed; between commands nobody looks at the last one."""
    x.stalled = 0
    x.fed = 0
    x.fire = 0
    x.run_t = 0
    x.run_taken = 0
    x.run_reads = 0
    x.run_weights = 0
    x.run_a = 0
    x.run_b = 0
    x.run_d = 0
    if x.state == COMPUTE:
        return
    x.kind = 0
    x.total = 0
    x.row = 0
    x.done = 0
    x.a_on = 0
    x.b_on = 0
    x.d_on = 0
    x.a_addr = 0
    x.b_addr = 0
    x.d_addr = 0
    x.a_rows = 0
    x.b_rows = 0
    x.d_rows = 0
    x.a_cols = 0
    x.b_cols = 0
    x.d_cols = 0
    x.c_addr = 0
    x.c_rows = 0
    x.c_slot = -1


@njit
def _array(m, now):
    """Ids count up modulo a number of their own: only their distance from the newest matters."""
    x = m.mesh
    n = m.p.matmul_ids
    for ring in (x.r_t, x.r_id, x.r_last):
        straighten(ring, x.r_head, x.r_n, ROWS)
    for ring in (x.t_slot, x.t_addr, x.t_rows, x.t_id):
        straighten(ring, x.t_head, x.t_n, TAGS)
    for ring in (x.c_total, x.c_id):
        straighten(ring, x.c_head, x.c_n, TAGS)
    x.r_head = 0
    x.t_head = 0
    x.c_head = 0
    for i in range(x.r_n):
        x.r_t[i] -= now
        x.r_id[i] = (x.r_id[i] - x.id) % n
    for i in range(x.t_n):
        x.t_id[i] = (x.t_id[i] - x.id) % n
    for i in range(x.c_n):
        x.c_id[i] = (x.c_id[i] - x.id) % n
    x.id = 0
    x.t_pop_t = recent(x.t_pop_t, now, 0)
    x.c_pop_t = recent(x.c_pop_t, now, 0)
    x.last_fire = 0
    x.run_t = 0
    if not x.req:
        x.total = 0


@njit
def _accumulator(m, now):
    a = m.acc
    p = m.p
    for bank in range(BANKS):
        # newest first; what entered the pipeline longer ago than it is deep has left it
        t = a.w_t[bank].copy()
        row = a.w_row[bank].copy()
        for k in range(DEPTH):
            i = (a.at[bank] - k) % DEPTH
            at = -k % DEPTH
            a.w_t[bank, at] = recent(t[i], now, p.acc_latency) if k <= p.acc_latency else LONG_AGO
            a.w_row[bank, at] = row[i] if a.w_t[bank, at] != LONG_AGO else 0
        a.at[bank] = 0
        a.shown_t[bank] = LONG_AGO
        a.shown_acc[bank] = 0
        a.mesh_t[bank] = LONG_AGO
        a.read_t[bank] = due(a.read_t[bank], now)
        a.same_t[bank] = recent(a.same_t[bank], now, 0)
        for sub in range(4):
            for k in range(a.q_n[bank, sub], 4):
                a.q_row[bank, sub, k] = 0
            a.rmw_t[bank, sub] = LONG_AGO
            a.wen_t[bank, sub] = LONG_AGO
    a.last_t = recent(a.last_t, now, p.acc_latency)
    a.run_t = 0
    a.run_good = 0
    a.run_addr = 0
    a.run_row = 0
    a.run_stride = 0
    if not p.has_norm:
        a.written[:] = 0  # only the normaliser's divisions can tell


@njit
def rest(m, now):
    """Execute controller, array, accumulator and ports, clock set back."""
    _queues(m.ex, now)
    _command(m.ex)
    _array(m, now)
    _accumulator(m, now)
    m.ports.sp_write_t[:] = LONG_AGO
    m.ports.sp_read_t[:] = LONG_AGO
