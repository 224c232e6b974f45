"""What half of an arm's blocks attain, as a chart per family."""

from omsweep.report.charts import Axis, Chart, Line, Note, Rule, Sheet, Stroke, legend_of
from omsweep.report.comparison_tables import lettered
from omsweep.report.styles import MUTED, colours_of
from omsweep.results.comparison.findings import ArmFound, Findings
from omsweep.results.comparison.points import Arm
from omsweep.results.geometry import Point, padded, staircase


def attainment_sheet(found: Findings, title: str) -> Sheet:
    """`attainment.png`."""
    charts = attainment_charts(found)
    note = (
        "Lines: what half of an arm's blocks attain on the report split (its candidates on the search split's front), "
        f"the SFT model at 0, 0. Dashed: tax = {found.question.limit_text(found.families)}."
    )
    return Sheet(title=title, charts=charts, columns=len(charts), legend=legend_of(charts), notes=[Note(note)])


def attainment_charts(found: Findings) -> list[Chart]:
    """One chart per family; none where no arms were compared."""
    return [attainment_chart(found, family) for family in found.families] if found.arms else []


def attainment_chart(found: Findings, family: str) -> Chart:
    """The drawn arms' median attainment surfaces: dotted without offline merging, the limit t dashed."""
    limit = found.question.limit_of(family)
    drawn = shown_arms(found)
    mine = [arm for arm in found.arms if arm.choice.family == family and arm.choice.arm in drawn]
    lines = [_line(arm, found) for arm in sorted(mine, key=lambda arm: drawn.index(arm.choice.arm))]
    corners = [corner for line in lines for corner in line.corners]
    turns = [tax for line in lines for tax, reward in line.corners if reward < line.corners[-1][1]]
    starts = [line.corners[0][0] for line in lines if line.corners]
    return Chart(
        title=family,
        description=f"Attainment of {family}",
        # up to where the last arm stops rising, and somewhat beyond t
        x=Axis(title="Alignment tax (points), report split", window=padded([0.0, 1.25 * limit, *turns, *starts])),
        y=Axis(title="Reward gain (scorer units)", window=padded([0.0, *(reward for _, reward in corners)])),
        rules=[Rule(at=limit, vertical=True, stroke=Stroke(MUTED, 0.9, "dash"))],
        lines=lines,
    )


def shown_arms(found: Findings) -> list[str]:
    """Names of the arms that are drawn: those of the headline, or the controls' where there is no headline."""
    lines = found.headline or found.controls
    return list(dict.fromkeys(name for line in lines for name in (line.against, line.arm)))


def _line(arm: ArmFound, found: Findings) -> Line:
    """The surface's staircase, drawn on to the reference tax, since more tax attains no less."""
    name, labels = arm.choice.arm, list(found.question.labels)
    label = next(label for label in labels if name in (label, Arm(label, merged=True).name))
    end = found.limits[arm.choice.family].reference_tax
    corners: list[Point] = staircase([(float(tax), float(reward)) for tax, reward in arm.surface if tax <= end])
    corners += [(end, corners[-1][1])] if corners else []
    stroke = Stroke(colours_of(labels)[label], 1.6, "dot" if name == label else "solid")
    return Line(corners=corners, stroke=stroke, name=lettered(name, found.question))
