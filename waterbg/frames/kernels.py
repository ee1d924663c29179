"""The loops over pixels. Tables are those of :class:`waterbg.frames.layout.Block`; frames are flat."""

from __future__ import annotations

import numpy as np

from waterbg.frames.layout import COLUMN, N_FS, N_SS, OFFSET, PANEL, ROW, SLICE
from waterbg.kernel import kernel

LARGEST = 1e10
"""ADU; what is beyond, either sign, is no count of any detector, and its square would pass the range of a float32."""


@kernel
def unpack(raw, table, data):
    """Copy panels out of a block (slices, rows, columns) into a flat float32 frame."""
    for k in range(table.shape[0]):
        n_fs, at = table[k, N_FS], table[k, OFFSET]
        column = table[k, COLUMN]
        for i in range(table[k, N_SS]):
            source = raw[table[k, SLICE], table[k, ROW] + i, column : column + n_fs]
            target = data[at + i * n_fs : at + (i + 1) * n_fs]
            for j in range(n_fs):
                target[j] = np.float32(source[j])


@kernel
def unpack_and_judge(raw, table, data, bad, known_bad, less, more, equal, first_equal, finite):
    """As :func:`unpack`, and mark pixels that are flagged or not finite, beside those known to be bad.

    ``less``, ``more`` (n_panels,) float32 and ``equal`` float32 with the values of panel i at first_equal[i] to
    first_equal[i + 1]: flag values, compared with the float32 value as ``mark_flagged_pixels`` of CrystFEL's image.c
    does; "equal" after rounding to the nearest whole number. ``finite``: whether to look for NaN, infinity, and what is
    beyond ``LARGEST``.
    """
    for k in range(table.shape[0]):
        n_fs, at, panel = table[k, N_FS], table[k, OFFSET], table[k, PANEL]
        column = table[k, COLUMN]
        low, high = less[panel], more[panel]
        for i in range(table[k, N_SS]):
            source = raw[table[k, SLICE], table[k, ROW] + i, column : column + n_fs]
            target = data[at + i * n_fs : at + (i + 1) * n_fs]
            known = known_bad[at + i * n_fs : at + (i + 1) * n_fs]
            judged = bad[at + i * n_fs : at + (i + 1) * n_fs]
            for j in range(n_fs):
                value = np.float32(source[j])
                target[j] = value
                judged[j] = known[j] | np.uint8(value < low) | np.uint8(value > high)
            if finite:
                for j in range(n_fs):
                    judged[j] |= np.uint8(not np.abs(target[j]) < np.float32(LARGEST))
            for flag in equal[first_equal[panel] : first_equal[panel + 1]]:
                for j in range(n_fs):
                    judged[j] |= np.uint8(np.rint(target[j]) == flag)


@kernel
def mark_masked(raw, table, bad, good_bits, bad_bits):
    """Mark pixels by their mask (int32 block): bad if any of bad_bits (n,) is set, or not all of good_bits (n,) are.

    As ``image_hdf5_read_mask`` of CrystFEL's image-hdf5.c; one pair of bits for each row of the table.
    """
    for k in range(table.shape[0]):
        n_fs, at = table[k, N_FS], table[k, OFFSET]
        good, wrong = good_bits[k], bad_bits[k]
        column = table[k, COLUMN]
        for i in range(table[k, N_SS]):
            source = raw[table[k, SLICE], table[k, ROW] + i, column : column + n_fs]
            target = bad[at + i * n_fs : at + (i + 1) * n_fs]
            for j in range(n_fs):
                target[j] |= np.uint8((source[j] & good) != good) | np.uint8((source[j] & wrong) != 0)


@kernel
def mark_lab_region(bad, rows, columns, corner, fs, ss, low, high):
    """Mark pixels of a panel whose corner lies inside low < (x, y) < high, all in pixels.

    ``rows``, ``columns``: first and last + 1 to look at.

    The order of the sums is that of ``draw_bad_region_xy`` of CrystFEL's image.c, so that pixels on the border agree.
    """
    for i in range(rows[0], rows[1]):
        for j in range(columns[0], columns[1]):
            x = j * fs[0] + i * ss[0] + corner[0]
            y = j * fs[1] + i * ss[1] + corner[1]
            if low[0] < x < high[0] and low[1] < y < high[1]:
                bad[i, j] = 1


@kernel
def decode_byte_offset(coded, out):
    """Pixels of a CBF image, float32, from what each differs by from the one before it; how many there were.

    A difference takes a byte, or as many as follow an escape: the lowest number of one, two or four bytes (CBF's
    ``x-CBF_BYTE_OFFSET``, Int. Tables G 5.6). ``coded``: int8.
    """
    value, at = np.int64(0), 0
    for n in range(out.size):
        if at >= coded.size:
            return n
        step, width = np.int64(coded[at]), 1
        at += 1
        while width < 8 and step == -(np.int64(1) << (8 * width - 1)):
            width *= 2
            if at + width > coded.size:
                return n
            step = np.int64(coded[at + width - 1])
            for k in range(width - 2, -1, -1):
                step = (step << 8) | (np.int64(coded[at + k]) & 0xFF)
            at += width
        value += step
        out[n] = value
    return out.size
