"use strict";
// Figures: drawn in the page's theme, each with a legend of its own above it, and once more at paper's width for printing.
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const root = document.documentElement;
  const tones = read("tones");
  const hovers = read("hovers");

  // What the pointer shows is written once for all figures; they hold places in that list.
  const withHovers = (figure) => {
    for (const trace of figure.data) if (Array.isArray(trace.hovertext)) trace.hovertext = trace.hovertext.map((place) => hovers[place]);
    return figure;
  };

  // Figures are stored in light tones; each dark tone stands for one of them.
  const darken = (part) => {
    if (typeof part === "string") return tones[part] ?? part;
    if (Array.isArray(part)) return part.map(darken);
    if (part && typeof part === "object") return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, darken(value)]));
    return part;
  };

  const SHAPES = {
    circle: "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1-4 0Z", square: "M-4-4H4V4H-4Z", diamond: "M0-5 5 0 0 5-5 0Z", x: "M-4-4 4 4M4-4-4 4",
    "x-thin": "M-4-4 4 4M4-4-4 4", "line-ns": "M0-6V6", "triangle-up": "M0-5 5 4H-5Z", "triangle-right": "M-4-5 5 0-4 5Z",
    star: "M0-6 1.4-1.9 5.7-1.9 2.2.7 3.5 4.9 0 2.3-3.5 4.9-2.2.7-5.7-1.9-1.4-1.9Z",
  };
  const THIN = ["x", "x-thin", "line-ns"];
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const swatch = (trace) => {
    const picture = svg("svg", { viewBox: "-11 -7 22 14", width: 22, height: 14, "aria-hidden": "true" });
    const bar = trace.type === "bar";
    const { color, line, symbol } = { symbol: bar ? "square" : "circle", ...trace.marker };
    if (!bar && (trace.mode ?? "").includes("lines")) {
      const dash = trace.line.dash === "dot" ? "2 3" : "none";
      picture.append(svg("path", { d: "M-11 0H11", stroke: trace.line.color, "stroke-width": trace.line.width, "stroke-dasharray": dash }));
    }
    if (bar || trace.mode.includes("markers")) {
      const name = symbol.replace(/-(open|dot)$/, "");
      const tone = [color ?? line?.color].flat()[0];
      const hollow = symbol.endsWith("-open") || THIN.includes(name);
      const rim = hollow ? tone : trace.mode?.includes("lines") ? line?.color : null;
      picture.append(svg("path", { d: SHAPES[name], fill: hollow ? "none" : tone, stroke: rim ?? line?.color ?? "none", "stroke-width": hollow || rim ? 1.5 : 0 }));
    }
    return picture;
  };

  const drawLegend = (item, data, layout) => {
    item.legend?.remove();
    const named = data.map((trace, index) => ({ trace, index })).filter(({ trace }) => trace.name && trace.showlegend !== false);
    if (layout.showlegend === false || !named.length) return;
    if (layout.legend?.traceorder === "reversed") named.reverse();
    item.legend = Object.assign(document.createElement("div"), { className: "legend" });
    for (const { trace, index } of named) {
      const entry = Object.assign(document.createElement("button"), { type: "button", title: "Show or hide" });
      entry.append(swatch(trace), trace.name);
      const mine = data.flatMap((other, place) => (place === index || (trace.legendgroup && other.legendgroup === trace.legendgroup) ? [place] : []));
      entry.setAttribute("aria-pressed", String(!item.hidden.has(index)));
      entry.addEventListener("click", () => {
        const hide = !item.hidden.has(index);
        for (const place of mine) hide ? item.hidden.add(place) : item.hidden.delete(place);
        entry.setAttribute("aria-pressed", String(!hide));
        Plotly.restyle(item.element, { visible: !hide }, mine);
      });
      item.legend.append(entry);
    }
    item.frame.before(item.legend);
    layout.showlegend = false;
    layout.margin.t = Math.min(layout.margin.t, 14);
  };

  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] };
  const finger = window.matchMedia("(pointer: coarse)");
  const draw = (item, theme, width) => {
    const { data, layout } = theme === "dark" ? darken(item.figure) : structuredClone(item.figure);
    if (finger.matches) { // a finger scrolls the page; a figure that zooms would hold it fast
      layout.dragmode = false;
      for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) layout[key].fixedrange = true;
    }
    drawLegend(item, data, layout);
    data.forEach((trace, index) => { if (item.hidden.has(index)) trace.visible = false; });
    if (width) layout.width = width; // paper: the page is not laid out anew before it is printed
    const put = item.printed ? Plotly.newPlot : Plotly.react; // react would keep the paper's width
    item.printed = Boolean(width);
    put(item.element, data, layout, { ...options, toImageButtonOptions: { scale: 2, filename: item.element.dataset.figure } });
  };

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const wanted = () => chosen ?? (system.matches ? "dark" : "light");
  const figures = [...document.querySelectorAll(".plot")].map((element) => (
    { element, frame: element.parentElement, figure: withHovers(read(`figure-${element.dataset.figure}`)), hidden: new Set(), legend: null }));
  const drawAll = (theme) => {
    root.dataset.theme = theme;
    root.dataset.ready = "false";
    const waiting = [...figures];
    const step = () => { // a few at a time, so that a long page answers while it fills
      const started = performance.now();
      while (waiting.length && performance.now() - started < 60) draw(waiting.shift(), theme);
      if (waiting.length) setTimeout(step);
      else root.dataset.ready = "true";
    };
    step();
  };
  root.dataset.theme = wanted();

  // Plotly is most of the page; it is kept compressed.
  if (typeof DecompressionStream === "undefined") {
    for (const { element } of figures) element.textContent = "Figures need a browser of 2023 or newer.";
    return;
  }
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (character) => character.charCodeAt(0));
  const plotly = document.createElement("script");
  plotly.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(plotly);

  drawAll(wanted());
  system.addEventListener("change", () => drawAll(wanted()));
  document.getElementById("theme").addEventListener("click", () => { chosen = wanted() === "dark" ? "light" : "dark"; drawAll(chosen); });

  window.addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    root.dataset.printing = "true";
    document.querySelectorAll("video").forEach((film) => { film.controls = false; });
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    figures.forEach((item) => draw(item, "light", item.element.clientWidth));
  });
  window.addEventListener("afterprint", () => {
    delete root.dataset.printing;
    document.querySelectorAll("video").forEach((film) => { film.controls = true; });
    drawAll(wanted());
  });
})();
