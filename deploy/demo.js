// Sort a table by the clicked column header: numbers by value, text alphabetically, empty cells last.
element.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (row) => row.cells[head.cellIndex].dataset.value;
  const compare = head.classList.contains("number") ? (a, b) => a - b : (a, b) => a.localeCompare(b);
  const body = head.closest("table").tBodies[0];
  const order = (a, b) => {
    if (!value(a) || !value(b)) return !value(a) - !value(b);
    return (ascending ? 1 : -1) * compare(value(a), value(b));
  };
  [...body.rows].sort(order).forEach((row) => body.append(row));
});
