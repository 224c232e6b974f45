"""The curves of all arms, reward against tax, as a chart per family."""

from omsweep.report.charts import Axis, Chart, Line, Note, Point, Points, Rule, Sheet, Stroke, legend_of
from omsweep.report.styles import CIRCLE, MUTED, colours_of
from omsweep.results.comparison.findings import Findings, Track
from omsweep.results.geometry import padded


def comparison_sheet(found: Findings, title: str) -> Sheet:
    """`comparison.png`."""
    charts = comparison_charts(found)
    note = (
        "Lines: each arm's curve on the report split, from the SFT model (0, 0) to the dose that costs tax = "
        f"{found.question.limit_text(found.families)} (dashed) on the search split; points: doses. Means over blocks."
    )
    return Sheet(title=title, charts=charts, columns=max(1, len(charts)), legend=legend_of(charts), notes=[Note(note)])


def comparison_charts(found: Findings) -> list[Chart]:
    """One chart per family; none where no arms were compared."""
    return [comparison_chart(found, family) for family in found.families] if found.tracks else []


def comparison_chart(found: Findings, family: str) -> Chart:
    """An arm's curve: solid of runs alone, dotted with a grid of merges."""
    limit = found.question.limit_of(family)
    colours = colours_of(list(found.question.labels))
    tracks = [track for track in found.tracks if track.family == family]
    lines = [_line(track, colours[track.arm.label]) for track in tracks]
    rungs = [_rungs(found, track, colours[track.arm.label], 1.5 * limit) for track in tracks]
    points = [group for group in rungs if group.points]
    seen = [*(corner for line in lines for corner in line.corners), *((p.x, p.y) for g in points for p in g.points)]
    return Chart(
        title=family,
        description=f"Reward against tax of every arm in {family}",
        x=Axis(title="Alignment tax (points), report split", window=padded([0.0, 1.1 * limit, *(x for x, _ in seen)])),
        y=Axis(title="Reward gain (scorer units)", window=padded([0.0, *(y for _, y in seen)])),
        rules=[Rule(at=limit, vertical=True, stroke=Stroke(MUTED, 0.9, "dash"))],
        lines=lines,
        points=points,
    )


def _line(track: Track, colour: str) -> Line:
    corners = [(float(tax), float(reward)) for tax, reward in track.track]
    return Line(corners=corners, stroke=Stroke(colour, 1.6, "dot" if track.arm.grid else "solid"), name=track.arm.name)


def _rungs(found: Findings, track: Track, colour: str, end: float) -> Points:
    """The arm's doses that cost no more than `end`."""
    mine = [r for r in found.rungs if (r.family, r.arm) == (track.family, track.arm.name) and r.tax <= end]
    points = [Point(x=r.tax, y=r.reward, face=colour, edge=colour, text=f"x{r.dose:g}") for r in mine]
    return Points(points=points, symbol=CIRCLE, errors=Stroke(colour, 0.9))
