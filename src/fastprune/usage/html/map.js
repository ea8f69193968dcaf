// The treemap: two levels at a time, opened by click or Enter, walked with the arrow keys.

const HEADER = 20; // of a frame that shows its children
const GAP = 1;
const LEAST_FRAME = { width: 70, height: 56 };
const LEAST_CELL = 4;
const AGES = [7, 30, 90, 180, 365];

function ageClass(node, now) {
  if (node.k && node.k !== "others") return "age-none";
  if (node.m === undefined) return "age-unknown";
  const days = (now - node.m) / DAY;
  const older = AGES.filter((age) => days >= age).length;
  return `age-${older}`;
}

function makeMap(report) {
  const map = document.getElementById("map");
  const details = document.getElementById("details");
  const path = document.getElementById("path");
  let opened = [report.tree]; // from the whole to what is shown
  let cells = [];

  function nameOf(node) {
    return node === report.tree ? "All" : node.n;
  }

  // A repository within its registry needs no registry in its name.
  function shortName(node, parent) {
    const start = `${parent.n}/`;
    return node.n.startsWith(start) ? node.n.slice(start.length) : nameOf(node);
  }

  // What a node is, in words; parts that are not there are left out.
  function described(node) {
    const parts = [];
    if (node.k || node === report.tree) parts.push(bytes(node.b));
    else parts.push(`${bytes(node.b)} comes free if it goes`);
    if (node !== report.tree) parts.push(`${percent(node.b, report.tree.b)} of the cache`);
    if (node.s) parts.push(`needs ${bytes(node.s)} more that others need too`);
    if (node.i) parts.push(counted(node.i, "image"));
    if (node.p !== undefined) parts.push(`last pulled ${date(node.p)}, ${ago(node.p, report.now)}`);
    if (report.goes) {
      parts.push(node.g ? `${bytes(node.g)} would go (${percent(node.g, node.b)})` : "stays");
    }
    return parts.join(" · ");
  }

  function show(node) {
    details.replaceChildren(element("b", "", {}, nameOf(node)), ` ${described(node)}`);
  }

  // Marks what would go: from below, as much of a cell as of its bytes.
  function markGoing(cell, node, height) {
    const marked = (height * (node.g || 0)) / node.b;
    if (marked < 2) return;
    const mark = element("i", "goes");
    mark.style.height = `${marked}px`;
    cell.classList.add("going");
    cell.prepend(mark);
  }

  function addCell(node, parent, box, isFrame) {
    const cell = element("button", isFrame ? "cell frame" : "cell", {
      type: "button",
      tabindex: "-1",
      "aria-label": `${nameOf(node)}: ${described(node)}${node.c ? ". Enter opens." : ""}`,
    });
    if (!isFrame) cell.classList.add(ageClass(node, report.now));
    cell.style.left = `${box.x}px`;
    cell.style.top = `${box.y}px`;
    cell.style.width = `${Math.max(1, box.width - GAP)}px`;
    cell.style.height = `${Math.max(1, box.height - GAP)}px`;
    if (!isFrame) markGoing(cell, node, box.height);
    if (box.width > 34 && box.height > 15) {
      cell.append(element("span", "", {}, shortName(node, parent)));
    }
    if (isFrame ? box.width > 150 : box.width > 66 && box.height > 34) {
      cell.append(element("span", "size", {}, bytes(node.b)));
    }
    cell.addEventListener("mouseenter", () => show(node));
    cell.addEventListener("focus", () => {
      settle(cell);
      show(node);
    });
    cell.addEventListener("click", () => open(node, parent));
    map.append(cell);
    cells.push({ cell, node, parent, box, isFrame });
  }

  function draw(node, box, level) {
    for (const [child, area] of squarify(node.c || [], box)) {
      if (area.width < LEAST_CELL || area.height < LEAST_CELL) continue;
      const roomy = area.width >= LEAST_FRAME.width && area.height >= LEAST_FRAME.height;
      const isFrame = level === 0 && child.c !== undefined && roomy;
      addCell(child, node, area, isFrame);
      if (isFrame) {
        const inside = {
          x: area.x + 2,
          y: area.y + HEADER,
          width: area.width - 4,
          height: area.height - HEADER - 2,
        };
        draw(child, inside, 1);
      }
    }
  }

  function render() {
    const focused = cells.find((one) => one.cell === document.activeElement);
    cells = [];
    map.replaceChildren();
    const shown = opened[opened.length - 1];
    draw(shown, { x: 0, y: 0, width: map.clientWidth, height: map.clientHeight }, 0);
    const again = focused && cells.find((one) => one.node === focused.node);
    if (cells.length) settle((again || cells[0]).cell);
    if (again) again.cell.focus({ preventScroll: true });
    drawPath();
  }

  function drawPath() {
    path.replaceChildren();
    opened.forEach((node, at) => {
      if (at) path.append(element("span", "", { "aria-hidden": "true" }, "›"));
      const button = element("button", "", { type: "button" }, nameOf(node));
      if (at === opened.length - 1) button.setAttribute("aria-current", "location");
      else button.addEventListener("click", () => goTo(opened.slice(0, at + 1)));
      path.append(button);
    });
  }

  function goTo(nodes, focusOn) {
    opened = nodes;
    render();
    show(focusOn || opened[opened.length - 1]);
    const target = cells.find((one) => one.node === focusOn) || cells[0];
    if (target && map.contains(document.activeElement) === false) {
      target.cell.focus({ preventScroll: true });
    }
  }

  function open(node, parent) {
    const shown = opened[opened.length - 1];
    const way = parent === shown ? opened : [...opened, parent];
    if (node.c) goTo([...way, node]);
    else if (parent !== shown) goTo(way, node);
    else show(node);
  }

  // One cell can be reached with Tab; the arrow keys lead to the others.
  function settle(cell) {
    for (const one of cells) one.cell.tabIndex = one.cell === cell ? 0 : -1;
  }

  // What of a cell can be seen: of a frame, its header.
  function middle({ box, isFrame }) {
    return { x: box.x + box.width / 2, y: box.y + (isFrame ? HEADER : box.height) / 2 };
  }

  // Into a frame leads only the arrow down, and out of it to its header the one up.
  function neighbour(from, dx, dy) {
    const start = middle(from);
    let best = null;
    let least = Infinity;
    for (const one of cells) {
      if (one.parent === from.node && dy <= 0) continue;
      if (from.parent === one.node && dy >= 0) continue;
      const to = middle(one);
      const along = (to.x - start.x) * dx + (to.y - start.y) * dy;
      const aside = Math.abs((to.x - start.x) * dy) + Math.abs((to.y - start.y) * dx);
      if (one === from || along <= 0.5) continue;
      const distance = along + 2 * aside;
      if (distance < least) [best, least] = [one, distance];
    }
    return best;
  }

  map.addEventListener("keydown", (event) => {
    const from = cells.find((one) => one.cell === document.activeElement);
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (from && moves[event.key]) {
      const to = neighbour(from, ...moves[event.key]);
      if (to) to.cell.focus();
    } else if ((event.key === "Escape" || event.key === "Backspace") && opened.length > 1) {
      goTo(opened.slice(0, -1), opened[opened.length - 1]);
    } else if (event.key === "Home" && cells.length) {
      cells[0].cell.focus();
    } else {
      return;
    }
    event.preventDefault();
  });

  // Cells lie in the map without a say in its size, so this ends.
  new ResizeObserver(render).observe(map);
  render();
  show(report.tree);
}

function makeLegend(report) {
  const legend = document.getElementById("legend");
  const names = ["less than 7 days ago", "30", "90", "180", "365", "longer ago"];
  legend.append("Last pull of the bytes, on average:");
  names.forEach((name, at) => {
    legend.append(element("span", "", {}, element("i", `age-${at}`), name));
  });
  legend.append(element("span", "", {}, element("i", "age-unknown"), "not known"));
  legend.append(element("span", "", {}, element("i", "age-none"), "shared, or needed by nothing"));
  if (report.goes) {
    const mark = element("i", "age-none", {}, element("i", "goes"));
    legend.append(element("span", "", {}, mark, "would go"));
  }
}
