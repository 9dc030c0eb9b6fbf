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
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
});
// A table that is wider than its card says so: how many columns are out of sight, and on which side a shadow.
for (const card of document.querySelectorAll(".wide")) {
  const [more, scroll] = [card.querySelector(".more"), card.querySelector(".scroll")];
  const heads = [...card.querySelector("thead tr").cells];
  const look = () => {
    const room = scroll.getBoundingClientRect();
    const first = heads[0].getBoundingClientRect().width;
    const [left, right] = [room.left + first - 1, room.right + 1];
    const boxes = heads.slice(1).map((head) => head.getBoundingClientRect());
    const hidden = boxes.filter((box) => box.right > right || box.left < left).length;
    card.style.setProperty("--first", `${first}px`);
    card.classList.toggle("before", scroll.scrollLeft > 1);
    card.classList.toggle("after", scroll.scrollLeft < scroll.scrollWidth - scroll.clientWidth - 1);
    more.hidden = scroll.scrollWidth <= scroll.clientWidth + 1;
    more.textContent = `${hidden} of ${heads.length} columns out of sight: scroll sideways ↔`;
  };
  scroll.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(scroll);
}
