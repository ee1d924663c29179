"""Whatever a single quantity is set to, a simulation is made or refused with the reason."""

import dataclasses
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.cli.base import run
from waterbg.errors import UsageError
from waterbg.simulate import Experiment, write_dataset
from waterbg.simulate import dataset as dataset_module
from waterbg.simulate.limits import _RANGES, _WORDS

TINY = Experiment(
    seed=5,
    panel_shape=(30, 40),
    gap=4.0,
    camera_length=0.01,
    dead_pixels=2,
    hot_pixels=1,
    zingers=1,
    beamstop=3.0,
    cell=(35.0, 35.0, 30.0, 90.0, 90.0, 90.0),
)
NAMES = [field.name for field in dataclasses.fields(Experiment)]
ABSURD = [
    -1, 0, 1, 1e-30, 1e-3, 0.5, 3, 1e3, 1e6, 1e30, -1e30, float("nan"), float("inf"), -float("inf"), 10**400, 2**63,
    True, None, "", "x", "\n", "caf\udce9", "-1", "cubic", "R", "m-3m", [], {}, [[]], [1, 1], [0, 0], [-1, 1], [2, 1],
    [1e9, 1e9], [1e-30, 1e30], [float("nan")] * 2, [1] * 6, [90] * 6, [0] * 6, [1e30] * 6, [60, 60, 60, 179, 1, 90],
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_quantity_that_is_absurd_is_worked_with_or_refused(name, tmp_path):
    for number, value in enumerate(ABSURD):
        make_or_refuse(name, value, tmp_path / str(number))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted({*_RANGES} - {"panel_grid", "panel_shape"})), st.data())
def test_all_that_is_in_range_is_worked_with(name, data):
    low, high, _ = _RANGES[name]
    default = getattr(TINY, name)
    one = st.integers(low, high) if isinstance(default, int) or name == "crystals" else st.floats(low, high)
    value = data.draw(st.lists(one, min_size=2, max_size=2) if isinstance(default, tuple) else one)
    with tempfile.TemporaryDirectory() as folder:
        make_or_refuse(name, value, folder)


def make_or_refuse(name, value, folder):
    try:
        experiment = TINY.replace(**{name: value})
    except UsageError as err:
        assert name in str(err)
        return
    assert Experiment.from_json(experiment.to_json()) == experiment
    write_dataset(experiment, 1, folder)


def test_the_least_spread_of_light_is_none(tmp_path):
    make_or_refuse("light_spread", 2e-311, tmp_path)


def test_every_quantity_has_its_limits():
    assert {*_RANGES, *_WORDS, "cell"} == {*NAMES}


@pytest.mark.parametrize("change", ["photons=1e30", "air=NaN", "lattice_type=x", "[" * 99_999, "seed=" + "9" * 5000])
def test_what_no_experiment_can_be_is_wrong_usage_in_one_line(change, tmp_path, capsys):
    assert run(["waterbg", "simulate", "small", "-o", str(tmp_path / "sim"), "--set", change]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"waterbg: {change.split('=')[0]}:") or "NAME=VALUE is needed" in said
    assert not list(tmp_path.iterdir())


def test_a_command_of_any_length_and_shape_leaves_a_stream_that_can_be_read(tmp_path):
    for name, change in (("long", "water=60." + "0" * 2000), ("broken", "jet=[1,\n1]")):
        words = ["--set=panel_shape=[30,40]", "--set", change, "--name", name, "-n1", "-o", str(tmp_path)]
        assert run(["waterbg", "simulate", "small", *words]) == 0
        assert run(["waterbg", "verify", str(tmp_path / f"{name}.stream")]) == 0


def test_the_commands_in_the_header_of_a_simulated_stream_say_every_digit(tmp_path):
    words = ["--photons=1234567", "--set=profile_radius=0.0012345678", "--set=panel_shape=[30,40]", "-n1"]
    assert run(["waterbg", "simulate", "small", *words, "-o", str(tmp_path)]) == 0
    head = (tmp_path / "small.stream").read_bytes()[:2000]
    assert b" --photons 1234567 " in head
    assert b" --fix-profile-radius=0.0012345678e9 " in head


def test_a_simulation_without_memory_advises_what_a_simulation_has(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(dataset_module, "simulate_frame", full)
    assert run(["waterbg", "simulate", "small", "-o", str(tmp_path / "sim")]) == 1
    assert capsys.readouterr().err == (
        "waterbg: error: out of memory; fewer pixels (panel_grid, panel_shape) need less\n"
    )
    assert not list(tmp_path.iterdir())
