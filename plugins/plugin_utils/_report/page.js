// Filter, sort and unfold: all of it is there without this as well.
(() => {
  "use strict";
  const table = document.querySelector(".hosts");
  if (!table) return;
  const rows = Array.from(table.tBodies);
  const search = document.getElementById("search");
  const site = document.getElementById("site");
  const shown = document.getElementById("shown");
  const chips = Array.from(document.querySelectorAll("[data-c]")).filter((each) => each.tagName === "BUTTON");
  const texts = new Map();
  const wanted = new Set();

  const textOf = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const unfold = (row, open) => {
    row.classList.toggle("open", open);
    row.querySelector("details").open = open;
    row.querySelector(".more").setAttribute("aria-expanded", String(open));
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits =
        (!wanted.size || wanted.has(row.dataset.c)) &&
        (!site.value || row.dataset.s === site.value.slice(1)) &&
        words.every((word) => textOf(row).includes(word));
      row.hidden = !fits;
      count += fits ? 1 : 0;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  };
  const sort = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const cell = row.rows[0].cells[column];
      return cell.dataset.v || cell.textContent.trim();
    };
    const order = new Intl.Collator(undefined, { numeric: true });
    const keyed = rows.map((row) => [key(row), row]);
    keyed.sort((one, other) => (down ? -1 : 1) * order.compare(one[0], other[0]));
    for (const each of head.parentNode.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.append(...keyed.map((each) => each[1]));
  };

  for (const row of rows) {
    const button = document.createElement("button");
    button.className = "more";
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", "Details of " + row.querySelector("bdi").textContent);
    button.addEventListener("click", () => unfold(row, !row.classList.contains("open")));
    row.querySelector("th").prepend(button);
  }
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(head, column));
  });
  for (const chip of chips) {
    chip.disabled = false;
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", String(on));
      if (on) wanted.add(chip.dataset.c);
      else wanted.delete(chip.dataset.c);
      filter();
    });
  }
  search.addEventListener("input", filter);
  site.addEventListener("change", filter);
  const follow = () => {
    const row = location.hash && document.getElementById(location.hash.slice(1));
    if (row && row.parentNode === table) unfold(row, true);
  };
  window.addEventListener("hashchange", follow);
  document.querySelector(".tools").hidden = false;
  document.documentElement.classList.add("js");
  follow();
})();
