"use strict";
// Sorting and filtering of every table.sortable; print opens what is folded. No library, no network.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const controls = document.querySelector(`[data-for="${table.id}"]`);
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  table.querySelectorAll("th button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const column = head.cellIndex;
      const numeric = rows.length > 0 && "v" in rows[0].cells[column].dataset;
      const first = numeric ? "descending" : "ascending";
      const other = numeric ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      table.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const empty = (row) => numeric && row.cells[column].dataset.v === "";
      rows.sort((a, b) => empty(a) - empty(b) || sign * compare(value(a, column), value(b, column)));
      body.append(...rows);
    });
  });
  if (!controls) continue;
  const shown = controls.querySelector("output");
  const filter = () => {
    const words = controls.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const picks = Array.from(controls.querySelectorAll("select")).filter((pick) => pick.value !== "");
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const keep = words.every((word) => text.includes(word)) && picks.every((pick) => row.dataset[pick.name] === pick.value);
      row.hidden = !keep;
      count += keep ? 1 : 0;
    }
    shown.textContent = `${count} of ${rows.length}`;
  };
  controls.addEventListener("input", filter);
  filter();
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
