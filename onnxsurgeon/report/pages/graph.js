"use strict";
// Draws graphs of networks: layers from top to bottom, laid out by dagre, moved and zoomed by panzoom.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const FOLDED = 40; // nodes from which chains are folded at first
  const MOST = 4000; // boxes that are laid out at most
  const LEGEND = [["free", "all channels may be cut"], ["part", "some are frozen"], ["frozen", "all are frozen"], ["plain", "no channels"]];
  const STATES = [["cut", "changed"], ["new", "new"], ["gone", "gone"]];

  const make = (name, attributes = {}, ...children) => {
    const drawn = ["svg", "g", "rect", "text", "path", "title", "marker", "defs"].includes(name);
    const found = drawn ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    found.append(...children);
    return found;
  };
  const cut = (text, most) => (text.length > most ? `…${text.slice(-(most - 1))}` : text);
  const channels = (node) =>
    node.width === null ? "" : node.after === null || node.after === node.width ? `${node.width}` : `${node.width} → ${node.after}`;
  const kind = (node) => (node.width === null ? "plain" : node.free === 0 ? "frozen" : node.free < node.width ? "part" : "free");

  // Nodes that depend on an input of the model: the others compute constants.
  const live = (nodes) => {
    const known = new Set(nodes.map((node) => node.name));
    const found = new Set();
    for (const node of nodes) if (node.reads.some((name) => !known.has(name) || found.has(name))) found.add(node.name);
    return found.size ? nodes.filter((node) => found.has(node.name)).map((node) => ({ ...node, reads: node.reads.filter((name) => !known.has(name) || found.has(name)) })) : nodes;
  };

  // A box is a chain of nodes: a layer and what follows it alone and is as wide.
  const boxes = (nodes, fold) => {
    const known = new Map(nodes.map((node) => [node.name, node]));
    const readers = new Map();
    for (const node of nodes) for (const name of node.reads) readers.set(name, (readers.get(name) || 0) + 1);
    const found = [];
    const box = new Map();
    const add = (node) => {
      const own = { nodes: [node], reads: node.reads };
      found.push(own);
      box.set(node.name, own);
    };
    for (const node of nodes) {
      for (const name of node.reads) {
        if (!known.has(name) && !box.has(name)) add({ name, op: "input", reads: [], width: null, after: null, free: 0, why: "", shape: null, params: 0, state: "" });
      }
      const first = box.get(node.reads[0]);
      const last = first && first.nodes[first.nodes.length - 1];
      const joins = fold && node.reads.length === 1 && !node.layer && last && last.name === node.reads[0] && last.op !== "input" &&
        readers.get(last.name) === 1 && channels(last) === channels(node) && kind(last) === kind(node) && last.state === node.state &&
        first.nodes.length < 4;
      if (joins) {
        first.nodes.push(node);
        box.set(node.name, first);
      } else add(node);
    }
    return { found, box };
  };

  const told = (node) => {
    const parts = [`${node.name} (${node.op})`];
    if (node.width !== null) parts.push(`${channels(node)} channels`, `${node.free} of ${node.width} may be cut`);
    if (node.shape) parts.push(`shape ${node.shape.map((n) => n ?? "?").join("x") || "scalar"}`);
    if (node.params) parts.push(`${node.params.toLocaleString("en")} parameters`);
    if (node.why) parts.push(`frozen: ${node.why}`);
    if (node.state) parts.push(new Map(STATES).get(node.state));
    return parts.join("; ");
  };

  const layout = (found, box) => {
    const graph = new dagre.graphlib.Graph({ multigraph: false });
    graph.setGraph({ rankdir: "TB", nodesep: 16, ranksep: 26, edgesep: 8, marginx: 12, marginy: 12,
      ranker: found.length > 300 ? "longest-path" : "network-simplex" });
    graph.setDefaultEdgeLabel(() => ({}));
    found.forEach((own, number) => {
      own.key = String(number);
      const ops = own.nodes.map((node) => node.op).join(" · ");
      const width = channels(own.nodes[0]);
      own.lines = [(ops.length > 34 ? `${ops.slice(0, 33)}…` : ops) + (width ? `  ${width}` : ""), cut(own.nodes[0].name, 32)];
      graph.setNode(own.key, { width: Math.max(...own.lines.map((line) => line.length)) * 6.9 + 22, height: 42 });
    });
    for (const own of found) {
      for (const name of own.reads) {
        const from = box.get(name);
        if (from && from !== own) graph.setEdge(from.key, own.key);
      }
    }
    dagre.layout(graph);
    return graph;
  };

  const picture = (all, fold, title, choose) => {
    const nodes = live(all);
    const { found, box } = boxes(nodes, fold);
    if (found.length > MOST) return null;
    const graph = layout(found, box);
    const { width, height } = graph.graph();
    const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${title ? `${title}: ` : ""}graph of ${nodes.length} nodes; the table of layers says the same` });
    for (const edge of graph.edges()) {
      const points = graph.edge(edge).points;
      const path = points.map((p, n) => {
        if (n === 0) return `M${p.x},${p.y}`;
        const next = points[n + 1];
        return next ? `Q${p.x},${p.y} ${(p.x + next.x) / 2},${(p.y + next.y) / 2}` : `L${p.x},${p.y}`;
      }).join("");
      svg.append(make("path", { class: "edge", d: path }));
    }
    for (const own of found) {
      const place = graph.node(own.key);
      const drawn = make("g", { class: `node ${kind(own.nodes[0])}`, "data-state": own.nodes[0].state, transform: `translate(${place.x},${place.y})` },
        make("rect", { x: -place.width / 2, y: -21, width: place.width, height: 42 }),
        make("text", { y: -3 }, own.lines[0]), make("text", { y: 13, class: "small" }, own.lines[1]),
        make("title", {}, own.nodes.map(told).join("\n")));
      drawn.addEventListener("click", () => choose(own.nodes[0].name));
      own.drawn = drawn;
      own.place = place;
      svg.append(drawn);
    }
    return { svg, box, width, height, first: found[0].place, left: all.length - nodes.length };
  };

  const show = (figure) => {
    const given = JSON.parse(figure.querySelector("script").textContent);
    const fold = make("input", { type: "checkbox" });
    fold.checked = given.some((graph) => graph.nodes.length > FOLDED);
    const find = make("input", { type: "search", placeholder: "part of a name", title: "Enter goes to the next one" });
    const buttons = [["+", "Zoom in"], ["−", "Zoom out"], ["Fit", "Fit all of it in"], ["Top", "Top: back to the start"]].map(([text, label]) =>
      make("button", { type: "button", "aria-label": label, title: label }, text));
    const tools = make("div", { class: "tools" }, ...buttons, make("label", {}, fold, " fold chains"), make("label", {}, "Find ", find),
      make("span", { class: "note" }, "Drag moves, Ctrl + wheel zooms; with the keyboard: arrows, +, -, 0."));
    const states = new Set(given.flatMap((graph) => graph.nodes.map((node) => node.state)));
    const legend = make("div", { class: "legend" }, ...[...LEGEND, ...STATES.filter(([name]) => states.has(name))].map(([name, text]) => make("span", {}, make("i", { class: name }), text)));
    const chosen = make("p", { class: "chosen", "aria-live": "polite" }, "Choose a node to see more of it.");
    const windows = make("div", { class: "networks" });
    figure.append(tools, legend, windows, chosen);
    let views = [];

    const QUIET = { animate: false, silent: true }; // others are not told
    const put = (view, { scale, x, y }) => {
      view.pan.zoom(scale, QUIET);
      view.pan.pan(x, y, QUIET);
    };
    const top = ({ frame, width, first }) => {
      const scale = Math.min(1, Math.max(0.6, frame.clientWidth / width));
      const room = frame.clientWidth / scale;
      return { scale, x: width < room ? (room - width) / 2 : room / 2 - first.x, y: 12 - first.y + 21 };
    };
    const fit = ({ frame, width, height }) => {
      const scale = Math.min(1, frame.clientWidth / width, frame.clientHeight / height);
      return { scale, x: (frame.clientWidth / scale - width) / 2, y: 0 };
    };
    const centred = ({ frame, pan }, place) => {
      const scale = Math.max(0.7, pan.getScale());
      return { scale, x: frame.clientWidth / 2 / scale - place.x, y: frame.clientHeight / 2 / scale - place.y };
    };
    const choose = (name, move = false) => {
      figure.querySelectorAll(".node.found").forEach((node) => node.classList.remove("found"));
      const lines = [];
      for (const view of views) {
        const own = view.box.get(name);
        if (!own) continue;
        own.drawn.classList.add("found");
        if (move) put(view, centred(view, own.place));
        const said = own.nodes.map(told).join(". ");
        lines.push(view.title ? `${view.title}: ${said}` : said);
      }
      chosen.textContent = lines.join(" — ");
    };

    // What is drawn, so that it can be moved and zoomed.
    const moved = (drawn) => {
      const { svg, frame } = drawn;
      const start = top(drawn);
      const pan = Panzoom(svg, { canvas: true, origin: "0 0", minScale: 0.02, maxScale: 6, step: 0.25, cursor: "grab",
        startScale: start.scale, startX: start.x, startY: start.y });
      const view = { ...drawn, pan };
      frame.addEventListener("wheel", (event) => { if (event.ctrlKey || event.metaKey) pan.zoomWithWheel(event); }, { passive: false });
      frame.addEventListener("keydown", (event) => {
        const step = 80 / pan.getScale();
        const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
        if (moves[event.key]) pan.pan(...moves[event.key], { relative: true, animate: false });
        else if (event.key === "+" || event.key === "=") pan.zoomIn({ animate: false });
        else if (event.key === "-") pan.zoomOut({ animate: false });
        else if (event.key === "0") views.forEach((other) => put(other, fit(other)));
        else return;
        event.preventDefault();
      });
      svg.addEventListener("panzoomchange", ({ detail }) => {
        for (const other of views) if (other !== view) put(other, detail);
      });
      return view;
    };

    const draw = () => {
      windows.replaceChildren();
      const framed = [];
      for (const graph of given) {
        const made = picture(graph.nodes, fold.checked, graph.title, choose);
        const place = make("div", {}, ...(graph.title ? [make("h3", {}, graph.title)] : []));
        windows.append(place);
        if (!made) {
          place.append(make("p", {}, `The graph has ${graph.nodes.length.toLocaleString("en")} nodes, too many to lay out in a browser; the tables have them.`));
          continue;
        }
        const frame = make("div", { class: "window", tabindex: "0", role: "application", "aria-label": `${graph.title || "the graph"}: arrows move, + and - zoom, 0 shows all` }, made.svg);
        place.append(frame);
        if (made.left) place.append(make("p", { class: "note" }, `${made.left.toLocaleString("en")} nodes that only compute constants are left out.`));
        framed.push({ ...made, frame, title: graph.title });
      }
      views = framed.map(moved);
    };
    buttons[0].addEventListener("click", () => views.forEach((view) => view.pan.zoomIn(QUIET)));
    buttons[1].addEventListener("click", () => views.forEach((view) => view.pan.zoomOut(QUIET)));
    buttons[2].addEventListener("click", () => views.forEach((view) => put(view, fit(view))));
    buttons[3].addEventListener("click", () => views.forEach((view) => put(view, top(view))));
    fold.addEventListener("change", draw);
    let at = -1;
    find.addEventListener("input", () => { at = -1; });
    find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const names = [...new Set(given.flatMap((graph) => graph.nodes.map((node) => node.name)))];
      const hits = names.filter((name) => name.toLowerCase().includes(find.value.toLowerCase()));
      if (!hits.length) {
        chosen.textContent = `No name has ${find.value} in it.`;
        return;
      }
      at = (at + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
      choose(hits[at], true);
    });
    draw();
  };

  const once = (figure) => {
    if (figure.dataset.drawn) return;
    figure.dataset.drawn = "yes";
    show(figure);
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) once(entry.target);
  }, { rootMargin: "400px" });
  const figures = document.querySelectorAll("figure.graph");
  figures.forEach((figure) => seen.observe(figure));
  window.addEventListener("beforeprint", () => figures.forEach(once));
})();
