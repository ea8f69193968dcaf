// The histogram of ages, and what would be left if only recent images stayed.

function ageName(least, most) {
  if (least === null) return "Not known";
  if (least === 0) return `Last ${most} days`;
  return most === null ? `${least} days or more` : `${least} to ${most} days`;
}

function makeAges(report) {
  const ages = document.getElementById("ages");
  const most = Math.max(1, ...report.ages.map((row) => row.bytes));
  report.ages.forEach((row, at) => {
    const fill = element("div", `fill age-${row.least === null ? "unknown" : at}`);
    fill.style.width = `${(100 * row.bytes) / most}%`;
    const images = element("small", "", {}, counted(row.images, "image"));
    ages.append(
      element("span", "", {}, ageName(row.least, row.most)),
      element("div", "track", {}, fill),
      element("span", "number", {}, bytes(row.bytes), images),
    );
  });
}

// A round number above: what the axis ends with.
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 2.5, 4, 5, 8, 10].map((times) => times * unit).find((end) => end >= value);
}

function makeWhatIf(report) {
  const curve = document.getElementById("curve");
  const slider = document.getElementById("what-if");
  const days = document.getElementById("what-if-days");
  const answer = document.getElementById("what-if-answer");
  const points = report.what_if;
  const TICKS = [1, 7, 30, 90, 180, 365, 730, 1825];
  const left = 62;
  const bottom = 24;
  const height = 210;
  let width = 600;
  const most = ceiling(report.totals.bytes);
  const last = points[points.length - 1].days;

  const x = (day) => left + ((width - left - 12) * Math.log(day)) / Math.log(Math.max(2, last));
  const y = (size) => 10 + (height - bottom - 10) * (1 - size / most);

  function draw() {
    width = Math.max(280, curve.clientWidth);
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    for (const part of [0, 0.5, 1]) {
      const at = y(part * most);
      svg.append(drawing("line", { class: "axis", x1: left, x2: width - 12, y1: at, y2: at }));
      const label = { x: left - 8, y: at + 4, "text-anchor": "end" };
      svg.append(drawing("text", label, bytes(part * most)));
    }
    for (const day of TICKS.filter((tick) => tick <= last)) {
      const label = { x: x(day), y: height - 6, "text-anchor": "middle" };
      svg.append(drawing("text", label, day === 1 ? "1 day" : `${day}`));
    }
    const line = points.map((point) => `${x(point.days)} ${y(point.bytes_left)}`).join(" L ");
    const end = `L ${x(last)} ${y(0)} L ${x(points[0].days)} ${y(0)} Z`;
    svg.append(drawing("path", { class: "area", d: `M ${line} ${end}` }));
    svg.append(drawing("path", { class: "line", d: `M ${line}` }));
    const point = points[slider.valueAsNumber];
    const at = { x1: x(point.days), x2: x(point.days), y1: y(0), y2: 10 };
    svg.append(drawing("line", { class: "mark", ...at }));
    const middle = { cx: x(point.days), cy: y(point.bytes_left), r: 5 };
    svg.append(drawing("circle", { class: "dot", ...middle }));
    curve.replaceChildren(svg);
  }

  function choose() {
    const point = points[slider.valueAsNumber];
    days.textContent = counted(point.days, "day");
    slider.setAttribute("aria-valuetext", counted(point.days, "day"));
    answer.replaceChildren(
      element("b", "", {}, bytes(point.bytes_left)),
      ` in ${counted(point.images_left, "image")} would be left, `,
      element("b", "", {}, bytes(point.bytes_freed)),
      ` (${percent(point.bytes_freed, report.totals.bytes)}) would come free, orphans included.`,
    );
    draw();
  }

  slider.max = points.length - 1;
  slider.value = points.findIndex((point) => point.days >= Math.min(180, last));
  slider.addEventListener("input", choose);
  new ResizeObserver(() => {
    if (Math.max(280, curve.clientWidth) !== width) draw();
  }).observe(curve);
  choose();
}
