"""No option is dropped silently: one of a single value is given once, and so is each name of KEY=VALUE options."""

from __future__ import annotations

import pytest

from sim.cli import REFUSED, main

RUN, SWEEP = ["run", "encoder-layer"], ["sweep", "encoder-layer"]
CASES = [
    (RUN, "--seq 16 --seq 17", "--seq is given twice"),
    (RUN, "-o a --output b", "--output is given twice"),
    (RUN, "--prune heads=6 --prune layers=4", "--prune is given twice"),
    (RUN, "--prune heads=6,heads=4", "heads is given twice"),
    (RUN, "--set queues.ld=2 --set queues.ld=4", "--set queues.ld is given twice"),
    (RUN, "--cpu none --set cpu.prices=rocket", "--cpu is short for --set cpu.prices"),
    (RUN, "--size layers=2 --size layers=3", "--size layers is given twice"),
    (RUN, "--seq 16 --size seq=32", "--seq and --size seq"),
    (RUN, "--tile *.FF1=1,1,1 --tile *.FF1=2,2,2", "--tile *.FF1 is given twice"),
    (RUN, "--schedule library --schedule fused", "--schedule is given twice"),
    (SWEEP, "--grid queues.ld=2 --grid queues.ld=4", "--grid queues.ld is given twice"),
    (SWEEP, "--set queues.ld=2 --grid queues.ld=4", "queues.ld is given by --set and by --grid"),
    (["explore", "encoder-layer"], "--constraint sram=320 --constraint sram=400", "--constraint sram is given twice"),
    (["infer", "."], "--quantize clip=mse --quantize clip=max", "--quantize clip is given twice"),
    (["infer", "."], "--quantize clip=mse --quantize plain", "would undo the settings before it"),
]


@pytest.mark.parametrize(("command", "options", "said"), CASES, ids=[said for *_, said in CASES])
def test_what_is_given_twice_is_refused(
    command: list[str], options: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, *options.split()])
    assert end.value.code == REFUSED and said in capsys.readouterr().err
