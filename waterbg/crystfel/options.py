"""The options of CrystFEL's programs: which take a value, and what a command line says with them.

A stream keeps the command line of its run as one unquoted line, so a value with a blank in it has come apart;
knowing which options take a value puts it together again. The names are those of ``src/im-argparse.c``,
``src/process_hkl.c`` and ``src/partialator.c`` of CrystFEL 0.12, and what older versions had besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from waterbg.errors import UsageError


def _table(with_value: str, flags: str) -> dict[str, bool]:
    return {**dict.fromkeys(with_value.split(), True), **dict.fromkeys(flags.split(), False)}


# name without dashes -> does it take a value; one letter means a short option
INDEXAMAJIG = _table(
    """i input o output g geometry x prefix j highres temp-dir wait-for-file zmq-input spectrum-file zmq-subscribe
    zmq-request asapo-endpoint asapo-token asapo-beamtime asapo-group asapo-source data-format asapo-stream
    no-data-timeout asapo-consumer-timeout
    peaks peak-radius min-peaks hdf5-peaks median-filter t threshold min-squared-gradient min-gradient min-sq-gradient
    min-snr min-pix-count max-pix-count local-bg-radius min-res max-res min-snr-biggest-pix min-snr-peak-pix min-sig
    min-peak-over-neighbour
    indexing z p pdb tolerance wavelength-estimate max-indexer-threads camera-length-estimate mille-dir
    max-mille-level mille-file
    integration fix-profile-radius fix-bandwidth fix-divergence int-radius int-diag push-res
    copy-hdf5-field copy-header serial-start serial-offset harvest-file
    fd-stream shm-name fd-mille worker-id worker-tmpdir queue-semaphore queue-sem
    felix-tthrange-min felix-tthrange-max felix-min-visits felix-min-completeness felix-max-uniqueness
    felix-num-voxels felix-fraction-max-visits felix-sigma felix-domega felix-max-internal-angle
    ffbidx-max-spots ffbidx-ifssr-min-spots ffbidx-output-cells ffbidx-num-candidate-vectors ffbidx-ifssr-max-dist
    ffbidx-ifssr-max-iter ffbidx-ifssr-threshold-contraction ffbidx-length-threshold ffbidx-triml ffbidx-trimh
    ffbidx-delta ffbidx-dist1 ffbidx-dist3 ffbidx-num-halfsphere-points ffbidx-num-angle-points ffbidx-min-spots
    fromfile-input-file
    pinkIndexer-considered-peaks-count pinkIndexer-cpc pinkIndexer-angle-resolution pinkIndexer-ar
    pinkIndexer-refinement-type pinkIndexer-rt pinkIndexer-thread-count pinkIndexer-tc
    pinkIndexer-max-resolution-for-indexing pinkIndexer-mrfi pinkIndexer-tolerance pinkIndexer-tol
    pinkIndexer-reflection-radius pinkIndexer-override-photon-energy pinkIndexer-override-bandwidth
    pinkIndexer-override-visible-energy-range pinkIndexer-max-refinement-disbalance
    taketwo-member-threshold taketwo-len-tolerance taketwo-angle-tolerance taketwo-trace-tolerance
    xgandalf-sampling-pitch xgandalf-sps xgandalf-grad-desc-iterations xgandalf-gdis xgandalf-tolerance xgandalf-tol
    xgandalf-min-lattice-vector-length xgandalf-min-lvl xgandalf-max-lattice-vector-length xgandalf-max-lvl
    xgandalf-max-peaks""",
    """h v help usage version basename no-check-prefix profile no-image-data no-mask-data asapo-wait-for-stream
    asapo-output-stream cpu-pin asapo-acks
    filter-noise no-use-saturated use-saturated no-revalidate no-half-pixel-shift check-hdf5-snr peakfinder8-fast
    no-check-cell check-cell multi no-multi no-retry retry no-refine refine no-check-peaks check-peaks
    no-cell-combinations mille
    overpredict cell-parameters-only no-sat-corr
    no-non-hits-in-stream no-peaks-in-stream no-refls-in-stream
    ffbidx-redundant-computations ffbidx-no-redundant-computations pinkIndexer-multi pinkIndexer-no-check-indexed
    xgandalf-no-deviation-from-provided-cell xgandalf-ndfpc xgandalf-fast-execution asdf-fast
    help-asdf help-felix help-ffbidx help-fromfile help-pinkindexer help-smallcell help-taketwo help-xgandalf""",
)
PROCESS_HKL = _table(
    """i input o output start-after s stop-after f y symmetry g histogram z hist-parameters min-measurements min-snr
    max-adu min-res push-res res-push min-cc stat polarisation polarization""",
    "h help version scale even-only odd-only no-polarisation no-polarization",
)
PARTIALATOR = _table(
    """i input o output start-after stop-after y symmetry n iterations m model j w min-measurements max-adu start-params
    push-res res-push custom-split max-rel-B max-rel-b reference operator force-bandwidth force-radius min-res
    force-lambda polarisation polarization harvest-file log-folder unmerged-output output-cell""",
    """h help version no-scale no-Bscale no-pr no-free output-every-cycle no-logs no-deltacchalf no-polarisation
    no-polarization""",
)

# spellings of one option
SAME = {"i": "input", "o": "output", "g": "geometry", "x": "prefix", "t": "threshold", "z": "indexing", "p": "pdb",
        "min-gradient": "min-squared-gradient", "min-sq-gradient": "min-squared-gradient",
        "copy-hdf5-field": "copy-header", "serial-offset": "serial-start", "queue-sem": "queue-semaphore"}  # fmt: skip

# flags that answer the same question; a later one overrides an earlier one
OPPOSITES = (("no-check-cell", "check-cell"), ("multi", "no-multi"), ("no-retry", "retry"), ("no-refine", "refine"),
             ("no-check-peaks", "check-peaks"), ("no-use-saturated", "use-saturated"))  # fmt: skip


class _Unknown(UsageError):
    """An option that the program does not have"""


@dataclass(frozen=True)
class Option:
    """One option of a command line: ``name`` without dashes and not abbreviated; ``value`` None for a flag."""

    name: str
    value: str | None = None

    @property
    def long_name(self) -> str:
        """The one name for all its spellings (``g`` and ``geometry``); one letter where there is no long name."""
        return SAME.get(self.name, self.name)

    def words(self) -> list[str]:
        """The option as one or two words of an argument list."""
        if len(self.name) == 1:
            return [f"-{self.name}"] if self.value is None else [f"-{self.name}", self.value]
        return [f"--{self.name}"] if self.value is None else [f"--{self.name}={self.value}"]


def parse_words(words: Sequence[str], table: Mapping[str, bool]) -> list[Option | str]:
    """Read an argument list as getopt would; what it would refuse is taken for a flag.

    Parameters
    ----------
    words : sequence of str
        Without the program's name.
    table : mapping
        `INDEXAMAJIG`, `PROCESS_HKL` or `PARTIALATOR`.

    Returns
    -------
    list of Option or str
        In the order given; a string is a word that is no option.
    """
    return [item for item, _ in _parsed(words, table)]


def replace_value(words: Sequence[str], table: Mapping[str, bool], long_name: str, value: str) -> list[str]:
    """Argument list with another value for one option, every other word as it was, unknown options too."""
    replaced: list[str] = []
    for item, original in _parsed(words, table):
        if isinstance(item, Option) and item.long_name == long_name:
            replaced += Option(item.name, value).words()
        else:
            replaced += original
    return replaced


def _parsed(words: Sequence[str], table: Mapping[str, bool]) -> Iterator[tuple[Option | str, list[str]]]:
    """Each option or other word, with the words it was made of."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            for other in (word, *rest):
                yield other, [other]
            return
        if not word.startswith("-") or word == "-":
            yield word, [word]
            continue
        try:
            option, used = _option(word, rest, table)
        except UsageError:
            name, equals, value = word.lstrip("-").partition("=")
            option, used = Option(name, value if equals else None), 0
        yield option, [word, *rest[:used]]
        del rest[:used]


def _option(word: str, rest: Sequence[str], table: Mapping[str, bool]) -> tuple[Option, int]:
    """The option in ``word``, and how many of the following words are its value (0 or 1)."""
    if word.startswith("--"):
        given, equals, value = word[2:].partition("=")
        name = complete(given, table)
        if not table[name]:
            if equals:
                raise UsageError(f"--{name} takes no value")
            return Option(name), 0
    else:
        name, value = word[1], word[2:]
        equals = value
        if name not in table or (value and not table[name]):
            raise _Unknown(f"no option {word}")
        if not table[name]:
            return Option(name), 0
    if equals:
        return Option(name, value), 0
    if not rest:
        raise UsageError(f"{word} needs a value")
    return Option(name, rest[0]), 1


def parse_line(line: str) -> list[Option]:
    """Read indexamajig's command line as a stream keeps it, quotes lost: program and arguments, separated by blanks."""
    return parse_leniently(line.split()[1:], INDEXAMAJIG)


def parse_leniently(words: Iterable[str], table: Mapping[str, bool]) -> list[Option]:
    """Read arguments that did run once, whatever we know about them.

    Returns
    -------
    list of Option
        A word that belongs to no option is taken for the rest of a value with a blank in it. An option that is not in
        the table is kept, with what follows it as its value.
    """
    found: list[Option] = []
    waiting = False  # the last option stands there without the value it takes
    for word in words:
        if waiting:
            found[-1] = Option(found[-1].name, word)  # whatever it looks like
            waiting = False
        elif word.startswith("--") and len(word) > 2:
            given, equals, value = word[2:].partition("=")
            try:
                name = complete(given, table)
            except UsageError:
                name = given
            waiting = not equals and table.get(name, False)
            found.append(Option(name, value if equals else None))
        elif len(word) > 1 and word[0] == "-" and word[1] in table:
            takes = table[word[1]]
            waiting = takes and len(word) == 2
            found.append(Option(word[1], word[2:] if takes and not waiting else None))
        elif found and (found[-1].value is not None or found[-1].name not in table):
            last = found[-1]
            found[-1] = Option(last.name, f"{last.value} {word}" if last.value else word)
    return found


def complete(name: str, table: Mapping[str, bool]) -> str:
    """Full name of a long option that may be abbreviated, as getopt_long and argp allow.

    Raises
    ------
    UsageError
    """
    if name in table and len(name) > 1:
        return name
    matches = sorted(known for known in table if len(known) > 1 and known.startswith(name))
    meant = {SAME.get(known, known) for known in matches}
    if len(meant) == 1 and name:
        return matches[0]
    if matches and name:
        raise UsageError(f"--{name} may mean {', '.join('--' + known for known in matches)}")
    raise _Unknown(f"no option --{name}")


def value_of(options: Iterable[Option | str], name: str) -> str | None:
    """Value of the last option of that long name (the one that counts); None when it is not there."""
    value = None
    for option in options:
        if isinstance(option, Option) and option.long_name == name:
            value = option.value
    return value


def has(options: Iterable[Option | str], name: str) -> bool:
    """Whether an option of that long name is there."""
    return any(isinstance(option, Option) and option.long_name == name for option in options)


def override(options: Iterable[Option], changes: Iterable[Option]) -> list[Option]:
    """Put changed options in the place of those with the same meaning; what is new goes to the end.

    ``--copy-header`` and ``--zmq-subscribe`` may stand several times; those given are added.
    """
    changes = list(changes)
    replaced = {change.long_name for change in changes} - {"copy-header", "zmq-subscribe"}
    for pair in OPPOSITES:
        if replaced & set(pair):
            replaced |= set(pair)
    kept = [option for option in options if option.long_name not in replaced]
    return kept + [change for change in changes if change not in kept]


def mark_passed(words: Sequence[str], table: Mapping[str, bool], own: Mapping[str, bool]) -> list[str]:
    """Rewrite the options meant for a CrystFEL program as ``--pass=OPTION``, so that a command's own parser can go on.

    Parameters
    ----------
    words : sequence of str
        What the user typed after the command's name.
    table : mapping
        Options of the program.
    own : mapping
        The command's own options, as typed (``--only``, ``-o``), and whether they take a value; they go first.

    Returns
    -------
    list of str
        In the same order. Options that neither knows are left for the command to refuse; words behind ``--`` are all
        passed, known or not.

    Raises
    ------
    UsageError
        For an option of the program that lacks its value, has one too much, or may mean several.
    """
    valued = {name for name, takes in own.items() if takes}
    marked: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name = word.partition("=")[0]
        if word == "--":
            return marked + [f"--pass={passed}" for passed in rest]
        if word in valued:
            marked += [word, *rest[:1]]
            del rest[:1]
        elif name in own or not word.startswith("-") or word == "-" or word[:2] in valued:
            marked.append(word)
        else:
            try:
                option, used = _option(word, rest, table)
            except _Unknown:
                marked.append(word)
            else:
                marked += [f"--pass={passed}" for passed in option.words()]
                del rest[:used]
    return marked
