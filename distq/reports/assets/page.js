"use strict";
// Sorting, searching, saving and opening; everything that is shown stands in the page already.

function valueOf(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value ?? cell.textContent;
  if (value === "inf") return Infinity;
  const number = Number(value);
  return value === "" || value === "–" ? null : Number.isNaN(number) ? value : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const falling = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // cells without a value stay last
    return falling ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => sortBy(table, column));
  });
}

const tensors = document.getElementById("tensor-table");
const search = document.getElementById("search");

function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of tensors.tBodies[0].rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => content.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("shown").textContent = `${shown} of ${tensors.tBodies[0].rows.length}`;
}

search.addEventListener("input", filter);
filter();

function quoted(text) {
  // a leading sign would be a formula to a spreadsheet
  const safe = /^[=+@]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

document.getElementById("csv").addEventListener("click", () => {
  const heads = [...tensors.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = [...tensors.tBodies[0].rows].filter((row) => !row.hidden);
  const lines = [heads, ...rows.map((row) => [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent))];
  const content = lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  link.download = "tensors.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

function open() {
  const tensor = document.getElementById(location.hash.slice(1));
  if (!tensor?.classList.contains("tensor")) return;
  for (const other of document.querySelectorAll(".tensor.open")) other.classList.remove("open");
  tensor.classList.add("open");
  tensor.scrollIntoView();
  tensor.querySelector("h3").focus({ preventScroll: true });
}

window.addEventListener("hashchange", open);
open();
