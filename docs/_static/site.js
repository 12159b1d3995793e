// Tables of text that do not fit are shown row by row, with the heading of its column beside each
// cell (site.css has the rest). Tables of numbers, whose cells are short, scroll sideways.

const LONG = 30; // characters of a cell that is text

const headings = (table) => [...table.querySelectorAll("thead th")].map((th) => th.innerText.trim());
const isText = (table) => [...table.querySelectorAll("td")].some((td) => td.innerText.length > LONG);

const arrange = () => {
  const tables = [...document.querySelectorAll(".table-wrapper > table")].filter(isText);
  for (const table of tables) table.classList.remove("rows");
  const wide = tables.filter(({ parentElement: box }) => box.scrollWidth > box.clientWidth + 1);
  const kinds = new Set(wide.map((table) => headings(table).join()));
  for (const table of tables) {
    // Tables with the same columns look the same.
    table.classList.toggle("rows", kinds.has(headings(table).join()));
  }
};

for (const table of document.querySelectorAll(".table-wrapper > table")) {
  const names = headings(table);
  for (const row of table.tBodies[0]?.rows ?? [])
    [...row.cells].forEach((cell, index) => {
      if (index && names[index]) cell.dataset.head = names[index];
    });
}
addEventListener("resize", arrange);
arrange();
