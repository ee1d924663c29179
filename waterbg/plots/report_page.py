"""The HTML page of a report: one file with everything in it, without script, that loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from waterbg.plots import report_figures as figures
from waterbg.plots.look import readable
from waterbg.plots.report_bins import STRONG, Shell
from waterbg.plots.report_words import (
    Findings,
    all_is_well,
    count,
    done,
    doubts,
    name_of,
    not_looked_at,
    pooled_decoys,
    reasons,
    signed,
    tiles,
)
from waterbg.settings import PROFILE

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f8; --card: #ffffff; --ink: #1a1d21; --soft: #59616b; --faint: #9aa1a9;
  --line: #dde1e5; --before: #c8384c; --after: #1b6ca8; --warn: #8a4b00; --warn-page: #fff4df; }
@media (prefers-color-scheme: dark) { :root { --page: #121417; --card: #1b1f24; --ink: #e8eaed; --soft: #a6afb9;
  --faint: #77808a; --line: #323941; --before: #ff7d8c; --after: #66b3f0; --warn: #ffc46b; --warn-page: #33270f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .3rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .5rem; }
p { margin: .5rem 0; max-width: 62rem; overflow-wrap: anywhere; }
.soft, figcaption, .tile span { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 1.1rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; color: var(--after); white-space: nowrap; }
.tile strong { display: block; font-weight: 600; line-height: 1.3; }
.tile span { display: block; font-size: .85rem; line-height: 1.35; margin-top: .2rem; }
.note { border-left: .3rem solid var(--after); background: var(--card); padding: .5rem .9rem; border-radius: .3rem; }
.doubt { border-left-color: var(--warn); background: var(--warn-page); }
.note ul { margin: .3rem 0; padding-left: 1.2rem; }
li { overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .9rem; }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: .9rem; }
figure { margin: .8rem 0; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  min-width: 0; }
.pair figure, .three figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
.scroll svg { min-width: 36rem; }
.scroll img { display: block; width: 100%; min-width: 58rem; height: auto; background: #fff; border-radius: .3rem; }
figcaption { font-size: .9rem; line-height: 1.45; margin-top: .5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
td.words, th.words { text-align: left; white-space: normal; }
code { font-size: .85rem; overflow-wrap: anywhere; }
.before { color: var(--before); font-weight: 600; } .after { color: var(--after); font-weight: 600; }
@media screen and (max-width: 40rem) {
  figure.wide figcaption::before { content: "(Swipe the picture sideways.) "; font-style: italic; } }
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --faint: #888; --line: #ccc; --before: #c8384c;
    --after: #1b6ca8; --warn: #8a4b00; --warn-page: #fff; }
  html { font-size: 10pt; } .pair { grid-template-columns: 1fr 1fr; } .three { grid-template-columns: 1fr 1fr 1fr; }
  .tiles { grid-template-columns: repeat(5, 1fr); gap: .4rem; } .tile { padding: .4rem .5rem; }
  .tile b { font-size: 1.1rem; } h2 { margin-top: 1.4rem; } main { max-width: none; padding: 0; }
  figure, .tile, .note, tr { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll { overflow: visible; } .scroll svg, .scroll img { min-width: 0; }
  table { font-size: .75rem; } th, td { padding: .15rem .35rem; } }
"""
FEW = 10  # dropped reflections, fewer of which make no distribution
LEAST_MOVED = 5e-4  # relative change of the background, below which it is none
BEFORE, AFTER = '<span class="before">before</span>', '<span class="after">after</span>'


def make_page(findings: Findings) -> bytes:
    """Write the page: UTF-8.

    Parameters
    ----------
    findings : Findings
        Names and lines in it may be anything; all of them are escaped.
    """
    title = escape(f"waterbg report: {name_of(findings.numbers.after)}")
    # were there anything to load or to run in spite of all, a browser would not
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{title}</h1>",
        *_head(findings),
        *_ring(findings),
        *_background(findings),
        *_intensities(findings),
        *_decoys(findings),
        *_dropped(findings),
        *_time(findings),
        *_example(findings),
        *_table(findings.shells),
        *_origin(findings),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def _p(text: str, kind: str = "") -> str:
    """Build a paragraph of text that may be anything."""
    return f"<p{f' class={kind!r}' if kind else ''}>{escape(text)}</p>"


def _figure(picture: str, caption: str, wide: bool = False) -> str:
    """Frame a picture; the caption is HTML. A wide one scrolls within its frame where the page is narrow."""
    inside = f'<div class="scroll">{picture}</div>' if wide else picture
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>\n{inside}\n<figcaption>{caption}</figcaption>\n</figure>"


def _head(findings: Findings) -> Iterable[str]:
    yield _p(done(findings))
    sentence = gained(findings)
    if sentence:
        yield _p(sentence)
    cells = [
        f'<div class="tile"><b>{escape(tile.value)}</b><strong>{escape(tile.name)}</strong>'
        f"<span>{escape(tile.meaning)}</span></div>"
        for tile in tiles(findings)
    ]
    if cells:
        yield f'<div class="tiles">{"".join(cells)}</div>'
    wrong = doubts(findings)
    if wrong:
        items = "".join(f"<li>{escape(text)}</li>" for text in wrong)
        yield f'<div class="note doubt"><strong>To be looked at</strong><ul>{items}</ul></div>'
    else:
        yield f'<div class="note">{escape(all_is_well(findings))}: {escape(_checked(findings))}</div>'
    if lacking := not_looked_at(findings):
        yield _p(lacking)


def gained(findings: Findings) -> str:
    """What was gained, in a sentence; blank when there is nothing to say."""
    decoys = pooled_decoys(findings)
    if decoys is None or not decoys[0].rms or not decoys[1].rms:
        return ""
    ours, rings = decoys
    gain = (ours.rms or 0) / (rings.rms or 1)
    what = "smaller" if gain < 1 else "larger"
    return (
        f"The error of a reflection without signal is {abs(1 - gain) * 100:.0f} % {what} than that of CrystFEL's rings "
        f"on the same places, and I/σ there scatters by {ours.z_std:.2f} (rings {rings.z_std:.2f}; 1 is right)."
    )


def _checked(findings: Findings) -> str:
    """What was looked at before that was said."""
    checked = ["every frame of one stream is in the other", "few reflections were dropped"]
    if findings.sample.read:
        checked.append(f"{count(len(findings.sample.read), 'frame')} integrated again gave the same bytes")
    if pooled_decoys(findings) is not None:
        checked.append("decoys have mean 0 and scatter 1 within their error")
    if findings.sample.quality is not None and findings.sample.quality.ratio is not None:
        checked.append("the profile fits the strong spots")
    return "; ".join(checked) + "."


def _ring(findings: Findings) -> Iterable[str]:
    profile = findings.sample.profile
    if profile is None:
        return
    ring, n = findings.ring, len(profile.observed)
    yield "<h2>The water ring</h2>"
    caption = (
        f"Radial background: mean over all pixels clear of predicted reflections, of {count(n, 'frame')} spread over "
        "the stream; stray spots and zingers (10 σ above the model) are left out."
    )
    if ring is not None:
        caption += (
            f" The water ring stands out most at {10 / ring.inv_d:.2f} Å: {ring.level:.3g} photons per pixel, "
            f"{ring.rise:.3g} of them above the straight line from 5 to 2.4 Å."
        )
    else:
        caption += " No water ring stands out between 5 and 2.4 Å."
    if profile.expected is not None:
        caption += (
            " Dashed: waterbg's model of the same pixels; where it is right, the two lines are one. "
            "Each reflection's background is this model, scaled in the reflection's own ring."
        )
    yield _figure(figures.profile_figure(profile, ring), escape(caption), wide=True)


def _background(findings: Findings) -> Iterable[str]:
    shells = [shell for shell in findings.shells if shell.n and shell.b0 == shell.b0]
    if len(shells) < 2:
        return
    yield "<h2>Background before and after</h2>"
    moved = max((s for s in shells if s.b0 > 0), key=lambda s: abs(s.b1 / s.b0 - 1), default=None)
    sentence = ""
    if moved is not None and abs(moved.b1 / moved.b0 - 1) < LEAST_MOVED:
        sentence = " It did not move."
    elif moved is not None:
        sentence = (
            f" It moved most at {10 / moved.middle:.2f} Å: by {signed(100 * (moved.b1 / moved.b0 - 1), '.1f')} %, "
            f"{signed(moved.b1 - moved.b0, '.3g')} photons per pixel."
        )
    whole = count(findings.whole.n, "reflection")
    first = _figure(
        figures.background_figure(shells),
        f"Mean of the stream's <i>background</i> column, in photons, {BEFORE} and {AFTER}: {whole} in both streams.",
    )
    second = _figure(figures.background_change_figure(shells), "The change." + escape(sentence))
    yield f'<div class="pair">{first}{second}</div>'


def _intensities(findings: Findings) -> Iterable[str]:
    shells = [shell for shell in findings.shells if shell.n]
    if len(shells) < 2:
        return
    whole = findings.whole
    yield "<h2>Intensities and their errors</h2>"
    cells = [
        _figure(
            figures.sigma_figure(shells),
            f"σ after over σ before, reflection by reflection: {whole.sigma[1]:.2f} is the median of all. Below 1: "
            "a smaller error is claimed; whether rightly, the decoys say.",
        ),
        _figure(
            figures.snr_figure(shells),
            f"Mean I/σ {BEFORE} ({whole.z0:.2f} over all) and {AFTER} ({whole.z1:.2f}). A σ that was too small before "
            "makes it look better there than it was.",
        ),
        _figure(
            figures.intensity_map(findings.numbers.resolution),
            "I after over I before, one count a reflection; scale linear about 0 and logarithmic beyond. The scatter "
            "about the dashed line is the error that one of the two has and the other has not.",
        ),
    ]
    strong = figures.strong_figure(shells)
    if strong is not None:
        caption = (
            f"Median of I after / I before of the {count(whole.n_strong)} reflections of I/σ ≥ {STRONG:g} before: "
            f"{whole.strong:.3f} over all."
        )
        if findings.provenance.settings.integration == PROFILE:
            caption += (
                " A fit also holds what of a spot lies beyond CrystFEL's peak disc: above 1, the more so where spots "
                "are broad, is no surprise, and merging takes a common factor out."
            )
        cells.append(_figure(strong, caption))
    yield f'<div class="pair">{"".join(cells)}</div>'


def _decoys(findings: Findings) -> Iterable[str]:
    quality, settings = findings.sample.quality, findings.provenance.settings
    if not findings.numbers.listed:
        return
    if not settings.uses_model:
        yield "<h2>Decoys</h2>"
        yield _p(
            "Decoys compare waterbg's fit with CrystFEL's rings. This stream was integrated by the rings themselves, "
            "so there is nothing to compare; waterbg decoys on the stream before says what the fit would give."
        )
        return
    decoys = pooled_decoys(findings)
    yield "<h2>Decoys: is σ right, and what was gained?</h2>"
    if quality is None or decoys is None:
        yield _p("Without images or a run model, or with too few places for decoys, nothing can be said.")
        return
    ours, rings = decoys
    frames = findings.sample.model.frames if findings.sample.model else 0
    source = (
        f"from the run model, learnt from {count(frames, 'frame')}"
        if findings.sample.quality_is_models
        else f"on the {count(len(findings.sample.read), 'sample frame')}"
    )
    yield _p(
        "A decoy is a place where no Bragg reflection can be (half-integer indices, or beside a reflection), "
        "integrated like a reflection: its true intensity is 0, so its I/σ must have mean 0 and scatter 1, and the "
        f"less I scatters the better. {count(ours.n, 'decoy')} at "
        f"{'half indices' if any(s.n for s in quality.half) else 'places beside reflections'} {source}: mean "
        f"{signed(ours.z_mean or 0, '.2f')} and scatter {ours.z_std:.2f} (CrystFEL's rings: "
        f"{signed(rings.z_mean or 0, '.2f')} and {rings.z_std:.2f}); RMS of I {ours.rms:.1f} photons instead of "
        f"{rings.rms:.1f}."
    )
    if quality.ratio is not None:
        yield _p(
            f"Strong spots say whether the profile is right: fit over plain summation is {quality.ratio:.3f} "
            f"(median of {count(quality.strong, 'spot')}), with a scatter of {quality.ratio_scatter:.3f}; 1 is right."
        )
    yield (
        '<p class="soft"><span class="after">waterbg</span>, <span class="before">CrystFEL rings</span>; full '
        "lines and circles: decoys at half indices; dashed lines and squares: beside reflections.</p>"
    )
    captions = (
        "Mean of I/σ: off 0 where the background is too high or too low.",
        "Scatter of I/σ: above 1 where σ is too small.",
        "RMS of I: the error of a reflection without signal.",
    )
    cells = [_figure(picture, text) for picture, text in zip(figures.decoy_figures(quality), captions, strict=True)]
    yield f'<div class="three">{"".join(cells)}</div>'


def _dropped(findings: Findings) -> Iterable[str]:
    numbers = findings.numbers
    if not numbers.listed:
        return
    yield "<h2>Dropped reflections</h2>"
    if not numbers.dropped:
        yield _p(f"None: all {count(numbers.listed, 'reflection')} of the stream before could be integrated again.")
        return
    share = 100 * numbers.dropped / numbers.listed
    yield _p(
        f"{count(numbers.dropped)} of {count(numbers.listed, 'reflection')} ({share:.3g} %) of the stream before are "
        "not in the stream after: they could not be integrated. That number is a count of the whole stream, as are "
        "saturated and implausible reflections, which a stream counts itself; other reasons are known for the sample "
        "only, which was integrated again."
    )
    rows = "".join(
        f'<tr><td class="words">{escape(name)}</td><td>{escape(number)}</td><td class="words">{escape(what)}</td></tr>'
        for name, number, what in reasons(findings)
    )
    if rows:
        head = '<tr><th class="words">reason</th><th>reflections</th><th class="words">counted in</th></tr>'
        yield f'<div class="scroll"><table>{head}{rows}</table></div>'
    if numbers.dropped >= FEW and len(findings.shells) > 1:
        yield _figure(
            figures.dropped_figure(findings.shells),
            "Share of the listed reflections that were dropped, by resolution (whole stream).",
            wide=True,
        )


def _time(findings: Findings) -> Iterable[str]:
    picture = figures.time_figure(findings.numbers.time)
    if picture is None:
        return
    yield "<h2>Frames over time</h2>"
    time = findings.numbers.time
    yield _figure(
        picture,
        f"All {count(time.frames, 'frame')} in the order of the stream"
        + (f", each point a mean over {time.stride}" if time.stride > 1 else "")
        + f"; mean background and median I/σ of a frame's reflections {BEFORE} and {AFTER}. Steps and "
        "drifts of both are those of jet, beam or detector; a step in one colour only is one method's own.",
        wide=True,
    )


def _example(findings: Findings) -> Iterable[str]:
    look = findings.sample.example
    if look is None:
        return
    frame, reflection, which = figures.example_figures(look)
    yield "<h2>A worked example</h2>"
    yield _figure(
        frame,
        f"{escape(readable(which))}. <b>a</b> the frame with its predicted reflections, <b>b</b> waterbg's background "
        "model, in the same colours, <b>c</b> what is left, in standard deviations: where the model is right, only "
        "Bragg spots stand out from even noise.",
        wide=True,
    )
    yield _figure(
        reflection,
        "<b>d</b> One reflection, pixel by pixel: what was counted, the background, background and fitted profile "
        "together, and what the fit leaves; full circle the peak disc, dashed the ring. To the right, cuts through the "
        "spot. It was chosen from those of medium strength (I/σ of 8 to 20) under the water ring on this frame: half "
        "of them fit better. <code>waterbg view</code> draws any other.",
        wide=True,
    )


def _table(shells: Sequence[Shell]) -> Iterable[str]:
    if not shells:
        return
    yield "<h2>The numbers by resolution</h2>"
    heads = (
        "d / Å", "listed", "dropped", "compared", "background<br>before", "after", "mean I<br>before", "after",
        "mean I/σ<br>before", "after", "σ after<br>/ before", "I after<br>/ before",
    )  # fmt: skip
    rows = []
    for s in shells:
        low = f"{10 / s.low:.2f}" if s.low > 0 else "∞"
        cells = [f"{low} – {10 / s.high:.2f}", str(s.listed), str(s.dropped), str(s.n)]
        cells += [_number(value, ".2f") for value in (s.b0, s.b1, s.I0, s.I1, s.z0, s.z1)]
        cells += [_number(s.sigma[1], ".3f"), _number(s.strong if s.n_strong >= 10 else float("nan"), ".3f")]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "<tr>" + "".join(f"<th>{word}</th>" for word in heads) + "</tr>"
    yield f'<div class="scroll"><table id="shells">{head}{"".join(rows)}</table></div>'
    yield (
        '<p class="soft">Background in photons per pixel, I in ADU; σ after / before is the median; I after / before '
        f"the median of reflections of I/σ ≥ {STRONG:g} before, where there are ten or more.</p>"
    )


def _number(value: float, form: str) -> str:
    return format(value, form) if value == value else "–"


def _origin(findings: Findings) -> Iterable[str]:
    yield "<h2>Where this is from</h2>"
    numbers, sample = findings.numbers, findings.sample
    yield f"<p>Before: <code>{escape(readable(numbers.before))}</code>"
    yield f"<br>After: <code>{escape(readable(numbers.after))}</code>"
    if sample.model_path is not None:
        yield f"<br>Run model: <code>{escape(readable(sample.model_path))}</code>"
    elif sample.model is not None:
        yield f"<br>Run model: learnt again from the first frames, as its file {escape(sample.model_lacks)}"
    elif findings.provenance.settings.uses_model:
        yield f"<br>Run model: none, as its file {escape(sample.model_lacks)}"
    yield f"<br>The stream after says: <code>{escape(findings.provenance.line)}</code></p>"
    if sample.read:
        which = ", ".join(map(str, sample.read))
        yield _p(f"Sample: {count(len(sample.read), 'frame')} spread over the stream (chunks {which}).", "soft")
    if sample.again.own_rings:
        whose = f"{count(sample.again.own_rings, 'reflection')} of {count(sample.again.reflections)}"
        yield _p(f"Background of {whose} in them: from the own ring, where the frame's model does not hold.", "soft")
    for name, number in sample.again.fallbacks.most_common():
        yield _p(f"On {count(number)} of them: {name}.", "soft")
