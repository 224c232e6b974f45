// Charts. The points of a trace with `customdata` are trials: they are filtered, have tooltips and open their details.
const MOST_DRAWN = 2000, MOST_SAID = 14, NARROW = 560;
const charts = [];
const members = new Set(data.members);

function cellText(column, row) {
  const value = column.values[row];
  if (column.words) return value < 0 ? MISSING : column.words[value];
  if (value === null) return MISSING;
  const error = column.errors && column.errors[row] !== null ? " " + Z95 + fixed(column.errors[row], column.digits) : "";
  return (column.digits === undefined ? short(value) : fixed(value, column.digits, column.signed)) + error;
}
function isKnown(column, row) { return column.words ? column.values[row] >= 0 : column.values[row] !== null; }
function columnsOf(...groups) { return data.columns.filter(column => groups.includes(column.group)); }
const said = columnsOf("recipe", "settings", "place").filter(column => !column.same && column.look !== "trial");
const named = data.columns.find(column => column.look === "trial");

function tooltip(row) {
  const plain = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const lines = said.filter(column => isKnown(column, row)).slice(0, MOST_SAID)
    .map(column => plain(column.title) + " <b>" + plain(cellText(column, row)) + "</b>");
  const star = members.has(row) ? " \u2605 on the front" : "";
  return ["<b>" + plain(cellText(named, row)) + "</b>" + star, ...lines].join("<br>");
}

function picked(trace, places) {
  const count = trace.customdata.length;
  const pick = value => {
    if (Array.isArray(value)) return value.length === count ? places.map(place => value[place]) : value;
    return value && typeof value === "object"
      ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, pick(one)])) : value;
  };
  const made = pick(trace);
  made.hovertext = made.customdata.map(tooltip);
  return made;
}

// what is shown of a chart's trials: of very many some, the front's members always
function tracesOf(chart, isShown) {
  const trials = chart.data.filter(trace => trace.customdata);
  const places = trials.map(trace => trace.customdata.map((row, i) => isShown(row) ? i : -1).filter(i => i >= 0));
  const count = places.reduce((sum, some) => sum + some.length, 0), stride = Math.ceil(count / MOST_DRAWN);
  let number = 0, drawn = 0;
  const chosen = new Map(trials.map((trace, t) => {
    const some = stride < 2 ? places[t]
      : places[t].filter(i => members.has(trace.customdata[i]) || number++ % stride === 0);
    drawn += some.length;
    return [trace, picked(trace, some)];
  }));
  chart.note.textContent = drawn < count ? `${drawn} of ${count} are drawn; filters bring out the others.` : "";
  return chart.data.map(trace => chosen.get(trace) || trace);
}

function drawn(chart, isShown) {
  return Plotly.react(chart.box, tracesOf(chart, isShown), chart.layout, chart.config);
}

function drawFirst(box) {
  const chart = {box, ...JSON.parse(box.nextElementSibling.textContent), note: el("p", {class: "lead"})};
  box.after(chart.note);
  if (box.clientWidth < NARROW) {
    Object.assign(chart.layout.margin, {l: 46, r: 6});
    chart.config.displayModeBar = false;
  }
  if (window.matchMedia("(pointer: coarse)").matches) chart.layout.dragmode = false;  // so that the page scrolls
  charts.push(chart);
  drawn(chart, isShown).then(() => {
    box.on("plotly_click", event => {
      const row = event.points[0].customdata;
      if (row !== undefined) openTrial(row);
    });
    box.on("plotly_hover", event => box.classList.toggle("over", event.points[0].customdata !== undefined));
    box.on("plotly_unhover", () => box.classList.remove("over"));
  });
}
