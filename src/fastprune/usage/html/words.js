// Numbers and times in words, and the making of elements. Text only ever becomes text:
// nothing here or elsewhere parses HTML.

const DAY = 86400;

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  let size = count;
  let unit = 0;
  while (Math.abs(size) >= 999.95 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return unit ? `${size.toFixed(1)} ${units[unit]}` : `${count} B`;
}

function number(count) {
  return count.toLocaleString("en-US");
}

function counted(count, singular) {
  return `${number(count)} ${singular}${count === 1 ? "" : "s"}`;
}

function percent(part, whole) {
  if (!whole || !part) return "0 %";
  const share = (100 * part) / whole;
  return share < 0.1 ? "< 0.1 %" : `${share.toFixed(share < 10 ? 1 : 0)} %`;
}

function date(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

function ago(seconds, now) {
  const days = Math.floor((now - seconds) / DAY);
  return days < 1 ? "today" : `${counted(days, "day")} ago`;
}

// An element with attributes (by name), a class, and children: elements or text.
function element(name, className, attributes, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const [key, value] of Object.entries(attributes || {})) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function drawing(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
