// Which trials are shown, and their table, of which one page of rows is in the document.
const ROWS = 50;
const everything = Array.from({length: data.count}, (_, row) => row);
const switchedOff = {label: new Set(), algorithm: new Set(), family: new Set(), state: new Set()};
const openGroups = new Set(Object.entries(data.groups).filter(([, group]) => !group.hidden).map(([name]) => name));
let searched = [], haystacks = null, sorting = {column: null, down: false}, ordered = everything, first = 0;

function isShown(row) {
  return Object.entries(switchedOff).every(([kind, off]) => !off.has(data.filters[kind][row]))
    && (!searched.length || searched.every(word => haystack(row).includes(word)));
}
function haystack(row) {
  if (!haystacks) {
    const columns = columnsOf("recipe", "settings", "place", "record");
    haystacks = everything.map(one => columns.filter(column => isKnown(column, one))
      .map(column => `${column.title} ${cellText(column, one)}`).join("\n").toLowerCase());
  }
  return haystacks[row];
}

function shownColumns() { return data.columns.filter(column => openGroups.has(column.group) && !column.same); }

function ranks(column) {
  if (!column.words) return column.values;
  const order = column.words.map((_, i) => i)
    .sort((a, b) => column.words[a].localeCompare(column.words[b], undefined, {numeric: true}));
  const rank = [];
  order.forEach((word, place) => { rank[word] = place; });
  return column.values.map(value => value < 0 ? null : rank[value]);
}
function sortBy(column) {
  const down = sorting.column === column ? !sorting.down : Boolean(column.descending), keys = ranks(column);
  sorting = {column, down};
  ordered = everything.slice().sort((a, b) => {
    if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null) || a - b;
    return (down ? keys[b] - keys[a] : keys[a] - keys[b]) || a - b;
  });
  first = 0;
  showTable();
}

function cell(column, row) {
  const pinned = column.look === "trial", text = cellText(column, row), value = column.values[row];
  const made = el(pinned ? "th" : "td", {class: [column.words ? "text" : "", pinned ? "pin" : ""].join(" ").trim(),
    scope: pinned ? "row" : null, "data-sort": isKnown(column, row) ? (column.words ? text : value) : null});
  if (text === MISSING) made.append(el("span", {class: "none"}, MISSING));
  else if (pinned) made.append(members.has(row) ? el("span", {class: "star", title: "on the front"}, "\u2605 ") : "",
    el("button", {}, el("code", {}, text)));
  else if (column.look === "state") made.append(el("span", {class: "badge " + text}, text));
  else if (column.look === "label")
    made.append(el("span", {class: "dot", style: "background:" + data.colours[data.filters.label[row]]}), text);
  else {
    const [number, error] = text.split(" " + Z95);
    made.append(number, error ? el("span", {class: "pm"}, " " + Z95 + error) : "");
  }
  return made;
}

function showTable() {
  const table = document.getElementById("table");
  if (!table) return;
  const columns = shownColumns(), rows = ordered.filter(isShown);
  first = Math.max(0, Math.min(first, Math.floor((rows.length - 1) / ROWS) * ROWS));
  const heads = columns.map((column, i) => {
    const sort = sorting.column === column ? (sorting.down ? "descending" : "ascending") : null;
    const pin = column.look === "trial" ? " pin" : "", border = i && column.group !== columns[i - 1].group ? " first" : "";
    const button = el("button", {}, column.title);
    button.addEventListener("click", () => sortBy(column));
    return el("th", {scope: "col", class: (column.words ? "text" : "") + pin + border, title: column.hint || null,
      "aria-sort": sort}, button);
  });
  table.tHead.replaceChildren(el("tr", {}, ...heads));
  table.tBodies[0].replaceChildren(...rows.slice(first, first + ROWS).map(row =>
    el("tr", {"data-trial": row}, ...columns.map(column => cell(column, row)))));
  document.getElementById("rows").textContent = rows.length
    ? `${first + 1} to ${Math.min(first + ROWS, rows.length)} of ${rows.length}` : "No trial is shown.";
  document.getElementById("before").disabled = first === 0;
  document.getElementById("after").disabled = first + ROWS >= rows.length;
}
function turn(by) { first = Math.max(0, first + by * ROWS); showTable(); }

function applyFilters() {
  const count = everything.filter(isShown).length;
  document.getElementById("shown").textContent = count < data.count ? `${count} of ${data.count}` : `${count}`;
  document.getElementById("all").hidden = count === data.count;
  document.querySelectorAll("section tr[data-trial]").forEach(row => { row.hidden = !isShown(Number(row.dataset.trial)); });
  first = 0;
  showTable();
  charts.filter(chart => chart.data.some(trace => trace.customdata)).forEach(chart => drawn(chart, isShown));
}

function switchChip(chip, on) {
  const off = switchedOff[chip.dataset.filter], value = Number(chip.dataset.value);
  if (on) off.delete(value); else off.add(value);
  chip.setAttribute("aria-pressed", String(on));
}
const chips = Array.from(document.querySelectorAll("button[data-filter]"));
chips.forEach(chip => chip.addEventListener("click", () => {
  switchChip(chip, chip.getAttribute("aria-pressed") === "false");
  applyFilters();
}));
const search = document.getElementById("search");
if (search) {
  let waiting = null;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      searched = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      applyFilters();
    }, 150);
  });
  document.getElementById("all").addEventListener("click", () => {
    chips.forEach(chip => switchChip(chip, true));
    search.value = "";
    searched = [];
    applyFilters();
  });
  document.getElementById("shown").textContent = data.count;
}

const groups = document.getElementById("groups");
if (groups) {
  const same = data.columns.filter(column => column.same), line = document.getElementById("same");
  line.hidden = !same.length;
  line.lastElementChild.append(...same.map(column => el("span", {}, column.title + " ", el("b", {}, cellText(column, 0)))));
  groups.append(el("span", {class: "of"}, "Columns"));
  for (const [name, group] of Object.entries(data.groups).slice(1)) {
    if (!columnsOf(name).some(column => !column.same)) continue;
    const box = el("input", {type: "checkbox", "data-group": name, checked: openGroups.has(name)});
    box.addEventListener("change", () => {
      if (box.checked) openGroups.add(name); else openGroups.delete(name);
      showTable();
    });
    groups.append(el("label", {class: "chip"}, box, " " + group.title));
  }
  document.getElementById("before").addEventListener("click", () => turn(-1));
  document.getElementById("after").addEventListener("click", () => turn(1));
}
document.querySelectorAll("tbody").forEach(body => body.addEventListener("click", event => {
  const row = event.target.closest("tr[data-trial]");
  if (row) openTrial(Number(row.dataset.trial));
}));
showTable();
