"""``waterbg slurm``: look after a job array that ``waterbg subtract --slurm`` submitted."""

from __future__ import annotations

import sys
from shlex import quote
from typing import TYPE_CHECKING

from plumbum import cli

from waterbg.cli.base import Command
from waterbg.errors import ProgramError, UsageError
from waterbg.kernel_cache import spare_compiler

if TYPE_CHECKING:
    from waterbg.run.slurm import JobFolder


def _report(message: str) -> None:
    print(f"waterbg: {message}", file=sys.stderr)


class Slurm(Command):
    """Status, resume, collect or cancel a job array: waterbg slurm status|resume|collect|cancel DIR"""

    USAGE = "    waterbg slurm status|resume|collect|cancel DIR [options]\n"

    jobs = cli.SwitchAttr(["-j"], cli.Range(1, 1024), default=1, argname="N", help="task, collect: worker processes")
    force = cli.Flag("--force", help="collect: replace the output when it exists")
    no_verify = cli.Flag("--no-verify", help="collect: do not compare the output with the input")

    def main(self, verb: str, folder: str, *block: str) -> int:
        """Exit status 0; status gives 1 while blocks are missing."""
        from waterbg.run.slurm import JobFolder

        verbs = {"status": self._status, "resume": self._resume, "collect": self._collect, "cancel": self._cancel}
        if verb == "task":
            return self._task(JobFolder(folder), block)
        if verb not in verbs or block:
            raise UsageError(f"slurm {verb}: status, resume, collect or cancel and one folder are needed")
        return verbs[verb](JobFolder(folder))

    def _task(self, folder: JobFolder, block: tuple[str, ...]) -> int:
        if folder.options.get("kind") == "indexing":
            return self._finish(folder, block)
        spare_compiler()
        from waterbg.run.array import run_task

        if len(block) != 1 or not block[0].isdecimal():
            raise UsageError("slurm task needs the number of a block")
        run_task(folder, int(block[0]), self.jobs, _report)
        print(f"block {block[0]} is done")
        return 0

    def _finish(self, folder: JobFolder, said: tuple[str, ...]) -> int:
        """Judge what the batch script's indexamajig left."""
        from waterbg.crystfel.turbo import finish_block

        if len(said) != 2 or not all(word.isdecimal() for word in said):
            raise UsageError("slurm task needs the number of a block and the exit status of its indexamajig")
        print(finish_block(folder, int(said[0]), int(said[1])))
        return 0

    def _status(self, folder: JobFolder) -> int:
        from waterbg.run.slurm import compress

        missing = folder.missing()
        try:
            queued = {task: state for task, state in folder.queued().items() if task in missing}
        except ProgramError as err:
            queued = {}
            print(f"waterbg: Slurm cannot be asked: {err}", file=sys.stderr)
        states = list(queued.values())
        lost = [task for task in missing if task not in queued]
        words = [f"{len(folder.blocks) - len(missing)} of {len(folder.blocks)} blocks done"]
        words += [f"{states.count(state)} {state.lower()}" for state in sorted(set(states))]
        words += [f"{len(lost)} missing"] if lost else []
        print(f"{folder.path}: {', '.join(words)}")
        if lost:
            print(f"  missing: {compress(lost)}; 'waterbg slurm resume {quote(str(folder.path))}' submits them again")
        elif not missing:
            print(f"  'waterbg slurm collect {quote(str(folder.path))}' writes {folder.output}")
        return 1 if missing else 0

    def _resume(self, folder: JobFolder) -> int:
        from waterbg.run.slurm import compress

        folder.check_input()
        queued = folder.queued()
        missing = folder.missing()
        lost = [task for task in missing if task not in queued]
        if lost:
            print(f"{folder.path}: blocks {compress(lost)} submitted as job {folder.submit(lost)}")
        elif missing:
            print(f"{folder.path}: nothing to submit; {len(missing)} blocks are still waiting or running")
        else:
            print(f"{folder.path}: nothing to submit; all blocks are done")
        return 0

    def _collect(self, folder: JobFolder) -> int:
        from waterbg.run.array import collect

        if folder.options.get("kind") == "indexing":
            from waterbg.crystfel.turbo import collect_turbo

            chunks, seconds = collect_turbo(folder, force=self.force)
            blocks = f"{folder.blocks[-1].stop} events in {len(folder.blocks)} blocks"
            print(f"{folder.output}: {chunks} chunks of {blocks}, {seconds:.1f} s", file=sys.stderr)
            return 0
        summary = collect(folder, force=self.force, verify=not self.no_verify, jobs=self.jobs, report=_report)
        print(summary.text(), file=sys.stderr)
        return 0

    def _cancel(self, folder: JobFolder) -> int:
        print(f"{folder.path}: cancelled {', '.join(folder.cancel()) or 'nothing'}; what is done stays")
        return 0
