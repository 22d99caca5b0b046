"""Several sequences at once: the values of each are those of the sequence alone."""

from __future__ import annotations

import numpy as np
import pytest
from functional.test_decoders import gpt2, llama
from functional.test_inference import write_model

from sim.functional import host, tokens
from workloads import checkpoint
from workloads.checkpoint.graph import Engines, Form, graph_and_weights

COUNT, LENGTH = 3, 9


@pytest.mark.parametrize(("write", "array"), [(write_model, False), (write_model, True), (gpt2, False), (llama, False)])
def test_every_tensor_is_that_of_the_sequence_alone(tmp_path, write, array):
    written = write(tmp_path)
    model = checkpoint.load(written[0] if isinstance(written, tuple) else written)
    engines = Engines("array", "array", "array") if array else Engines()
    graph, weights = graph_and_weights(model, LENGTH, engines, Form(residual="int32"))
    sequences = tokens.random_sequences(model, COUNT, LENGTH)
    inputs = [tokens.sequence_inputs(model, ids, LENGTH) for ids in sequences]
    together = {name: np.stack([one[name] for one in inputs]) for name in inputs[0]}
    given = {**tokens.inputs(model, sequences[0]), **weights}
    shared = {name: values for name, values in given.items() if name not in together}
    found = host.forward_together(graph, shared, together, model.epsilon, model.head_dim)
    for number, one in enumerate(inputs):
        alone = host.forward(graph, {**given, **one}, model.epsilon, model.head_dim)
        assert found.keys() == alone.keys()
        for name in alone:
            if name in given:
                continue
            # float32 sums in another order
            reach = np.abs(alone[name]).max(initial=0)
            np.testing.assert_allclose(found[name][number], alone[name], rtol=0, atol=1e-5 * reach, err_msg=name)
