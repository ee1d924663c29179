"""Nothing in a stream, a geometry or an image reads elsewhere, writes elsewhere, or runs a program."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import pytest

import waterbg

from ..conftest import WATERBG
from .world import DATA, World, assert_honest, assert_one_line, per_event

EVIL = ["$(touch {0})", "`touch {0}`", "| touch {0}", "; touch {0}", "file:///{0}", "https://example.org/{0}"]


def chunks(text):
    return text[text.index(b"----- Begin chunk") :]


# -- reading ------------------------------------------------------------------------------------------------------


def external_link(file, name, target):
    file[name] = h5py.ExternalLink(str(target), name)


def virtual(file, name, target):
    with h5py.File(os.path.join(os.path.dirname(file.filename), target)) as source:
        shape, dtype = source[name].shape, source[name].dtype
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(str(target), name, shape)
    file.create_virtual_dataset(name, layout)


def raw_storage(file, name, target):
    with h5py.File(target) as source:
        data = source[name][()]
    raw = Path(target).with_suffix(".raw")
    raw.write_bytes(data.tobytes())
    file.create_dataset(name, data.shape, data.dtype, external=[(str(raw), 0, data.nbytes)])


WAYS = {  # how to another file, and whether its name is relative
    "external link": (external_link, False),
    "relative external link": (external_link, True),
    "virtual dataset": (virtual, False),
    "relative virtual dataset": (virtual, True),
    "raw storage": (raw_storage, False),
}


@pytest.mark.parametrize(("way", "relative"), WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize("name", [DATA, "/entry/data/mask"])
def test_an_image_leads_out_of_its_folder_only_when_that_is_allowed(world, tmp_path, way, name, relative, capsys):
    assert world.subtract("--integration=rings", "--int-radius=3,5,8") == 0
    expected = per_event(world.out)
    world.out.unlink()
    secret = tmp_path / "secret" / "secret.h5"
    secret.parent.mkdir()
    shutil.copyfile(world.images, secret)
    with h5py.File(world.images, "r+") as file:
        del file[name]
        way(file, name, os.path.relpath(secret, world.folder) if relative else secret)
    words = ("--integration=rings", "--int-radius=3,5,8")
    capsys.readouterr()
    assert world.subtract(*words) == 1
    assert_one_line(said := capsys.readouterr().err)
    assert "outside the image's folder; allow it with --follow-external-links" in said
    assert world.left() == []
    for jobs in (1, 2):
        assert world.subtract(*words, "--follow-external-links", "--force", "-j", jobs) == 0
        assert per_event(world.out) == expected


def test_a_symbolic_link_to_an_image_is_the_image_and_its_links_are_judged_beside_the_file_it_leads_to(world, tmp_path):
    """Links on the disk are the user's own, and not something a stream or an image can make."""
    store = tmp_path / "store"
    store.mkdir()
    world.images.rename(store / "real.h5")
    world.images.symlink_to(store / "real.h5")
    shutil.copyfile(store / "real.h5", store / "part.h5")
    with h5py.File(store / "real.h5", "r+") as file:
        del file[DATA]
        external_link(file, DATA, "part.h5")
    assert world.subtract() == 0
    assert_honest(world.stream, world.out)


@pytest.mark.parametrize("key", ["mask_file", "saturation_map_file"])
def test_a_file_that_the_geometry_names_is_read_and_must_be_hdf5(world, tmp_path, key, capsys):
    """A name in the geometry is read knowingly, wherever it leads; what it holds is never shown."""
    secret = tmp_path / "password"
    secret.write_text("swordfish\n")
    extra = f"saturation_map = /x\n{key} = {secret}\n" if "sat" in key else f"{key} = {secret}\n"
    world.edit(lambda text: text.replace(b"mask_good", extra.encode() + b"mask_good"))
    assert world.subtract() == 1
    assert_one_line(said := capsys.readouterr().err)
    assert "is neither an HDF5 nor a CBF file" in said
    assert "swordfish" not in said


@pytest.mark.parametrize("what", ["image", "mask"])
def test_a_pipe_or_a_device_where_an_image_should_be_is_not_waited_for(world, what, capsys):
    os.mkfifo(world.folder / "pipe")
    for name in (str(world.folder / "pipe"), "/dev/zero", "/dev/stdin"):
        old = b"run.h5" if what == "image" else b"mask_good"
        new = name.encode() if what == "image" else b"mask_file = " + name.encode() + b"\nmask_good"
        text = world.stream.read_bytes()
        world.edit(lambda text, old=old, new=new: text.replace(old, new))
        began = time.monotonic()
        assert world.subtract() == 1
        assert time.monotonic() - began < 5
        assert_one_line(said := capsys.readouterr().err)
        assert "is no file, but a pipe, a socket or a device" in said
        world.stream.write_bytes(text)


# -- writing, and running -----------------------------------------------------------------------------------------


def make_evil(world, marker):
    """Put commands and paths wherever the stream and its geometry hold text, and images that still can be read."""
    evil = [pattern.format(marker).encode() for pattern in EVIL]

    def change(text):
        text = text.replace(
            b"indexamajig -i run.lst",
            b"indexamajig -i " + evil[0] + b" -o %s --output=%s --model=%s -g %s" % ((str(marker).encode(),) * 4),
        )
        text = text.replace(b"hit = 1", b"hit = 1\n" + b"".join(b"header/%s = %s\n" % (e, e) for e in evil) + b"x = 1")
        text = text.replace(b"Generated by", b"# " + b" ".join(evil) + b"\nGenerated by")
        text = text.replace(b"lattice_type = tetragonal", b"lattice_type = " + evil[1])
        return text.replace(b"max_adu = 250", b"; " + evil[3] + b"\nmax_adu = 250")

    world.edit(change)


# where compiled kernels and modules are kept: of the package that is installed, or in the checkout
PACKAGES = [os.path.dirname(waterbg.__file__), str(Path(__file__).resolve().parents[2] / "waterbg")]
KERNELS = [*PACKAGES, *filter(None, [os.environ.get("NUMBA_CACHE_DIR")])]

WATCH = """
import os, sys
allowed = tuple(sys.argv[1].split(os.pathsep))
def watch(event, args):
    if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "os.spawn"):
        os.write(2, f"FORBIDDEN {event} {args}".encode()); os._exit(99)
    writes = []
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        writes = args[:1]
    if event in ("os.rename", "os.link", "os.symlink"):
        writes = args[:2]
    if event in ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"):
        writes = args[:1]
    for name in writes:
        if isinstance(name, (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(name))
            if not path.startswith(allowed):
                os.write(2, f"FORBIDDEN {event} {path}".encode()); os._exit(99)
import waterbg.cli.base, waterbg.run, waterbg.model, waterbg.integrate.rings
sys.addaudithook(watch)
sys.exit(waterbg.cli.base.run(["waterbg", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("method", ["profile", "rings"])
def test_a_hostile_stream_runs_no_program_and_writes_nothing_but_its_output(world, tmp_path, method, jobs):
    marker = tmp_path / "pwned"
    make_evil(world, marker)
    before = sorted(os.listdir(tmp_path))
    allowed = os.pathsep.join([str(world.out), str(world.folder / ".out.stream"), *KERNELS, "/dev/null"])
    words = ["subtract", str(world.stream), "-o", str(world.out), f"--integration={method}", "-j", str(jobs)]
    done = subprocess.run([sys.executable, "-c", WATCH, allowed, *words], capture_output=True, text=True, cwd=tmp_path)
    assert "FORBIDDEN" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == before
    assert set(world.left()) <= {"out.stream", "out.stream.model.json"}
    assert_honest(world.stream, world.out)


TRACED = "?open,openat,?creat,execve,?execveat,connect,?rename,renameat,?renameat2,?unlink,unlinkat,?mkdir,mkdirat"
TRACED += ",?symlink,symlinkat,?link,linkat,truncate"
CALL = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) = (-?\d+)")


def system_calls(world, log):
    """Programs that ran, files that were opened to be read, and files that were made or changed, by the main job."""
    # a file for each process: in one of all, calls that happen at the same time are taken apart
    trace = ["strace", "-ff", "-qq", "-s", "4096", "-e", f"trace={TRACED}", "-o", str(log)]
    words = ["subtract", str(world.stream), "-o", str(world.out), "-j", "2", "--on-missing=keep"]
    done = subprocess.run([*trace, WATERBG, *words], capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    programs, read, changed = set(), set(), set()
    logs = log.parent.glob(f"{log.name}.*")
    for line in (line for each in logs for line in each.read_text(errors="replace").splitlines()):
        found = CALL.search(line)
        if found is None or found[3].startswith("-"):
            continue  # a signal, or a call that failed
        call, arguments = found[1], found[2]
        names = {os.path.join(world.folder, name) for name in re.findall(r'"([^"]*)"', arguments)}
        names = {name for name in names if not name.startswith(tuple(KERNELS))}  # who compiles first writes them
        if call.startswith("exec"):
            programs.add(re.search(r'"([^"]*)"', arguments)[1])
        elif "open" in call and not re.search("O_WRONLY|O_RDWR|O_CREAT", arguments):
            read |= names
        else:
            changed |= names
    # of a process: another number in each run
    mine = {re.sub(r"/proc/\d+", "…", name) for name in changed}
    return programs, {re.sub(r"/proc/\d+", "…", name) for name in read}, mine


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on PATH")
def test_a_hostile_run_makes_no_system_call_that_an_honest_one_does_not(world, original, tmp_path):
    """What Python's hooks cannot see: files that HDF5 opens by itself."""
    honest = World.copy(original, tmp_path / "honest")
    assert honest.subtract() == 0  # whatever is compiled or cached by now is there for both
    honest.out.unlink()
    (honest.folder / "out.stream.model.json").unlink()
    programs, read, changed = system_calls(honest, tmp_path / "honest.log")
    marker, secret = tmp_path / "pwned", tmp_path / "secret" / "secret.h5"
    make_evil(world, marker)
    secret.parent.mkdir()
    shutil.copyfile(world.images, secret)
    with h5py.File(world.images, "r+") as file:
        layout = h5py.VirtualLayout(file[DATA].shape, file[DATA].dtype)
        layout[:] = h5py.VirtualSource(str(secret), DATA, file[DATA].shape)
        file.create_virtual_dataset("/entry/data/unasked", layout)
        file["/entry/data/also unasked"] = h5py.ExternalLink(str(secret), DATA)

    def moved(names):
        return {name.replace(str(honest.folder), str(world.folder)) for name in names}

    theirs = system_calls(world, tmp_path / "hostile.log")
    assert str(world.images) in theirs[1], "the calls were seen"
    assert str(world.folder / ".out.stream.part") in theirs[2]
    assert theirs[0] <= programs
    assert theirs[1] <= moved(read)
    assert theirs[2] <= moved(changed)


def test_command_line_options_in_a_stream_choose_no_file(world, tmp_path):
    """Of its own command line only what decides numbers is taken."""
    marker = tmp_path / "pwned"
    whole = world.whole("--integration=rings")
    for option in ("-g ", "--geometry=", "-o ", "--output=", "--model=", "--prefix=", "--mask="):
        text = world.stream.read_bytes()
        named = f"{option}{marker}".encode()
        world.edit(lambda text, named=named: text.replace(b"-p run.cell", named))
        assert world.subtract("--integration=rings") == 0
        assert not marker.exists()
        assert world.left() == ["out.stream"]
        assert chunks(world.out.read_bytes()) == chunks(whole)
        world.out.unlink()
        world.stream.write_bytes(text)


# -- memory and time that a few bytes can ask for -----------------------------------------------------------------

BOMBS = {
    "panel": (b"p0/max_fs = 223", b"p0/max_fs = 2147483647"),
    "panel without columns": (b"p1/min_fs = 0\np1/max_fs = 223", b"p1/min_fs = 1\np1/max_fs = 0"),
    "panel without rows": (b"p1/min_ss = 110", b"p1/min_ss = 220"),
    "panels without rows": (b"/max_ss = ", b"/max_ss = 0; "),
    "far panel": (b"p0/corner_x = -108.7000", b"p0/corner_x = 1e12"),
    "flat panel": (b"p0/fs = +1.000000000x +0.000000000y", b"p0/fs = +0.0x +0.0y"),
    "pixels": (b"res = 6666.666667", b"res = 0"),
    "no pixels": (b"res = 6666.666667", b"res = 1e999"),
    "tiny pixels": (b"res = 6666.666667", b"res = 1e300"),
    "no photons": (b"adu_per_photon = 1", b"adu_per_photon = 1e-300"),
    "far detector": (b"clen = 0.034425 m", b"clen = 1e9 m"),
    "near detector": (b"clen = 0.034425 m", b"clen = 1e-30 m"),
    "shift": (b"det_shift x = ", b"det_shift x = 1e9"),
    "peaks": (b"num_peaks = ", b"num_peaks = 9999999"),
    "reflections": (b"num_reflections = ", b"num_reflections = 9999999"),
    "event": (b"Event: //3", b"Event: //99999999999999999999"),
    "rings": (b"--int-radius=3,5,7", b"--int-radius=3,5,100000000"),
    "resolution": (b"diffraction_resolution_limit = ", b"diffraction_resolution_limit = 1e9"),
    "profile radius": (b"profile_radius = ", b"profile_radius = 1e9"),
    "huge cell": (b"astar = ", b"astar = +0.0000001 +0.0000001 0\nastar = 0*"),
}

# every job in turn, with a gigabyte more than the imports take; after each its status and its seconds of CPU
LIMITED = textwrap.dedent("""
    import json, resource, sys, time
    import waterbg.cli.base, waterbg.run, waterbg.model, waterbg.integrate.rings
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30),) * 2)
    for name, words in json.load(sys.stdin):
        began = time.process_time()
        status = waterbg.cli.base.run(["waterbg", *words])
        print(json.dumps([name, status, time.process_time() - began]), file=sys.stderr, flush=True)
""")


def test_no_few_bytes_ask_for_much_memory_or_time(world):
    """Each is refused in a line or worked on, within a gigabyte and five seconds, and what comes out is honest."""
    good, jobs = world.stream.read_bytes(), []
    for name, (old, new) in BOMBS.items():
        assert old in good, name
        for method in ("profile", "rings"):
            path = world.folder / f"{name}.{method}.stream"
            path.write_bytes(good.replace(old, new))
            jobs.append((path.stem, ["subtract", str(path), "-o", f"{path}.out", f"--integration={method}"]))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        input=json.dumps(jobs),
        capture_output=True,
        cwd=world.folder,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    ended, said = {}, []
    for line in done.stderr.splitlines(keepends=True):
        if line.startswith("["):
            name, status, seconds = json.loads(line)
            ended[name] = (status, seconds, "".join(said))
            said = []
        else:
            said.append(line)
    assert set(ended) == {name for name, _ in jobs}
    for name, (status, seconds, said) in ended.items():
        assert seconds < 5, name
        path = world.folder / f"{name}.stream"
        if status == 0:
            assert_honest(path, f"{path}.out")
        else:
            assert status == 1, (name, said)
            assert_one_line(said)
            assert "memory" not in said, name
            assert not os.path.exists(f"{path}.out")
