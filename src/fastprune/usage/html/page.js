// Puts the report into the page.

function makeTotals(report) {
  const totals = document.getElementById("totals");
  const add = (value, name, className) => {
    totals.append(
      element("div", `total ${className || ""}`, {}, element("b", "", {}, value), element("span", "muted", {}, name)),
    );
  };
  const { bytes: size, images, manifests, blobs, dangling, broken, orphans } = report.totals;
  add(bytes(size), "on disk");
  if (report.goes) {
    const share = percent(report.goes.bytes, size);
    add(bytes(report.goes.bytes), `would come free: ${share}`, "going");
    add(number(report.goes.manifests), `manifests and ${counted(report.goes.blobs, "blob")} would go`);
    add(bytes(size - report.goes.bytes), "would be left");
  }
  add(number(images), `images, ${counted(manifests, "manifest")}`);
  add(number(blobs), "blobs");
  if (orphans.blobs) add(bytes(orphans.bytes), counted(orphans.blobs, "orphan blob"));
  if (dangling.images) add(bytes(dangling.bytes), counted(dangling.images, "dangling image"));
  if (broken.images) add(bytes(broken.bytes), counted(broken.images, "broken image"));
}

function makeTheme() {
  const button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  button.addEventListener("click", () => {
    const before = document.documentElement.dataset.theme || "system";
    const next = themes[(themes.indexOf(before) + 1) % themes.length];
    document.documentElement.dataset.theme = next;
    button.textContent = `Theme: ${next}`;
  });
}

function main() {
  const report = JSON.parse(document.getElementById("report").textContent);
  document.title = `fastprune: ${report.image_path}`;
  document.getElementById("title").textContent = report.goes
    ? "What a prune would free"
    : "Where the space goes";
  document.getElementById("subject").textContent = `${report.image_path}, as of ${report.scanned}`;
  document.getElementById("about").textContent =
    `Made by fastprune ${report.fastprune} ${report.command}. Sizes are those of the files; ` +
    "1 GB is a thousand million bytes. This page loads nothing from anywhere.";
  makeTheme();
  makeTotals(report);
  makeMap(report);
  makeLegend(report);
  makeAges(report);
  makeWhatIf(report);
  makeTable(report);
}

main();
