"use strict";
function sortValue(row, index) {
  const cell = row.cells[index];
  return cell && "sort" in cell.dataset ? cell.dataset.sort : "";
}
function compareValues(a, b, numeric) {
  if (a === "" || b === "") return null;
  return numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, {numeric: true});
}
function sortTable(header) {
  const table = header.closest("table"), body = table.tBodies[0], index = header.cellIndex;
  const downwards = header.getAttribute("aria-sort") !== "descending" && header.dataset.first === "descending"
    || header.getAttribute("aria-sort") === "ascending";
  const numeric = header.dataset.kind === "number", sign = downwards ? -1 : 1;
  const rows = Array.from(body.rows).filter(row => !row.classList.contains("reference"));
  rows.sort((left, right) => {
    const a = sortValue(left, index), b = sortValue(right, index), order = compareValues(a, b, numeric);
    return order === null ? (a === "") - (b === "") : sign * order;
  });
  table.querySelectorAll("th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", downwards ? "descending" : "ascending");
  rows.forEach(row => body.appendChild(row));
}
document.querySelectorAll("th button").forEach(button =>
  button.addEventListener("click", () => sortTable(button.closest("th"))));

// the first figures were drawn before the grid had all its columns
document.querySelectorAll(".plotly-graph-div").forEach(plot => Plotly.Plots.resize(plot));

const switchedOff = {label: new Set(), algorithm: new Set()};
function isShown(meta) {
  return !switchedOff.label.has(meta.label) && !switchedOff.algorithm.has(meta.algorithm);
}
function applyFilters() {
  document.querySelectorAll(".plotly-graph-div").forEach(plot => {
    plot.data.forEach((trace, i) => {
      if (trace.meta && trace.meta.label !== undefined) Plotly.restyle(plot, {visible: isShown(trace.meta)}, [i]);
    });
  });
  document.querySelectorAll("tr[data-label]").forEach(row => { row.hidden = !isShown(row.dataset); });
}
document.querySelectorAll("button[data-filter]").forEach(button => button.addEventListener("click", () => {
  const set = switchedOff[button.dataset.filter], value = button.dataset.value;
  const show = set.has(value);
  if (show) set.delete(value); else set.add(value);
  document.querySelectorAll("button[data-filter]").forEach(twin => {
    if (twin.dataset.filter === button.dataset.filter && twin.dataset.value === value)
      twin.setAttribute("aria-pressed", String(show));
  });
  applyFilters();
}));

document.querySelectorAll("input[data-group]").forEach(box => {
  const section = box.closest("section");
  const apply = () => section.querySelectorAll("." + box.dataset.group).forEach(cell => { cell.hidden = !box.checked; });
  box.addEventListener("change", apply);
  apply();
});
