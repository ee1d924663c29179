"""What the wheel must and must not hold; exit status 1 with a line for each thing that is wrong."""

import sys
import zipfile

MUST = (
    "waterbg/crystfel_scripts/indexamajig",
    "waterbg/crystfel_scripts/sum-peaks",
    "share/man/man1/waterbg.1",
    "LICENSE",
)
MOST = 1_000_000  # bytes in a file

with zipfile.ZipFile(sys.argv[1]) as wheel:
    files = {entry.filename: entry.file_size for entry in wheel.infolist()}
wrong = [f"{end} is not in it" for end in MUST if not any(name.endswith(end) for name in files)]
wrong += [f"{name} has {size} bytes" for name, size in files.items() if size > MOST]
wrong += [
    f"{name} does not belong there"
    for name in files
    if not name.startswith("waterbg/") and ".dist-info/" not in name and ".data/data/share/man/" not in name
]
print(f"{sys.argv[1].rpartition('/')[2]}: {len(files)} files, {sum(files.values())} bytes, {len(wrong)} wrong")
sys.exit("\n".join(wrong) or None)
