#!/bin/sh
# How the files beside this script were recorded, in a copy of tests/data/golden/small, with CrystFEL 0.12.0-113-g80f24855;
# check-nograd-0.9.1.dat is by the same command of CrystFEL 0.9.1.
set -e
out=$(cd "$(dirname "$0")" && pwd)
process_hkl --version >"$out/version.txt"
for grad in nograd grad; do
    stream=rings-nocen-nosat-$grad.stream
    process_hkl -i $stream -y 4/mmm -o $grad.hkl 2>/dev/null
    process_hkl -i $stream -y 4/mmm --even-only -o $grad.hkl1 2>/dev/null
    process_hkl -i $stream -y 4/mmm --odd-only -o $grad.hkl2 2>/dev/null
    check_hkl -p xtal.cell -y 4/mmm --nshells=5 --shell-file=check-$grad.dat $grad.hkl 2>check-$grad.err
    for fom in Rsplit CC CCstar; do
        compare_hkl -p xtal.cell -y 4/mmm --nshells=5 --rmin=5.66e8 --rmax=5.653e9 --fom=$fom \
            --shell-file=$fom-$grad.dat $grad.hkl1 $grad.hkl2 2>$fom-$grad.err
    done
done
for fom in CC R1I; do
    compare_hkl -p xtal.cell -y 4/mmm --nshells=5 --rmin=5.66e8 --rmax=5.653e9 --fom=$fom \
        --shell-file=between-$fom.dat nograd.hkl grad.hkl 2>between-$fom.err
done
# without a common reflection compare_hkl cannot scale, and ends by a segmentation fault
process_hkl -i rings-nocen-nosat-nograd.stream -y 4/mmm --min-measurements=8 -o none.hkl 2>/dev/null
{
    compare_hkl -p xtal.cell -y 4/mmm --fom=CC --shell-file=none.dat nograd.hkl none.hkl || echo "exit status $?"
} 2>compare-none.err
check_hkl -p xtal.cell -y 4/mmm --shell-file=none.dat none.hkl 2>check-none.err
mv check-*grad.dat Rsplit-*.dat CC*.dat between-*.dat *.err "$out"
