"""``waterbg verify``: what libcrystfel would lose in a stream; what differs between two."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plumbum import cli

from waterbg.cli.base import Command
from waterbg.errors import GeometryError, UsageError

if TYPE_CHECKING:
    from waterbg.stream import StreamFile
    from waterbg.stream.check import Finding


class Verify(Command):
    """Say what CrystFEL would refuse, lose or mislabel in a stream, or what differs between two"""

    as_json = cli.Flag("--json", help="print a JSON object instead of lines")
    skip = cli.SwitchAttr("--skip", str, list=True, argname="CHECK", help="leave a check out")
    checks = cli.Flag("--list-checks", help="print the names of the checks and what they find")
    limit = cli.SwitchAttr("--max", cli.Range(1, 10**9), default=100, argname="N", help="print at most N findings")
    may_lack = cli.Flag("--may-lack-chunks", help="B.stream may lack chunks of A.stream (subtract --on-missing=drop)")

    def main(self, *streams: str) -> int:
        """Exit status 0 clean, 1 findings, 2 usage."""
        from waterbg.stream import check
        from waterbg.stream.reader import refuse_pipes

        if self.checks:
            for name, meaning in check.CHECKS.items():
                print(f"{name:18} {meaning}")
            return 0
        if len(streams) not in (1, 2):
            raise UsageError("verify takes one stream, or two: before and after")
        unknown = [name for name in self.skip if name not in check.CHECKS]
        if unknown:
            raise UsageError(f"--skip={unknown[0]}: no such check; --list-checks prints them")
        if len(streams) == 2:
            refuse_pipes("verify", streams[1])  # which is checked by itself, too
            if streams[0] == "-":
                raise UsageError("two streams are compared from files, not from standard input")
        said: dict[str, Any] = {"streams": list(streams)}
        findings = self._one(streams[-1], said)
        if len(streams) == 2:
            findings += self._two(streams[0], streams[1], said)
        if self.as_json:
            print(json.dumps(said))
        return 1 if findings else 0

    def _one(self, path: str, said: dict[str, Any]) -> int:
        from itertools import chain

        from waterbg.stream import StreamFile, check

        with StreamFile(path) as stream:
            refused, extents = _geometry(stream)
            checker = check.Checker(stream, self.skip, None if "off_panel" in self.skip else extents)

            def line(finding: Finding) -> str:
                where = f":{finding.line}" if finding.line else ""
                return f"{path}{where} (byte {finding.offset}): {finding.message} [{finding.check}]"

            first, n = self._print(chain([] if "geometry" in self.skip else refused, checker), line)
            counts = checker.counts
        said.update(findings=[asdict(finding) for finding in first], n_findings=n, counts=asdict(counts))
        if not self.as_json:
            more = f" ({n - self.limit} more not shown)" if n > self.limit else ""
            print(
                f"{path}: {counts.chunks} chunks, {counts.crystals} crystals, {counts.reflections} reflections, "
                f"{counts.peaks} peaks; {n or 'no'} finding{'s' * (n != 1)}{more}",
                file=sys.stderr if n else sys.stdout,
            )
        return n

    def _two(self, before: str, after: str, said: dict[str, Any]) -> int:
        from waterbg.stream.differences import Differences

        differences = Differences(before, after, self.may_lack)
        first, n = self._print(differences, lambda difference: f"{before} -> {after}: {difference}")
        said.update(differences=first, n_differences=n, changed=differences.changed, dropped=differences.dropped)
        said["provenance"] = differences.provenance
        if not self.as_json:
            others = f"{n} other difference{'s' * (n != 1)}" if n else "nothing else differs"
            print(
                f"{before} -> {after}: {differences.changed} of {differences.reflections} reflections changed, "
                f"{differences.dropped} dropped; {others}",
                file=sys.stderr if n else sys.stdout,
            )
        return n

    def _print(self, found: Iterable[Any], line: Callable[[Any], str]) -> tuple[list[Any], int]:
        """Print as many as are wanted, as they come; those, and how many there are."""
        first, n = [], 0
        for n, one in enumerate(found, 1):
            if n <= self.limit:
                first.append(one)
                if not self.as_json:
                    print(line(one))
        return first, n


def _geometry(stream: StreamFile) -> tuple[list[Finding], dict[bytes, tuple[int, int, int, int]] | None]:
    """What CrystFEL would not accept in the stream's own geometry, and, if nothing, where its panels are."""
    from waterbg.geometry import parse_geometry
    from waterbg.stream.check import Finding

    try:
        panels = parse_geometry(stream.geometry_text).panels
    except GeometryError as err:
        line = stream.geometry_line + max(err.line - 1, 0)
        offset = len(b"".join(stream.header.splitlines(keepends=True)[: line - 1]))
        return [Finding("geometry", f"{err.reason}: CrystFEL 0.12 does not open this stream", line, offset)], None
    return [], {p.name.encode("utf-8", "surrogateescape"): (p.min_fs, p.max_fs, p.min_ss, p.max_ss) for p in panels}
