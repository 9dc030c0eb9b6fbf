for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column]?.dataset.s ?? "";
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const way = isNaN(x) || isNaN(y) ? x.localeCompare(y) : Number(x) - Number(y);
      return down ? -way : way;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
  }));
}
const tip = document.getElementById("tip");
document.addEventListener("click", (event) => {
  const shown = event.target.closest("td[title]") ?? event.target.closest("svg g:has(> title)");
  tip.hidden = !shown;
  if (shown) tip.textContent = shown.getAttribute("title") ?? shown.querySelector("title").textContent;
});
