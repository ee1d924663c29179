"""Job arrays on a real Slurm, a cluster of one node."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.run.arrays import make, waterbg
from waterbg.run.slurm import JobFolder


@pytest.fixture(scope="module")
def cluster(shared, tmp_path_factory):
    """One node on the loopback, without accounting."""
    script = shared / "slurm" / "slurm_test_cluster.sh"
    if not script.exists():
        pytest.skip("the test cluster's script is not here")
    folder = tmp_path_factory.mktemp("cluster")
    started = subprocess.run(["bash", script, "start", folder], capture_output=True, text=True, timeout=120)
    if started.returncode:
        pytest.skip(f"no cluster could be started: {started.stderr[-300:]}")
    said = subprocess.run(["bash", script, "env", folder], capture_output=True, text=True, check=True).stdout
    variables = subprocess.run(["bash", "-c", f"{said}\nenv -0"], capture_output=True, text=True, check=True).stdout
    before = dict(os.environ)
    from plumbum import local

    for line in variables.split("\0"):
        name, equals, value = line.partition("=")
        if equals and before.get(name) != value:
            os.environ[name] = local.env[name] = value
    yield folder
    subprocess.run(["bash", script, "stop", folder], capture_output=True, timeout=60, check=False)
    for name in set(os.environ) - set(before):
        del os.environ[name]
        if name in local.env:
            del local.env[name]


def _of_this_cluster(cluster, *names):
    """Numbers of the processes of those names that this very cluster has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text().strip() in names and f"{cluster}/".encode() in (
                (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
    return found


def wait(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.3)


@pytest.mark.slurm
@pytest.mark.shared
@pytest.mark.slow
def test_an_array_of_four_blocks_equals_the_local_run_byte_for_byte(cluster, stream):
    local_run, out = stream.with_name("local.stream"), stream.with_name("out.stream")
    assert waterbg("subtract", stream, "-o", local_run) == 0
    assert waterbg("subtract", stream, "-o", out, "--slurm", "--block-size=5") == 0
    folder = JobFolder(f"{out}.slurm")
    wait(lambda: not folder.missing())
    assert waterbg("slurm", "status", folder.path) == 0
    assert waterbg("slurm", "collect", folder.path) == 0
    assert out.read_bytes() == local_run.read_bytes()


@pytest.mark.slurm
@pytest.mark.shared
@pytest.mark.slow
def test_any_name_of_folder_and_output_will_do_for_slurm(cluster, stream, monkeypatch):
    place = stream.parent / "a 'b' #c 50%a exec d"
    place.mkdir()
    monkeypatch.chdir(place)
    words = ["-o", "my run.stream", "--slurm", "--integration=rings"]
    assert waterbg("subtract", stream, *words) == 0
    folder = JobFolder("my run.stream.slurm")
    wait(lambda: not folder.queued())
    assert (folder.path / "stdout-0.log").read_text() == "block 0 is done\n"
    assert waterbg("slurm", "collect", "my run.stream.slurm") == 0


@pytest.mark.slurm
@pytest.mark.shared
@pytest.mark.slow
def test_one_killed_block_is_the_only_one_resume_submits(cluster, stream, capsys):
    out, path, _ = make(stream)
    folder = JobFolder(str(path))
    script = path / "run_waterbg.sh"
    text = script.read_text()
    # the third task is killed as a node's memory guard would do it: at once, without a word
    script.write_text(text.replace("exec ", '[ "$SLURM_ARRAY_TASK_ID" = 2 ] && kill -9 $$\nexec '))
    assert waterbg("slurm", "resume", path) == 0
    wait(lambda: not folder.queued())
    assert folder.missing() == [2]
    capsys.readouterr()
    assert waterbg("slurm", "status", path) == 1
    assert "3 of 4 blocks done, 1 missing" in capsys.readouterr().out
    script.write_text(text)
    assert waterbg("slurm", "resume", path) == 0
    assert "blocks 2 submitted" in capsys.readouterr().out
    wait(lambda: not folder.missing())
    assert waterbg("slurm", "collect", path) == 0
    assert out.exists()


@pytest.mark.slurm
@pytest.mark.shared
@pytest.mark.slow
def test_cancel_takes_everything_off_slurm_and_keeps_what_is_done(cluster, stream):
    _, path, _ = make(stream)
    folder = JobFolder(str(path))
    script = path / "run_waterbg.sh"
    script.write_text(script.read_text().replace("exec ", '[ "$SLURM_ARRAY_TASK_ID" = 0 ] || sleep 300\nexec '))
    assert waterbg("slurm", "resume", path) == 0
    wait(lambda: 0 not in folder.missing())
    assert waterbg("slurm", "cancel", path) == 0
    wait(lambda: not folder.queued(), 30)
    assert folder.missing() == [1, 2, 3]


@pytest.mark.slurm
@pytest.mark.shared
@pytest.mark.slow
def test_a_node_that_disappears_costs_its_block_alone(cluster, stream):
    out, path, _ = make(stream)
    folder = JobFolder(str(path))
    script, flag = path / "run_waterbg.sh", path / "wait"
    script.write_text(
        script.read_text().replace("exec ", f'[ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ -e {flag} ] && sleep 300\nexec ')
    )
    flag.touch()
    assert waterbg("slurm", "resume", path) == 0
    wait(lambda: folder.missing() == [1] and folder.queued().get(1) == "RUNNING")
    daemon = Path(cluster) / "slurmd.our.pid"
    os.kill(int(daemon.read_text()), 9)
    for process in _of_this_cluster(cluster, "slurmstepd", "sleep"):
        os.kill(process, 9)
    flag.unlink()
    assert waterbg("slurm", "status", path) == 1
    assert folder.missing() == [1]
    name = os.uname().nodename.split(".")[0]
    conf = f"{cluster}/slurm.conf"
    node = subprocess.Popen(
        ["slurmd", "-D", "-f", conf, "-N", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    daemon.write_text(str(node.pid))
    # Slurm may requeue the task itself once the node is back; when it does not, resume does
    wait(lambda: not folder.missing() or 1 not in folder.queued(), 180)
    if folder.missing():
        assert waterbg("slurm", "resume", path) == 0
    wait(lambda: not folder.missing(), 180)
    assert waterbg("slurm", "collect", path) == 0
    local_run = stream.with_name("local.stream")
    assert waterbg("subtract", stream, "-o", local_run) == 0
    assert out.read_bytes() == local_run.read_bytes()
    node.terminate()
    node.wait()
