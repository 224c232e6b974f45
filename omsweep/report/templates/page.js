"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const MISSING = "\u2013", Z95 = "\u00b1\u00a0";

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

// numbers as omsweep.results.numbers writes them
function minus(text) { return text.replace(/-/g, "\u2212"); }
function fixed(value, digits, signed) {
  const text = Math.abs(value).toFixed(digits), zero = Number(text) === 0;
  return minus((value < 0 && !zero ? "-" : signed && !zero ? "+" : "") + text);
}
function short(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return minus(String(value));
  if (Math.abs(value) >= 1e-3) return minus(String(Number(value.toPrecision(3))));
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return minus(Number(mantissa) + "e" + Number(exponent));
}

// tables that are on the page from the start
function sortTable(header) {
  const table = header.closest("table"), body = table.tBodies[0], index = header.cellIndex;
  const sort = header.getAttribute("aria-sort"), numeric = header.dataset.kind === "number";
  const down = sort ? sort === "ascending" : header.dataset.first === "descending";
  const key = row => row.cells[index] && "sort" in row.cells[index].dataset ? row.cells[index].dataset.sort : "";
  const rows = Array.from(body.rows).filter(row => !row.classList.contains("reference"));
  rows.sort((left, right) => {
    const a = key(left), b = key(right);
    if (a === "" || b === "") return (a === "") - (b === "");
    return (down ? -1 : 1) * (numeric ? a - b : a.localeCompare(b, undefined, {numeric: true}));
  });
  table.querySelectorAll("th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  rows.forEach(row => body.appendChild(row));
}
document.querySelectorAll("section th button").forEach(button =>
  button.addEventListener("click", () => sortTable(button.closest("th"))));
