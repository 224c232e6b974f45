// One trial: its recipe first, then what it scored, its learning curve, its answers, and how to make it again.
const panel = document.getElementById("details");
const KINDS = {gain: "Largest gains in reward", loss: "Worst losses in reward", regression: "Questions answered worse"};

function list(columns, row) {
  const known = columns.filter(column => isKnown(column, row));
  if (!known.length) return null;
  return el("dl", {}, ...known.flatMap(column =>
    [el("dt", {title: column.hint || null}, column.title), el("dd", {}, cellText(column, row))]));
}
function folded(title, content) {
  return content && el("details", {}, el("summary", {}, title), content);
}
function headed(title, ...content) {
  const there = content.filter(one => one !== null && one !== undefined);
  return there.length ? [el("h3", {}, title), ...there] : [];
}

function categories(row) {
  const sft = data.sft.scores[data.sft.of[row]] || {}, columns = columnsOf("scores").filter(one => isKnown(one, row));
  if (!columns.length) return null;
  const lines = columns.map(column => {
    const before = sft[column.title], after = column.values[row], change = before === undefined ? null : after - before;
    const width = change === null ? 0 : Math.min(50, 2.5 * Math.abs(change));
    const bar = el("span", {class: change < 0 ? "bar lost" : "bar gained", style: `width:${width}%`});
    return el("tr", {}, el("th", {scope: "row", class: "text"}, column.title),
      el("td", {}, before === undefined ? MISSING : fixed(before, 1)), el("td", {}, fixed(after, 1)),
      el("td", {}, change === null ? MISSING : fixed(change, 1, true)), el("td", {class: "bars"}, bar));
  });
  const heads = ["category", "SFT, %", "policy, %", "change", ""].map((name, i) => el("th", {scope: "col", class: i ? null : "text"}, name));
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lines));
}

function curve(row) {
  const found = data.curves[row];
  if (!found || !window.Plotly) return null;
  const [width, values] = found, box = el("div", {class: "curve"});
  const ink = getComputedStyle(document.body).color;
  requestAnimationFrame(() => Plotly.newPlot(box,
    [{x: values.map((_, i) => (i + 1) * width), y: values, mode: "lines", line: {color: "#0072b2", width: 1.5},
      hovertemplate: "step %{x}: <b>%{y:.4f}</b><extra></extra>"}],
    {height: 190, margin: {l: 46, r: 8, t: 8, b: 36}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {color: ink, size: 12}, xaxis: {title: {text: "step", standoff: 4}, gridcolor: "#e6e9ef", zeroline: false},
      yaxis: {title: {text: "loss", standoff: 4}, gridcolor: "#e6e9ef", zeroline: false},
      hoverlabel: {bgcolor: "#ffffff", bordercolor: "#5d6878", font: {color: "#1c2430"}}},
    {displayModeBar: false, responsive: true}));
  return el("div", {}, box, width > 1 ? el("p", {class: "lead"}, `A point is the mean of ${width} steps.`) : null);
}

function answer(sample) {
  const said = (who, text, score) => el("div", {class: "said"},
    el("p", {class: "who"}, `${who} \u00b7 ${short(score)}`), el("p", {}, text || "(no text kept)"));
  return el("div", {class: "sample"},
    el("p", {class: "prompt"}, sample.prompt === null ? `${sample.category}: ${sample.item_id}` : sample.prompt),
    el("div", {class: "pair"}, said("before, SFT model", sample.before, sample.score_before),
      said("after, this policy", sample.after, sample.score_after)));
}
function answers(row) {
  const found = data.samples[row];
  const file = `scores/${cellText(named, row)}.parquet`;
  if (!found) return [el("p", {class: "lead"},
    `This page has answers of the front's members and of baselines only; ${file} has those of this trial, if it was scored.`)];
  return [...Object.entries(KINDS).flatMap(([kind, title]) => {
    const some = found.filter(sample => sample.kind === kind);
    return some.length ? [el("h4", {}, title), ...some.map(answer)] : [];
  }), el("p", {class: "lead"}, `Greedy answers on the search split, with their scores; ${file} has all. `
    + "Of questions the page knows the id, not the text.")];
}

function again(row) {
  const id = cellText(named, row), command = `omsweep export ${data.sweep} --trial ${id} --output ${id}`;
  return [el("pre", {}, el("code", {}, command)),
    el("p", {class: "lead"}, "writes this policy as a folder of its own, with a card that says how it was made.")];
}

function openTrial(row) {
  if (!(row >= 0 && row < data.count)) return;
  const place = columnsOf("recipe", "place").filter(column => column.look !== "trial");
  const objective = new Set(data.objectives), id = cellText(named, row);
  const close = el("button", {class: "chip", "aria-label": "Close"}, "Close");
  close.addEventListener("click", closeTrial);
  const policy = data.columns.find(column => column.title === "weights hash");
  const measured = [...columnsOf("recipe").filter(column => column.errors || objective.has(column.title)),
    ...columnsOf("outcomes")];
  const recipe = [...columnsOf("settings"), ...place.filter(column => !measured.includes(column))];
  panel.replaceChildren(
    el("header", {}, el("h2", {}, members.has(row) ? el("span", {class: "star", title: "on the front"}, "\u2605 ") : null,
      el("code", {}, id)), close),
    ...headed("Recipe", list(recipe.filter(column => !column.same), row),
      folded("The same in every trial", list(recipe.filter(column => column.same), row))),
    ...headed("Results", list(measured, row)),
    ...headed("Categories", categories(row)),
    ...headed("Learning curve", curve(row)),
    ...headed("Answers before and after", ...answers(row)),
    ...(policy && isKnown(policy, row) ? headed("Take it, or make it again", ...again(row)) : []),
    ...headed("Everything else", folded("Diagnostics", list(columnsOf("diagnostics"), row)),
      folded("Cost", list(columnsOf("cost"), row)), folded("Record", list(columnsOf("record"), row))));
  panel.hidden = false;
  panel.scrollTop = 0;
  panel.focus({preventScroll: true});
  history.replaceState(null, "", "#trial=" + encodeURIComponent(id));
  document.querySelectorAll("tr.open").forEach(one => one.classList.remove("open"));
  document.querySelectorAll(`section tr[data-trial="${row}"]`).forEach(one => one.classList.add("open"));
}
function closeTrial() {
  panel.hidden = true;
  panel.replaceChildren();
  document.querySelectorAll("tr.open").forEach(one => one.classList.remove("open"));
  history.replaceState(null, "", location.pathname + location.search);
}
document.addEventListener("keydown", event => { if (event.key === "Escape" && !panel.hidden) closeTrial(); });

// an address ending in #trial=ID opens that trial
function openAddressed() {
  const found = /^#trial=(.+)$/.exec(location.hash);
  if (found && named) openTrial(named.values.indexOf(named.words.indexOf(decodeURIComponent(found[1]))));
}
window.addEventListener("hashchange", openAddressed);

// charts are drawn one by one, so that the page can be read and used meanwhile
const boxes = window.Plotly ? Array.from(document.querySelectorAll(".plot")) : [];
function drawNext() {
  const box = boxes.shift();
  if (!box) return;
  drawFirst(box);
  setTimeout(drawNext, 0);
}
drawNext();
openAddressed();
