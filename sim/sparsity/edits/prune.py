"""Structured pruning as an edit of the graph: fewer heads, neurons, columns or layers, a smaller graph.

"heads=8,layers=6,ffn=1536" (`pruning`) gives the numbers *kept* in every layer: the first 6 layers, each with 8 heads
and 1536 neurons; "head_dim=48" keeps columns of Q, K and V in every head (rows of the product behind them),
"hidden=512" columns of all activations between layers. "L*.FF1.columns=1536" and "L0.FF2.rows=1536" narrow the weight
[K, N] of the matmuls named, and every operator that writes or reads the removed columns; if an operator needs the whole
dimension (a LayerNorm, a head), the error names it. Time depends on the number of parts removed only; `saliency`
selects them. The edit follows structure, not names: matmul, softmax, matmul is attention; matmul, gelu (or silu with
its gate, or relu), matmul is feed-forward. So it works on any graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Op, Tensor, View, kinds
from sim.sparsity.edits.pruning import SIDES, Pruning, parse
from sim.sparsity.structure import Attention, attention_blocks, neurons, weighted


def prune(graph: Graph, what: str | Pruning) -> Graph:
    """Return the pruned ``graph``; keeping everything returns an equal graph.

    Raises InputError if there are fewer heads, neurons or layers than to be kept, or no such structure.
    """
    pruning = parse(what) if isinstance(what, str) else what
    steps = {
        "layers": _Edit.keep_layers,
        "heads": _Edit.keep_heads,
        "ffn": _Edit.keep_neurons,
        "head_dim": _Edit.keep_head_columns,
        "hidden": _Edit.keep_hidden,
    }
    problems: list[str] = []
    for name, step in steps.items():
        if (kept := getattr(pruning, name)) is not None:
            edit = _Edit(graph)
            step(edit, kept)
            graph = edit.graph if edit.problems else edit.done()
            problems += edit.problems
    for named in pruning.named:
        ops = named.matmuls(graph)
        if not ops:
            hint = did_you_mean(named.operators, [op.name for op in weighted(graph)])
            problems.append(f"{graph.name} has no matmul with weights named {named.operators!r}{hint}")
        for op in ops:
            edit = _Edit(graph)
            edit.keep_side(op, named.side, named.kept)
            graph = edit.graph if edit.problems else edit.done()
            problems += edit.problems
    if problems:
        raise InputError([f"prune {pruning}: {problem}" for problem in dict.fromkeys(problems)])
    return graph


def narrowed(graph: Graph, part: str, op: Op | None = None) -> tuple[int, dict[str, int]]:
    """Return the number of places to cut at, and the matrices that are cut, with the axis.

    ``part``: "hidden"; "heads" of the attention with the scores ``op`` (places: heads x columns of each), "ffn" of the
    gelu ``op``, "rows" or "columns" of the matmul ``op``. Matrices: weights [K, N] that lose rows (0) or columns (1),
    and embedding tables. Raises InputError if an operator needs the whole dimension.
    """
    edit = _Edit(graph)
    if op is None:
        count = hidden_size(graph)
        edit.keep_hidden(count)
    elif part in SIDES:
        count = (op.inputs[0] if part == "rows" else op.output).cols
        edit.keep_side(op, part, count)
    elif part == "ffn":
        count = op.output.cols
        edit.keep_neurons(count, op)
    else:
        count = op.inputs[0].cols * op.output.batch
        edit.keep_heads(op.output.batch, op)
    if edit.problems:
        where = f"{op.name}.{part}" if op is not None else part
        raise InputError([f"prune {where}: {problem}" for problem in dict.fromkeys(edit.problems)])
    stored = {name: axis for name, (axis, *_) in edit.narrowed.items()}
    tables = {one.inputs[index].tensor: 1 for one in graph.ops for index in _tables(one)}
    matrices = {
        one.inputs[1].tensor: int((stored[one.inputs[1].tensor] == -1) != one.attrs["transpose_b"])
        for one in weighted(graph)
        if one.inputs[1].tensor in stored
    }
    return count, {name: axis for name, axis in tables.items() if name in stored} | matrices


def _tables(op: Op) -> tuple[int, ...]:
    """Return which inputs of an operator lose columns as weights do."""
    passed = kinds.find(op.kind).columns
    return passed.weights if passed is not None else ()


def hidden_size(graph: Graph) -> int:
    """Return the columns of the activations between layers, 0 without a matmul by weights."""
    products = weighted(graph)
    return products[0].inputs[0].cols if products else 0


def _touched(ops: tuple[Op, ...]) -> set[str]:
    """Return the names of all tensors that ``ops`` read, write or name."""
    names = {view.tensor for op in ops for view in (*op.inputs, op.output)}
    return names | {name for op in ops for name in op.attrs.values() if isinstance(name, str)}


@dataclass
class _Edit:
    """The edit in progress: tensors to narrow (axis, old, new), layers and operators to drop, what to read instead."""

    graph: Graph
    narrowed: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    instead: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    per_head: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    whole_rows: bool = False

    def done(self) -> Graph:
        """Return the edited graph, or the original graph if the edit has problems."""
        ops = self.ops()
        if self.problems:
            return self.graph
        gone = _touched(self.graph.ops) - _touched(ops)
        tensors = {name: self.tensor(tensor) for name, tensor in self.graph.tensors.items() if name not in gone}
        return Graph(self.graph.name, tensors, ops, self.graph.sizes)

    def keep_layers(self, kept: int) -> None:
        layers = sorted({op.layer for op in self.graph.ops if op.layer is not None})
        if not self._enough("layers", kept, len(layers), self.graph.name):
            return
        outputs = {layer: self._layer_outputs(layer) for layer in layers[kept - 1 :]}
        shapes = {(t.shape, t.dtype) for found in outputs.values() for t in found}
        if any(len(found) != 1 for found in outputs.values()) or len(shapes) != 1:
            self.problems.append("the layers do not each pass on one tensor of one shape")
            return
        self.dropped = frozenset(layers[kept:])
        last = outputs[layers[kept - 1]][0].name
        self.instead = {outputs[layer][0].name: last for layer in self.dropped}

    def _layer_outputs(self, layer: int) -> list[Tensor]:
        """Return the tensors written in ``layer`` and read outside it, or not at all."""
        written = dict.fromkeys(op.output.tensor for op in self.graph.ops if op.layer == layer)
        readers = {name: self.graph.consumers(name) for name in written}
        return [
            self.graph.tensors[name] for name, ops in readers.items() if not ops or any(op.layer != layer for op in ops)
        ]

    def keep_heads(self, kept: int, only: Op | None = None) -> None:
        attention = attention_blocks(self.graph)
        if not attention:
            self.problems.append(f"heads: {self.graph.name} isn't made of matmul, softmax, matmul")
            return
        inside = {op.name for block in attention for op in block}
        for block in attention:
            scores = block[0]
            heads, groups = (self.graph.tensors[view.tensor].shape[-1] // view.cols for view in scores.inputs[:2])
            if only in (None, scores) and self._enough("heads", kept, heads, scores.name):
                if kept * groups % heads or groups > heads:
                    share = max(1, heads // groups)
                    self.problems.append(
                        f"{scores.name}: {heads} heads of Q share {groups} of K: only whole groups of {share} can be "
                        f"removed (nearest: heads={max(1, round(kept / share)) * share})"
                    )
                else:
                    self._keep_heads_of(block, kept, (heads, groups, kept * groups // heads), inside)

    def _keep_heads_of(self, block: Attention, kept: int, groups: tuple[int, int, int], inside: set[str]) -> None:
        """Keep heads of one attention: all of an operator, or the operators of the groups that stay.

        ``groups``: heads of Q and of K, and those of K that stay.
        """
        scores, softmax, context = block
        heads, held, stay = groups
        alone = scores.inputs[1].batch == 1 and held > 1  # an operator for each head of K
        if alone:
            if scores.inputs[1].offset % (held * scores.inputs[1].cols) >= stay * scores.inputs[1].cols:
                self.gone |= {op.name for op in block}
        elif scores.batch in (heads, held):
            for view in (scores.output, softmax.output):
                self.narrowed[view.tensor] = (0, scores.batch, scores.batch * kept // heads)
        else:
            self.problems.append(f"{scores.name}: its heads are neither one operator nor one for each head of K")
        for view in scores.inputs[2:]:
            if view.batch > 1:
                self._head_sums(scores, view, heads, kept)
        for view, old, new in (
            (scores.inputs[0], heads, kept), (scores.inputs[1], held, stay),
            (context.inputs[1], held, stay), (context.output, heads, kept),
        ):  # fmt: skip
            self._columns(view.tensor, old * view.cols, new * view.cols, inside)

    def _head_sums(self, scores: Op, view: View, heads: int, kept: int) -> None:
        """Narrow what is added to the scores of each head: given, or looked up from a table of a column a head."""
        tensor, makers = self.graph.tensors[view.tensor], self.graph.producers(view.tensor)
        looked_up = all(self._is_table(op, heads) for op in makers)
        if tensor.shape[0] != heads or not looked_up:
            self.problems.append(
                f"{scores.name} adds a computed matrix of its own to each head's scores: no head can be removed"
            )
            return
        self.narrowed[tensor.name] = (0, heads, kept)
        for op in makers:
            self.narrowed[op.inputs[1].tensor] = (-1, heads, kept)

    def _is_table(self, op: Op, heads: int) -> bool:
        """Return whether an operator takes values from a table, its second input, of a column a head."""
        table = self.graph.tensors[op.inputs[-1].tensor]
        return len(op.inputs) == 2 and not op.is_matmul and table.kind == "weight" and table.shape[-1] == heads

    def keep_head_columns(self, kept: int) -> None:
        attention = attention_blocks(self.graph)
        if not attention:
            self.problems.append(f"head_dim: {self.graph.name} isn't made of matmul, softmax, matmul")
        inside = {op.name for block in attention for op in block}
        for scores, _, context in attention:
            for view in (*scores.inputs[:2], context.inputs[1], context.output):
                if self._enough("head_dim", kept, view.cols, scores.name):
                    self.per_head[view.tensor] = view.batch
                    self._columns(view.tensor, view.batch * view.cols, view.batch * kept, inside)

    def keep_hidden(self, kept: int) -> None:
        """Narrow the activations between layers, beginning with the first operand of a weight.

        LayerNorm then has fewer columns.
        """
        size = hidden_size(self.graph)
        if not size:
            self.problems.append(f"hidden: {self.graph.name} has no matmul with weights")
        elif self._enough("hidden", kept, size, self.graph.name):
            self.whole_rows = True
            self._columns(weighted(self.graph)[0].inputs[0].tensor, size, kept, set())

    def keep_neurons(self, kept: int, only: Op | None = None) -> None:
        activations = neurons(self.graph)
        if not activations:
            self.problems.append(f"ffn: {self.graph.name} has no matmul, then gelu, silu or relu, matmul")
        for op in activations:
            if only in (None, op) and self._enough("ffn", kept, op.output.cols, op.name):
                self._columns(op.output.tensor, op.output.cols, kept, set())

    def keep_side(self, op: Op, side: str, kept: int) -> None:
        """Narrow rows or columns of a weight by narrowing the activation on that side."""
        view = op.inputs[0] if side == "rows" else op.output
        if self._enough(f"{op.name}.{side}", kept, view.cols, op.name):
            self._columns(view.tensor, view.cols, kept, set())

    def _enough(self, what: str, kept: int, there: int, where: str) -> bool:
        if 1 <= kept <= there:
            return True
        self.problems.append(f"{what}={kept}, but {where} has {there} (nearest: {what}={min(max(kept, 1), there)})")
        return False

    def _columns(self, tensor: str, old: int, new: int, inside: set[str]) -> None:
        """Narrow the columns of ``tensor`` and follow them through its writers and readers to the weights."""
        if tensor in self.narrowed:
            return
        self.narrowed[tensor] = (-1, old, new)
        writers, readers = self.graph.producers(tensor), self.graph.consumers(tensor)
        if not writers and not self.whole_rows:
            self.problems.append(f"{tensor!r} is given, not computed: its columns cannot be pruned")
        for op in (*writers, *readers):
            if op.name in inside:
                continue
            passed = kinds.find(op.kind).columns
            if (
                passed is not None
                and passed.when == "heads"
                and (tensor in self.per_head or new % op.attrs["head_dim"])
            ):
                self.problems.append(
                    f"{op.name} ({op.kind}) rotates pairs of columns of each head: only whole heads can be removed"
                )
                continue
            if passed is not None and (passed.when in ("any", "heads") or self.whole_rows):
                named = [op.attrs[name] for name in passed.weight_attributes if op.attrs[name] is not None]
                for name in (*named, *(op.inputs[index].tensor for index in passed.weights)):
                    self.narrowed[name] = (-1, old, new)
                through = op.inputs if passed.inputs is None else [op.inputs[index] for index in passed.inputs]
                for view in (*through, op.output):
                    self._columns(view.tensor, old, new, inside)
            elif self.graph.multiplies_weights(op):
                b_cols, b_rows = (0, -1) if op.attrs["transpose_b"] else (-1, 0)
                if op in writers:
                    self.narrowed[op.inputs[1].tensor] = (b_cols, old, new)
                    for bias in op.inputs[2:]:
                        self.narrowed[bias.tensor] = (-1, old, new)
                else:
                    self.narrowed[op.inputs[1].tensor] = (b_rows, old, new)
            else:
                self.problems.append(f"{op.name} ({op.kind}) needs all columns of {tensor!r}")

    def ops(self) -> tuple[Op, ...]:
        """Return the remaining operators with their new windows; may record further problems."""
        ops = []
        for op in self.graph.ops:
            if (op.layer is None or op.layer not in self.dropped) and op.name not in self.gone:
                *inputs, output = (self._view(op, view) for view in (*op.inputs, op.output))
                ops.append(replace(op, inputs=tuple(inputs), output=output))
        return tuple(ops)

    def tensor(self, tensor: Tensor) -> Tensor:
        """Return ``tensor`` with its new shape."""
        if tensor.name not in self.narrowed:
            return tensor
        axis, _, new = self.narrowed[tensor.name]
        shape = list(tensor.shape)
        shape[axis] = new
        return replace(tensor, shape=tuple(shape))

    def _view(self, op: Op, view: View) -> View:
        """Return ``view`` on the narrowed tensor; one that isn't made of whole rows or heads is a problem."""
        view = replace(view, tensor=self.instead.get(view.tensor, view.tensor))
        if view.tensor not in self.narrowed:
            return view
        axis, old, new = self.narrowed[view.tensor]
        tensor = self.graph.tensors[view.tensor]
        fits = tensor.shape[axis] == old
        if fits and axis == 0 and view == View.whole(tensor):
            return View.whole(self.tensor(tensor))
        if fits and axis == 0 and view.batch == old and view.batch_stride == tensor.elements // old:
            return replace(view, batch=new)  # rows padded to pages
        by_head = view.batch > 1 and view.batch_stride == view.cols and view.batch * view.cols == old
        if fits and axis == -1 and by_head and view.tensor in self.per_head:
            size = new // view.batch
            offset = view.offset // old * new
            return replace(view, row_stride=view.row_stride // old * new, offset=offset, cols=size, batch_stride=size)
        if fits and axis == -1 and view.offset % old == 0 and (by_head or view.cols == old):
            moved = replace(view, row_stride=view.row_stride // old * new, offset=view.offset // old * new)
            if by_head:
                return replace(moved, batch=new // view.cols)
            return replace(moved, cols=new, batch_stride=view.batch_stride // old * new)
        if fits and axis == -1 and (found := _in_part(view, old, new)):
            return found
        self.problems.append(f"{op.name}: its window of {view.tensor!r} isn't made of whole heads or rows")
        return view


def _in_part(view: View, old: int, new: int) -> View | None:
    """Return a window of some of the ``new`` columns that stay of each row, None where it is none.

    Heads of Q that share a head of K are the rows or the repetitions of such a window.
    """
    first, scaled = view.offset % old, replace(view, offset=view.offset // old * new + view.offset % old)
    heads_as_rows = view.row_stride == view.cols and view.batch_stride == view.rows * view.cols
    if heads_as_rows and first == 0 and view.batch * view.rows * view.cols == old:
        return replace(scaled, batch=new // view.batch_stride)
    beside = view.batch > 1 and view.batch_stride < old
    end = first + view.cols + (view.batch - 1) * view.batch_stride * beside
    if view.row_stride % old or end > new or (view.batch > 1 and not beside and view.batch_stride % old):
        return None
    apart = view.batch_stride if beside else view.batch_stride // old * new
    return replace(scaled, row_stride=view.row_stride // old * new, batch_stride=apart)
