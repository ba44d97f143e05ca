"use strict";
// Draws the charts of the page when they come into view, lets tables sort and filter, and copies commands.
(() => {
  const theme = JSON.parse(document.getElementById("theme").textContent);

  const draw = (place) => {
    if (place.dataset.drawn) return;
    place.dataset.drawn = "yes";
    const given = JSON.parse(place.querySelector("script").textContent);
    const spec = Array.isArray(given) ? structuredClone(theme.spark) : given;
    if (Array.isArray(given)) spec.data.values = given;
    const { spec: full } = vegaLite.compile(spec, { config: theme.config });
    const view = new vega.View(vega.parse(full), { renderer: "svg", container: place.querySelector(".plot"), hover: true });
    view.run();
    place.querySelector(".plot svg").setAttribute("aria-hidden", "true"); // its place says what it shows
  };

  const charts = [...document.querySelectorAll(".chart")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "300px" });
  charts.forEach((place) => seen.observe(place));
  window.addEventListener("beforeprint", () => charts.forEach(draw));

  const least = (text) => (text === "" ? -Infinity : Number(text));
  if (window.Tablesort) Tablesort.extend("number", () => false, (a, b) => least(b) - least(a));
  for (const table of document.querySelectorAll("table.sortable")) {
    new Tablesort(table, { descending: false });
    const field = table.closest("div:not(.scroll)").querySelector('input[type="search"]');
    if (!field) continue;
    const rows = [...table.tBodies[0].rows];
    const texts = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase()]));
    const said = field.closest(".filter").querySelector("output");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => texts.get(row).includes(word));
        shown += row.hidden ? 0 : 1;
      }
      said.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
