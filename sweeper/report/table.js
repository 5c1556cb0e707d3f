"use strict";
// The trial table, and the button that copies the best config.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  const copy = document.getElementById("copy");
  copy?.addEventListener("click", async (event) => {
    event.preventDefault();
    const text = document.getElementById("ini").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a page opened from a file may not use the clipboard's own interface
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });

  // The table: columns of [key, label, is number], rows of [value, shown].
  const { columns, rows, best } = read("rows");
  const table = document.getElementById("table");
  const head = table.tHead.insertRow();
  const body = table.tBodies[0];
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const filter = document.getElementById("filter");
  let order = { column: columns.findIndex(([key]) => key === "score"), down: read("rows").down };
  let most = 50;

  const raw = (cell) => (Array.isArray(cell) ? cell[0] : cell);
  const shown = (cell) => (Array.isArray(cell) ? cell[1] : cell === null ? "–" : String(cell));
  const compare = (a, b) => {
    const [x, y] = [raw(a[order.column]), raw(b[order.column])];
    if (x === null || y === null) return (x === null) - (y === null); // unknown values last, whichever way
    const sign = x < y ? -1 : x > y ? 1 : 0;
    return order.down ? -sign : sign;
  };
  const test = (word) => {
    const match = /^([\w./-]+)(<=|>=|!=|<|>|=)(.+)$/.exec(word);
    if (!match) return (row) => row.some((cell) => shown(cell).toLowerCase().includes(word));
    const [, name, sign, text] = match;
    const column = columns.findIndex(([key]) => key === name || key.endsWith(`.${name}`));
    const number = Number(text);
    if (column < 0) return () => false;
    return (row) => {
      const value = raw(row[column]);
      if (value === null) return false;
      const [a, b] = Number.isNaN(number) || typeof value !== "number" ? [String(value).toLowerCase(), text] : [value, number];
      return { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "=": a === b, "!=": a !== b }[sign];
    };
  };
  const render = () => {
    const tests = filter.value.toLowerCase().replace(/\s*(<=|>=|!=|<|>|=)\s*/g, "$1").split(/\s+/).filter(Boolean).map(test);
    const chosenRows = rows.filter((row) => tests.every((passes) => passes(row))).sort(compare);
    body.replaceChildren(...chosenRows.slice(0, most).map((row) => {
      const line = document.createElement("tr");
      if (row[0] === best) line.className = "best";
      row.forEach((cell, index) => {
        const element = line.insertCell();
        const [key, , numeric] = columns[index];
        if (numeric) element.className = "number";
        if (key === "state") {
          const mark = document.createElement("span");
          mark.className = `state ${raw(cell)}`;
          mark.textContent = shown(cell);
          element.append(mark);
        } else element.textContent = shown(cell);
      });
      return line;
    }));
    count.textContent = chosenRows.length === rows.length ? `${rows.length} trials` : `${chosenRows.length} of ${rows.length} trials`;
    more.hidden = chosenRows.length <= most;
    more.textContent = `Show all ${chosenRows.length}`;
    [...head.cells].forEach((cell, index) => {
      if (index === order.column) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  };
  columns.forEach(([key, label, numeric], index) => {
    const cell = document.createElement("th");
    cell.textContent = label;
    cell.title = key;
    cell.tabIndex = 0;
    if (numeric) cell.className = "number";
    const sort = () => { order = { column: index, down: order.column === index ? !order.down : false }; render(); };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    head.append(cell);
  });
  filter.addEventListener("input", render);
  more.addEventListener("click", () => { most = Infinity; render(); });
  window.addEventListener("beforeprint", () => { most = 200; render(); });
  render();
})();
