// A squarified treemap: rectangles of given areas that are as square as can be.
// Bruls, Huizing, van Wijk: Squarified Treemaps (2000).

// Lays out nodes, largest first, in a box {x, y, width, height} by their bytes `b`.
// Gives pairs of a node and its box.
function squarify(nodes, box) {
  const total = nodes.reduce((sum, node) => sum + node.b, 0);
  const placed = [];
  if (!total || box.width <= 0 || box.height <= 0) return placed;
  const scale = (box.width * box.height) / total;
  let { x, y, width, height } = box;
  let row = [];
  let rowArea = 0;

  // The worst ratio of sides in a row along a side, were it to hold these areas.
  function worst(area, largest, smallest, side) {
    const square = area * area;
    return Math.max((side * side * largest) / square, square / (side * side * smallest));
  }

  function close() {
    const along = Math.min(width, height);
    const across = rowArea / along;
    let offset = 0;
    for (const node of row) {
      const length = (node.b * scale) / across;
      placed.push([
        node,
        width >= height
          ? { x, y: y + offset, width: across, height: length }
          : { x: x + offset, y, width: length, height: across },
      ]);
      offset += length;
    }
    if (width >= height) {
      x += across;
      width -= across;
    } else {
      y += across;
      height -= across;
    }
    row = [];
    rowArea = 0;
  }

  for (const node of nodes) {
    const area = node.b * scale;
    if (area <= 0) continue;
    const side = Math.min(width, height);
    if (row.length) {
      const largest = row[0].b * scale;
      const smallest = row[row.length - 1].b * scale;
      const before = worst(rowArea, largest, smallest, side);
      if (worst(rowArea + area, largest, area, side) > before) close();
    }
    row.push(node);
    rowArea += area;
  }
  if (row.length) close();
  return placed;
}
