"""The text file indexamajig writes: read as libcrystfel reads it, rewritten without touching another byte."""

from waterbg.stream.check import check_stream
from waterbg.stream.chunk import Chunk, Fault
from waterbg.stream.crystal import Crystal
from waterbg.stream.differences import find_differences
from waterbg.stream.grammar import PEAK, REFLECTION
from waterbg.stream.output import STREAM, OutputFile, refuse_another_kind, refuse_to_replace, write_file
from waterbg.stream.reader import StreamFile, command_line_of
from waterbg.stream.reflections import NUMBERS
from waterbg.stream.writer import SPLICED, add_provenance, splice_reflections

__all__ = [
    "NUMBERS",
    "PEAK",
    "REFLECTION",
    "SPLICED",
    "STREAM",
    "Chunk",
    "Crystal",
    "Fault",
    "OutputFile",
    "StreamFile",
    "add_provenance",
    "check_stream",
    "command_line_of",
    "find_differences",
    "refuse_another_kind",
    "refuse_to_replace",
    "splice_reflections",
    "write_file",
]
