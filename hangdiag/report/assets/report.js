// The interactive part of the HTML report. All text from the capture goes through textContent.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const ROW = 24, LINE = 19, MARGIN = 12;
  // more nodes than this cannot be read, and take long to lay out
  const MOST_NODES = 250;

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function draw(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  async function load() {
    const holder = $("data");
    if (holder.dataset.form === "json") return JSON.parse(holder.textContent);
    const packed = Uint8Array.from(atob(holder.textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  function start(data) {
    // a thread's fields, in the order that html.py writes them
    const F = {};
    data.fields.forEach((name, index) => { F[name] = index; });
    const words = data.words;
    const threads = data.threads;
    const word = (thread, field) => { const number = thread[F[field]]; return number === null ? "" : words[number]; };
    const state = { selected: -1, shown: [], sort: "part", down: false, source: 0, marked: new Set() };
    const holders = new Map(), waiters = new Map();
    data.edges.forEach((edge, number) => {
      const [from, to] = edge;
      if (!holders.has(from)) holders.set(from, []);
      if (!waiters.has(to)) waiters.set(to, []);
      holders.get(from).push(number);
      waiters.get(to).push(number);
    });

    // ---- the graph ------------------------------------------------------
    const cycle = new Set();
    for (let index = 0; index + 1 < data.cycle.length; index++) cycle.add(data.cycle[index] + ">" + data.cycle[index + 1]);

    function graphNodes() {
      const focus = $("focus").value;
      const fold = $("fold").checked;
      const chosen = data.focuses[focus].filter((index) => visible(threads[index]));
      const nodes = new Map();   // key -> {threads, part}
      const keyOf = new Map();
      for (const index of chosen) {
        const part = word(threads[index], "part");
        let key = "t" + index;
        if (fold && part === "victim") {
          const targets = (holders.get(index) || []).map((number) => data.edges[number][2]);
          key = "v" + [...new Set(targets)].sort().join(",");
        }
        if (!nodes.has(key)) nodes.set(key, { threads: [], part });
        nodes.get(key).threads.push(index);
        keyOf.set(index, key);
      }
      return { nodes, keyOf };
    }

    function label(node) {
      if (node.threads.length === 1) {
        const thread = threads[node.threads[0]];
        const facts = [thread[F.tid] === null || word(thread, "label").includes("tid " + thread[F.tid]) ? "" : "tid " + thread[F.tid], word(thread, "wmesg"), word(thread, "kind")];
        return [word(thread, "label"), facts.filter(Boolean).join(", ")];
      }
      const kinds = [...new Set(node.threads.map((index) => word(threads[index], "kind")))];
      return [node.threads.length + " threads stuck behind it", kinds.join(", ")];
    }

    function showGraph() {
      const view = $("graph");
      view.replaceChildren();
      const { nodes, keyOf } = graphNodes();
      if (nodes.size === 0) {
        view.append(make("p", "soft", "No thread to draw with these filters."));
        return;
      }
      if (nodes.size > MOST_NODES) {
        view.append(make("p", "soft", nodes.size + " threads are too many to draw; choose another part, or use the table."));
        return;
      }
      const graph = new dagre.graphlib.Graph({ multigraph: true });
      graph.setGraph({ rankdir: "TB", nodesep: 24, ranksep: 52, edgesep: 14, marginx: MARGIN, marginy: MARGIN });
      graph.setDefaultEdgeLabel(() => ({}));
      for (const [key, node] of nodes) {
        const lines = label(node);
        const width = Math.max(...lines.map((line) => line.length)) * 6.8 + 20;
        graph.setNode(key, { width: Math.min(Math.max(width, 90), 420), height: 42, lines, node });
      }
      const seen = new Map(), told = new Set();
      for (const edge of data.edges) {
        const from = keyOf.get(edge[0]), to = keyOf.get(edge[1]);
        if (from === undefined || to === undefined) continue;
        const key = from + ">" + to;
        const known = seen.get(key);
        if (known) continue;
        const text = data.resources[edge[2]] + (edge[5] ? " (" + edge[3].toUpperCase() + ")" : "");
        seen.set(key, { edge, text, cycle: cycle.has(edge[0] + ">" + edge[1]) });
      }
      for (const [key, value] of seen) {
        const [from, to] = key.split(">");
        graph.setEdge(from, to, { value, width: Math.min(value.text.length * 5.2, 260), height: 16, labelpos: "c" }, key);
      }
      dagre.layout(graph);
      const size = graph.graph();
      const svg = draw("svg", { width: size.width, viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": "waits-for graph: an arrow leads to the thread that must act" });
      const defs = draw("defs", {});
      for (const kind of ["plain", "cycle"]) {
        const marker = draw("marker", { id: "arrow-" + kind, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" });
        marker.append(draw("path", { d: "M0 0L10 5L0 10z", class: kind === "cycle" ? "arrow cycle" : "arrow" }));
        defs.append(marker);
      }
      svg.append(defs);
      for (const name of graph.edges()) {
        const edge = graph.edge(name);
        const { value } = edge;
        const path = edge.points.map((point, index) => (index ? "L" : "M") + point.x + " " + point.y).join("");
        const line = draw("path", { d: path, class: "edge " + value.edge[4] + (value.cycle ? " cycle" : ""), "marker-end": `url(#arrow-${value.cycle ? "cycle" : "plain"})` });
        line.append(draw("title", {}, value.text + ", " + value.edge[4]));
        svg.append(line);
        const once = name.v + ">" + value.edge[2];
        if (told.has(once)) continue;   // the same resource again: said once
        told.add(once);
        const shown = value.text.length > 50 ? value.text.slice(0, 49) + "\u2026" : value.text;
        if (edge.x !== undefined) svg.append(draw("text", { x: edge.x, y: edge.y + 3, "text-anchor": "middle", class: "edge-label" }, shown));
      }
      for (const key of graph.nodes()) {
        const { x, y, width, height, lines, node } = graph.node(key);
        const first = node.threads[0];
        const group = draw("g", { class: "node " + node.part + (node.threads.includes(state.selected) ? " selected" : ""), tabindex: 0, role: "button", "data-thread": first, transform: `translate(${x - width / 2},${y - height / 2})` });
        group.setAttribute("aria-label", node.threads.length === 1 ? lines.join(", ") + ", " + node.part : lines.join(", ") + "; press Enter to unfold");
        group.append(draw("rect", { width, height, rx: 7 }));
        const room = Math.floor((width - 12) / 6.2);
        lines.forEach((line, index) => {
          group.append(draw("text", { x: width / 2, y: 17 + index * 16, "text-anchor": "middle", class: index ? "small" : "" }, line.length > room ? line.slice(0, room - 1) + "\u2026" : line));
        });
        group.append(draw("title", {}, lines.join("\n")));
        const act = () => {
          if (node.threads.length > 1) { $("fold").checked = false; showGraph(); return; }
          select(first);
        };
        group.addEventListener("click", act);
        group.addEventListener("keydown", (event) => {
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
          const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
          if (step) {
            event.preventDefault();
            const all = [...svg.querySelectorAll(".node")];
            all[(all.indexOf(group) + step + all.length) % all.length].focus();
          }
        });
        svg.append(group);
      }
      // shrunk to the room there is, but never so small that it cannot be read
      svg.style.minWidth = size.width * 0.62 + "px";
      view.append(svg);
      const first = svg.querySelector(".node.selected, .node.core, .node.waiting");
      if (first) {
        const box = first.getBoundingClientRect(), room = view.getBoundingClientRect();
        view.scrollLeft += box.left + box.width / 2 - room.left - room.width / 2;
        view.scrollTop += box.top + box.height / 2 - room.top - room.height / 2;
      }
    }

    // ---- one thread -------------------------------------------------------
    function link(index, after) {
      const item = make("li");
      const button = make("button", "", word(threads[index], "label"));
      button.addEventListener("click", () => select(index));
      item.append(button, document.createTextNode(" " + after));
      return item;
    }

    function linked(title, numbers, side) {
      if (!numbers || !numbers.length) return [];
      const list = make("ul");
      for (const number of numbers.slice(0, 50)) {
        const edge = data.edges[number];
        list.append(link(edge[side], data.resources[edge[2]] + " (" + (edge[5] ? edge[3] + ", " : "") + edge[4] + ")"));
      }
      if (numbers.length > 50) list.append(make("li", "soft", "and " + (numbers.length - 50) + " more"));
      return [make("h3", "", title), list];
    }

    function select(index, quietly) {
      state.selected = index;
      const thread = threads[index];
      const detail = $("detail");
      const facts = make("dl");
      const fact = (name, value) => { if (value !== "" && value !== null) facts.append(make("dt", "", name), make("dd", "mono", String(value))); };
      fact("process", [word(thread, "command"), thread[F.pid] === null ? "" : "pid " + thread[F.pid]].filter(Boolean).join(", "));
      fact("tid", thread[F.tid]);
      fact("state", [word(thread, "state"), thread[F.cpu] === null ? "" : "CPU " + thread[F.cpu]].filter(Boolean).join(", "));
      fact("wmesg", word(thread, "wmesg"));
      fact("wchan", thread[F.wchan]);
      fact("wait", word(thread, "kind"));
      const parts = [make("h2", "", word(thread, "label")), make("p", "", word(thread, "what")), facts];
      parts.push(...linked("Waits for", holders.get(index), 1), ...linked("Waited for by", waiters.get(index), 0));
      const stack = data.stacks[thread[F.stack]];
      parts.push(make("h3", "", "Stack (innermost first)"));
      if (stack.length) {
        const list = make("ol", "mono");
        list.start = 0;
        for (const frame of stack) list.append(make("li", "", words[frame]));
        parts.push(list);
      } else parts.push(make("p", "soft", "not in the capture"));
      const spans = evidence(index);
      if (spans.length) {
        parts.push(make("h3", "", "Evidence"));
        const list = make("ul");
        for (const [source, first, last] of spans) {
          const item = make("li");
          const text = (first === last ? "line " + first : "lines " + first + "\u2013" + last) + (data.sources.length > 1 ? " of " + data.sources[source].path : "");
          const button = make("button", "", text);
          button.addEventListener("click", () => showLines(source, first));
          item.append(button);
          list.append(item);
        }
        parts.push(list);
      }
      detail.replaceChildren(...parts);
      state.marked = new Set(spans.flatMap(([source, first, last]) => Array.from({ length: Math.min(last - first + 1, 5000) }, (_, step) => source + ":" + (first + step))));
      if (spans.length) showLines(spans[0][0], spans[0][1]);
      for (const node of document.querySelectorAll("#graph .node")) node.classList.toggle("selected", Number(node.dataset.thread) === index);
      showRows();
      if (!quietly) $("spoken").textContent = "selected " + word(thread, "label");
    }

    function evidence(index) {
      const thread = threads[index];
      const spans = thread[F.first] === null ? [] : [[thread[F.source], thread[F.first], thread[F.last]]];
      for (const number of holders.get(index) || []) spans.push(...data.edges[number][6]);
      const known = new Set();
      return spans.filter((span) => !known.has(span.join()) && known.add(span.join()));
    }

    // ---- the original text --------------------------------------------------
    const pages = data.sources.map((source) => (source.text === null ? null : source.text.split("\n")));
    const text = $("source"), textSpace = make("div", "space");
    text.append(textSpace);

    function showSource() {
      const page = pages[state.source];
      textSpace.replaceChildren();
      if (!page) { textSpace.style.height = "40px"; textSpace.append(make("p", "soft", "The text of this source is not in this report; see the bug report's attachment.")); return; }
      textSpace.style.height = page.length * LINE + "px";
      const first = Math.max(Math.floor(text.scrollTop / LINE) - 20, 0);
      const last = Math.min(first + Math.ceil(text.clientHeight / LINE) + 40, page.length);
      for (let index = first; index < last; index++) {
        const row = make("div", "text mono" + (state.marked.has(state.source + ":" + (index + 1)) ? " marked" : ""));
        row.style.top = index * LINE + "px";
        row.append(make("span", "number", String(index + 1)), document.createTextNode(page[index]));
        textSpace.append(row);
      }
    }

    function showLines(source, line) {
      state.source = source;
      $("sources").value = String(source);
      const page = pages[source];
      textSpace.style.height = (page ? page.length : 1) * LINE + "px";
      text.scrollTop = Math.max((line - 4) * LINE, 0);
      showSource();
    }

    // ---- the table ------------------------------------------------------------
    const table = $("table"), space = make("div", "space");
    const columns = [["label", "Thread"], ["pid", "Pid"], ["tid", "Tid"], ["command", "Process"], ["vm", "VM"], ["kind", "Wait"], ["wmesg", "Wmesg"], ["what", "What"]];
    const numeric = new Set(["pid", "tid"]);
    const head = make("div", "head");
    head.setAttribute("role", "row");
    for (const [field, title] of columns) {
      const cell = make("span");
      cell.setAttribute("role", "columnheader");
      const button = make("button", "", title);
      button.addEventListener("click", () => {
        state.down = state.sort === field ? !state.down : false;
        state.sort = field;
        for (const other of head.children) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        filter();
      });
      cell.append(button);
      head.append(cell);
    }
    table.append(head, space);

    function visible(thread) {
      return (!$("vm").value || word(thread, "vm") === $("vm").value)
        && (!$("process").value || word(thread, "command") === $("process").value)
        && (!$("kind").value || word(thread, "kind") === $("kind").value);
    }

    const ORDER = { core: 0, waiting: 1, cause: 2, victim: 3, other: 4 };
    function filter() {
      const wanted = $("search").value.trim().toLowerCase();
      const field = state.sort, sign = state.down ? -1 : 1;
      const value = numeric.has(field) ? (index) => threads[index][F[field]] ?? -1
        : field === "part" ? (index) => ORDER[word(threads[index], "part")]
        : (index) => word(threads[index], field);
      state.shown = threads.map((_, index) => index).filter((index) => visible(threads[index]) && (!wanted || haystack(index).includes(wanted)));
      const keys = new Map(state.shown.map((index) => [index, value(index)]));
      state.shown.sort((a, b) => { const one = keys.get(a), other = keys.get(b); return (one < other ? -1 : one > other ? 1 : a - b) * (one === other ? 1 : sign); });
      $("count").textContent = state.shown.length + " of " + threads.length + " threads";
      table.setAttribute("aria-rowcount", state.shown.length + 1);
      table.scrollTop = 0;
      showRows();
    }

    const hay = [];
    function haystack(index) {
      if (hay[index] === undefined) {
        const thread = threads[index];
        hay[index] = [word(thread, "label"), thread[F.pid], thread[F.tid], word(thread, "command"), word(thread, "kind"), word(thread, "wmesg"), word(thread, "what"), data.stacks[thread[F.stack]].map((frame) => words[frame]).join(" ")].join(" ").toLowerCase();
      }
      return hay[index];
    }

    function showRows() {
      const focused = document.activeElement && document.activeElement.classList.contains("row") ? Number(document.activeElement.dataset.row) : -1;
      space.style.height = state.shown.length * ROW + "px";
      const first = Math.max(Math.floor(table.scrollTop / ROW) - 10, 0);
      const last = Math.min(first + Math.ceil(table.clientHeight / ROW) + 20, state.shown.length);
      const rows = [];
      const stop = state.shown.indexOf(state.selected);
      for (let place = first; place < last; place++) {
        const index = state.shown[place], thread = threads[index];
        const row = make("div", "row " + word(thread, "part") + (index === state.selected ? " selected" : ""));
        row.style.top = place * ROW + "px";
        row.dataset.row = place;
        row.setAttribute("role", "row");
        row.setAttribute("aria-rowindex", place + 2);
        row.setAttribute("aria-selected", index === state.selected ? "true" : "false");
        row.tabIndex = place === (stop >= first && stop < last ? stop : first) ? 0 : -1;
        for (const [field] of columns) {
          const cell = make("span", numeric.has(field) || field === "wmesg" ? "mono" : "", numeric.has(field) ? String(thread[F[field]] ?? "") : word(thread, field));
          cell.setAttribute("role", "gridcell");
          row.append(cell);
        }
        rows.push(row);
      }
      space.replaceChildren(...rows);
      if (focused >= first && focused < last) rows[focused - first].focus({ preventScroll: true });
    }

    function goTo(place) {
      place = Math.min(Math.max(place, 0), state.shown.length - 1);
      const top = place * ROW, height = table.clientHeight - 28;
      if (top < table.scrollTop) table.scrollTop = top;
      else if (top + ROW > table.scrollTop + height) table.scrollTop = top + ROW - height;
      showRows();
      const row = space.querySelector(`[data-row="${place}"]`);
      if (row) row.focus({ preventScroll: true });
    }

    space.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) select(state.shown[Number(row.dataset.row)]);
    });
    space.addEventListener("keydown", (event) => {
      const row = event.target.closest(".row");
      if (!row) return;
      const place = Number(row.dataset.row), page = Math.floor(table.clientHeight / ROW) - 2;
      const to = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: state.shown.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); goTo(to); }
      else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(state.shown[place]); goTo(place); }
    });

    // ---- filters ---------------------------------------------------------------
    function options(id, field) {
      const counts = new Map();
      for (const thread of threads) { const value = word(thread, field); if (value) counts.set(value, (counts.get(value) || 0) + 1); }
      for (const [value, count] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 500)) {
        const option = make("option", "", value + " (" + count + ")");
        option.value = value;
        $(id).append(option);
      }
      $(id).addEventListener("change", () => { filter(); showGraph(); });
    }
    options("vm", "vm");
    options("process", "command");
    options("kind", "kind");
    let later = 0;
    $("search").addEventListener("input", () => { clearTimeout(later); later = setTimeout(filter, 80); });
    for (const id of ["focus", "fold"]) $(id).addEventListener("change", showGraph);
    data.sources.forEach((source, index) => {
      const option = make("option", "", source.path);
      option.value = String(index);
      $("sources").append(option);
    });
    $("sources").addEventListener("change", () => { text.scrollTop = 0; state.source = Number($("sources").value); showSource(); });
    table.addEventListener("scroll", showRows, { passive: true });
    text.addEventListener("scroll", showSource, { passive: true });
    window.addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
    window.addEventListener("resize", () => { showRows(); showSource(); });

    for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
    filter();
    showGraph();
    if (data.begin !== null) select(data.begin, true); else showSource();
    document.documentElement.dataset.ready = "yes";
  }

  load().then(start).catch((error) => {
    $("failed").textContent = "The interactive part cannot be shown here (" + error.message + "). The findings and stacks stand below as text.";
    $("failed").hidden = false;
    document.documentElement.dataset.ready = "failed";
  });
})();
