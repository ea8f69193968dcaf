// The biggest savings: a table that can be sorted and searched.

const STEP = 25;

function makeTable(report) {
  const table = document.getElementById("savings");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const more = document.getElementById("more");
  const choices = [...document.querySelectorAll("[data-table]")];
  const columns = [
    { name: "Name", key: 0, text: (row) => row[0], up: true },
    { name: "Comes free", key: 1, text: (row) => bytes(row[1]), bar: true },
    { name: "Would go", key: 3, text: (row) => (row[3] ? bytes(row[3]) : "–"), goes: true },
    { name: "Shared", key: 2, text: (row) => bytes(row[2]), optional: true },
    { name: "Images", key: 4, text: (row) => number(row[4]), optional: true, many: true },
    { name: "Last pull", key: 5, text: (row) => (row[5] === null ? "–" : date(row[5])), up: true },
  ];
  let chosen = "repositories";
  let sort = { key: report.goes ? 3 : 1, down: true };
  let shown = STEP;

  function visible() {
    return columns.filter(
      (column) => (report.goes || !column.goes) && (chosen === "repositories" || !column.many),
    );
  }

  function compare(one, other) {
    const [a, b] = [one[sort.key], other[sort.key]];
    if (a === b) return other[1] - one[1];
    if (a === null || b === null) return a === null ? 1 : -1; // not known: last
    const order = typeof a === "string" ? (a < b ? -1 : 1) : a - b;
    return sort.down ? -order : order;
  }

  function header() {
    const cells = visible().map((column) => {
      const active = sort.key === column.key;
      const arrow = active ? (sort.down ? " ↓" : " ↑") : "";
      const button = element("button", "", { type: "button" }, column.name + arrow);
      button.addEventListener("click", () => {
        sort = { key: column.key, down: active ? !sort.down : !column.up };
        draw();
        table.querySelector(`th[data-key="${column.key}"] button`).focus();
      });
      const order = active ? (sort.down ? "descending" : "ascending") : "none";
      return element(
        "th",
        column.optional ? "optional" : "",
        { scope: "col", "aria-sort": order, "data-key": column.key },
        button,
      );
    });
    return element("thead", "", {}, element("tr", "", {}, ...cells));
  }

  function draw() {
    const { rows, count } = report.savings[chosen];
    const wanted = search.value.trim().toLowerCase();
    const matching = rows.filter((row) => row[0].toLowerCase().includes(wanted)).sort(compare);
    const most = Math.max(1, ...rows.map((row) => row[1]));
    const body = element("tbody");
    for (const row of matching.slice(0, shown)) {
      const cells = visible().map((column) => {
        const cell = element("td", column.optional ? "optional" : "", {}, column.text(row));
        if (column.goes && row[3]) cell.classList.add("going");
        if (column.bar) {
          const share = element("div", "share");
          share.style.width = `${(100 * row[1]) / most}%`;
          cell.append(share);
        }
        return cell;
      });
      body.append(element("tr", "", {}, ...cells));
    }
    table.replaceChildren(header(), body);
    const of = rows.length < count ? `the ${number(rows.length)} largest of ${number(count)}` : number(count);
    const some = Math.min(shown, matching.length);
    found.textContent = wanted
      ? `${number(matching.length)} found among ${of} ${chosen}; ${number(some)} shown`
      : `${number(some)} of ${of} ${chosen}`;
    more.hidden = matching.length <= shown;
  }

  for (const button of choices) {
    button.addEventListener("click", () => {
      chosen = button.dataset.table;
      shown = STEP;
      for (const one of choices) one.setAttribute("aria-pressed", String(one === button));
      draw();
    });
  }
  search.addEventListener("input", () => {
    shown = STEP;
    draw();
  });
  more.addEventListener("click", () => {
    shown += 4 * STEP;
    draw();
  });
  draw();
}
