// The depth trend's charts, drawn once the map stands.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("trend-data");
  const plots = Array.from(document.querySelectorAll("[data-chart]"));
  if (!source || !plots.length) return;
  const charts = JSON.parse(source.textContent);

  // A mean with its interval behind it, or a dash where there is none.
  function interval(row, name) {
    if (row[name] === undefined) return polyscan.numberText(null);
    const [mean, low, high] = [row[name], row[name + "_low"], row[name + "_high"]].map((value) => polyscan.numberText(value));
    return row[name + "_low"] === undefined ? mean : `${mean} [${low} to ${high}]`;
  }

  // The row with what its tooltip says.
  function withWords(row) {
    const controls = interval(row, "control") + (row.controls ? `, ${row.controls} controls` : "");
    return Object.assign({ text: interval(row, "mean"), control_text: controls, excess_text: interval(row, "excess") }, row);
  }

  // The chart's specification with its rows, which both parts of a chart share.
  function spec(plot) {
    const { rows, specs } = charts[Number(plot.dataset.chart)];
    return Object.assign({}, specs[plot.dataset.part], { datasets: { points: rows.map(withWords) } });
  }

  function draw() {
    if (!window.vegaEmbed) {
      document.getElementById("trend-missing").hidden = false;
      for (const plot of plots) plot.parentElement.hidden = true;
      return;
    }
    const options = { ast: true, actions: false, renderer: "svg", tooltip: { theme: "polyscan" } };
    const drawn = plots.map((plot) => window.vegaEmbed(plot, spec(plot), options));
    Promise.all(drawn).then(function () {
      window.TREND_READY = true;
    });
  }

  window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(draw, 0)));
})();
