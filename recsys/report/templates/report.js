"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const root = document.documentElement;
  const drawn = new Map(); // id of an element: () => {traces, layout}
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
  const still = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };

  // Colours: "--blue" or "--blue/0.2" under a key that speaks of colour becomes the theme's.
  function colour(name, styles) {
    const [variable, alpha] = name.split("/");
    const value = styles.getPropertyValue(variable).trim();
    if (alpha === undefined) return value;
    const parts = [1, 3, 5].map((at) => parseInt(value.slice(at, at + 2), 16));
    return `rgba(${parts.join(", ")}, ${alpha})`;
  }
  function coloured(value, styles, speaks = false) {
    if (typeof value === "string") return speaks && value.startsWith("--") ? colour(value, styles) : value;
    if (Array.isArray(value)) return speaks ? value.map((each) => coloured(each, styles, true)) : value.map((each) => (each && typeof each === "object" ? coloured(each, styles) : each));
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, styles, /color/i.test(key))]));
  }
  function base(layout) {
    const axis = { gridcolor: "--line", linecolor: "--line", zerolinecolor: "--line", tickcolor: "--line", fixedrange: true, automargin: true, tickfont: { size: 11 }, separatethousands: true };
    const merged = {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "--muted" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 10, r: 10, t: 10, b: 10 },
      hoverlabel: { bgcolor: "--surface", bordercolor: "--grey", font: { color: "--ink", size: 13 }, align: "left", namelength: -1 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", font: { color: "--ink" } }, dragmode: false, hovermode: "closest", ...layout,
    };
    for (const name of ["xaxis", "yaxis"]) {
      const own = layout[name] || {};
      merged[name] = { ...axis, ...own, title: { standoff: 8, font: { size: 12 }, ...(own.title || {}) } };
    }
    return merged;
  }
  function themed(make) {
    const { traces, layout } = make();
    const styles = getComputedStyle(root);
    return [coloured(traces, styles), coloured(base(layout), styles)];
  }
  function redraw() {
    for (const [id, make] of drawn) Plotly.react(id, ...themed(make), still);
  }

  // Figures are drawn when they come near the window; all of them before printing.
  const waiting = new Map();
  function draw(id) {
    const make = waiting.get(id);
    if (!make) return;
    waiting.delete(id);
    drawn.set(id, make);
    Plotly.newPlot(id, ...themed(make), still);
    document.getElementById(id).dataset.drawn = "yes";
  }
  const watcher = new IntersectionObserver((seen) => {
    for (const each of seen) {
      if (!each.isIntersecting) continue;
      watcher.unobserve(each.target);
      draw(each.target.id);
    }
  }, { rootMargin: "400px 0px" });
  function later(id, make) {
    waiting.set(id, make);
    watcher.observe(document.getElementById(id));
  }
  for (const [id, chart] of Object.entries(data.charts)) later(id, () => chart);

  // 1, 2 and 5 of each power of ten: more have no room, and Plotly names those between by one digit alone.
  function steps(chart) {
    const values = chart.traces.flatMap((trace) => trace.y).filter((value) => value > 0);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (!(high > 5 * low)) return {};
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const digit of [1, 2, 5]) ticks.push(Number(`${digit}e${power}`));
    }
    return { tickvals: ticks, ticktext: ticks.map((tick) => number.format(tick)) };
  }
  for (const group of document.querySelectorAll("[data-switch]")) {
    group.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      for (const each of group.querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button));
      const chart = data.charts[group.dataset.switch];
      chart.layout.yaxis = { ...chart.layout.yaxis, type: button.value, ...(button.value === "log" ? steps(chart) : { tickvals: null, ticktext: null }) };
      draw(group.dataset.switch);
      Plotly.react(group.dataset.switch, ...themed(() => chart), still);
    });
  }

  // Theme
  const themes = document.querySelectorAll("#theme input");
  for (const input of themes) {
    input.checked = input.value === (root.dataset.theme || "auto");
    input.addEventListener("change", () => {
      if (input.value === "auto") delete root.dataset.theme;
      else root.dataset.theme = input.value;
      try {
        if (input.value === "auto") localStorage.removeItem("recsys-theme");
        else localStorage.setItem("recsys-theme", input.value);
      } catch (error) { /* it holds for this visit */ }
      redraw();
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Where one is
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const here = new IntersectionObserver((seen) => {
    for (const each of seen) {
      if (!each.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(each.target.getAttribute("aria-labelledby"));
      if (!link) continue;
      link.setAttribute("aria-current", "true");
      link.closest("ul").scrollLeft = link.offsetLeft - 60; // on a phone the list is a row
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const section of document.querySelectorAll("main > section")) here.observe(section);

  // Printing: light colours, all figures, as wide as a page
  let before = null;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme || "";
    root.dataset.theme = "light";
    for (const id of [...waiting.keys()]) draw(id);
    for (const [id, make] of drawn) {
      const [traces, layout] = themed(make);
      const wide = document.getElementById(id).closest(".map, .chart.last");
      Plotly.react(id, traces, { ...layout, width: wide ? 640 : 310, autosize: false }, still);
    }
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    redraw();
    for (const id of drawn.keys()) Plotly.Plots.resize(id);
  });

  // The item map
  const map = data.map;
  if (!map) return;
  let by = "count", marked = null, range = null;
  const placed = map.x.length; // items on the map; the search knows more
  const grain = document.getElementById("map-found").clientWidth < 600 ? 0.7 : 1; // a phone has less room for as many
  const size = map.count.map((count) => grain * (4 + 2.2 * Math.log10(1 + count)));
  const ends = [Math.max(Math.min(...map.count.slice(0, placed)), 1), Math.max(...map.count, 1)];
  const round = [1, 2, 5, 10, 20, 50, 100, 200, 500].flatMap((count) => [count, 1e3 * count, 1e6 * count]);
  const within = round.filter((count) => count >= ends[0] && count <= ends[1]);
  const counts = within.length > 1 ? within : ends;
  const whole = { x: margins(map.x), y: margins(map.y) };
  const labels = map.title.slice(0, placed).map(label);
  function margins(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)], room = 0.06 * (high - low) || 1;
    return [low - room, high + room];
  }
  const pick = (values, places) => places.map((place) => values[place]);
  // Plotly takes tags and entities for markup, and cannot keep apart what turns the direction of text.
  function escaped(text) {
    return text.replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g, "").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }
  function label(title) {
    const lines = [""];
    for (const word of title.split(" ")) {
      if ((lines.at(-1) + word).length > 36) lines.push("");
      lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
    }
    return lines.filter(Boolean).map(escaped).join("<br>");
  }
  function points(places, more) {
    return {
      type: "scatter", mode: "markers", x: pick(map.x, places), y: pick(map.y, places), text: pick(labels, places),
      customdata: pick(map.count, places), hovertemplate: "%{text}<br>%{customdata:,} ratings<extra></extra>", ...more,
    };
  }
  function mapTraces() {
    const all = map.x.map((_, place) => place);
    const faint = marked === null ? 0.8 : 0.35;
    const traces = by === "count"
      ? [points(all, {
          name: "items", showlegend: false,
          marker: {
            size: pick(size, all), opacity: faint, color: pick(map.count, all).map((count) => Math.log10(Math.max(count, 1))), line: { width: 0 },
            colorscale: [[0, "--low"], [0.5, "--middle"], [1, "--high"]],
            colorbar: { title: { text: "ratings", side: "top" }, orientation: "h", y: -0.02, yanchor: "top", len: 0.6, thickness: 10, outlinewidth: 0, tickvals: counts.map(Math.log10), ticktext: counts.map(number.format) },
          },
        })]
      : map.genres.flatMap((genre, at) => {
          const own = all.filter((place) => map.genre[place] === at);
          const color = `--genre-${at === map.genres.length - 1 ? 9 : at}`, name = escaped(genre);
          // The legend has points of its own: it does not fade when an item is marked.
          return [
            points(own, { name, showlegend: false, marker: { size: pick(size, own), opacity: faint, color, line: { width: 0 } } }),
            { type: "scatter", mode: "markers", name, x: [null], y: [null], marker: { color, size: 8 } },
          ];
        });
    if (marked !== null) {
      const near = (map.near ? map.near[marked] : []).filter((place) => place < placed);
      traces.push(points(near, { name: "nearest", showlegend: false, marker: { size: 12, color: "--near", line: { width: 1.5, color: "--ink" } } }));
      if (marked < placed) traces.push(points([marked], { name: "marked", showlegend: false, marker: { size: 17, symbol: "star", color: "--mark", line: { width: 1.5, color: "--ink" } } }));
    }
    return traces;
  }
  function mapLayout() {
    const bare = { showgrid: false, showline: false, zeroline: false, showticklabels: false, fixedrange: false, ticks: "", title: { text: "" } };
    const reach = range || whole;
    return {
      xaxis: { ...bare, range: reach.x }, yaxis: { ...bare, range: reach.y }, dragmode: "pan", showlegend: by === "genre",
      legend: { orientation: "h", x: 0, y: -0.02, yanchor: "top", itemsizing: "constant", traceorder: "normal", font: { color: "--ink" } },
    };
  }
  const makeMap = () => ({ traces: mapTraces(), layout: mapLayout() });
  function drawMap() {
    if (!placed) return;
    if (waiting.has("item-map")) draw("item-map");
    else Plotly.react("item-map", ...themed(makeMap), still);
  }
  if (placed) later("item-map", makeMap);
  for (const input of document.querySelectorAll("#map-colour input")) {
    input.addEventListener("change", () => { by = input.value; keepRange(); drawMap(); });
  }
  function keepRange() {
    const shown = document.getElementById("item-map")._fullLayout;
    if (shown) range = { x: [...shown.xaxis.range], y: [...shown.yaxis.range] };
  }
  const zoom = document.getElementById("map-zoom");
  if (zoom) zoom.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    keepRange();
    const factor = { in: 0.6, out: 1 / 0.6 }[button.value];
    if (!factor || !range) range = null;
    else for (const axis of ["x", "y"]) {
      const [low, high] = range[axis], middle = (low + high) / 2, half = ((high - low) / 2) * factor;
      range[axis] = [middle - half, middle + half];
    }
    drawMap();
  });

  // Its search: a combobox with a list
  const input = document.getElementById("map-search"), options = document.getElementById("map-options");
  const found = document.getElementById("map-found");
  const folded = map.title.map((title) => title.toLowerCase());
  const MOST = 20;
  let fitting = [], active = -1;
  function close() {
    options.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  function text(tag, content, parent) {
    const element = document.createElement(tag);
    element.textContent = content;
    if (parent) parent.append(element);
    return element;
  }
  function suggest() {
    const wanted = input.value.trim().toLowerCase();
    if (!wanted) { close(); return; }
    const begins = [], within = [];
    folded.forEach((title, place) => {
      const at = title.indexOf(wanted);
      if (at === 0) begins.push(place);
      else if (at > 0) within.push(place);
    });
    fitting = [...begins, ...within].slice(0, MOST);
    options.replaceChildren();
    fitting.forEach((place, number) => {
      const option = document.createElement("li");
      option.id = `map-option-${number}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      text("bdi", map.title[place], option);
      option.append(" ");
      text("small", `${format(map.count[place])}`, option);
      option.addEventListener("mousedown", (event) => { event.preventDefault(); choose(place); });
      options.append(option);
    });
    if (!fitting.length) text("li", "No item has this in its title.", options).setAttribute("role", "option");
    options.hidden = false;
    active = -1;
    input.setAttribute("aria-expanded", "true");
    input.removeAttribute("aria-activedescendant");
  }
  const format = (count) => `${number.format(count)} ${count === 1 ? "rating" : "ratings"}`;
  function move(step) {
    if (options.hidden) suggest();
    if (!fitting.length) return;
    active = (active + step + fitting.length + (active < 0 && step < 0 ? 1 : 0)) % fitting.length;
    fitting.forEach((_, number) => options.children[number].setAttribute("aria-selected", String(number === active)));
    input.setAttribute("aria-activedescendant", `map-option-${active}`);
    options.children[active].scrollIntoView({ block: "nearest" });
  }
  function choose(place) {
    marked = place;
    input.value = map.title[place];
    close();
    found.replaceChildren();
    const near = map.near ? map.near[place] : [];
    const line = document.createElement("p");
    text("strong", "", line).append(text("bdi", map.title[place]));
    line.append(`, ${format(map.count[place])}. `);
    if (placed && place >= placed) line.append("It is not on the map. ");
    line.append(near.length ? "Its neighbours, the nearest first:" : "No neighbours of it are known.");
    found.append(line);
    const list = document.createElement("ol");
    for (const other of near) {
      const item = document.createElement("li");
      const button = text("button", map.title[other], item);
      button.type = "button";
      button.dir = "auto";
      button.addEventListener("click", () => { choose(other); input.focus(); close(); });
      list.append(item);
    }
    if (near.length) found.append(list);
    if (placed) { keepRange(); drawMap(); }
  }
  input.addEventListener("input", suggest);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); move(1); }
    else if (event.key === "ArrowUp") { event.preventDefault(); move(-1); }
    else if (event.key === "Escape") { if (options.hidden) input.value = ""; close(); }
    else if (event.key === "Enter") {
      if (!options.hidden && fitting.length) { event.preventDefault(); choose(fitting[Math.max(active, 0)]); }
    }
  });
})();
