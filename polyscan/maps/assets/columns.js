// Columns and names that the front page does not hold from the beginning: scripts, asked for when they are wanted.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const taken = new Map(); // key -> what was delivered

  polyscan.deliverColumn = (content) => taken.set(`column-${content.place}`, content);
  polyscan.deliverNames = (content) => taken.set("names", content);

  function request(key, run) {
    return new Promise(function (resolve, reject) {
      const address = `data/${key}.js`;
      const missing = new Error(`${address} is missing or did not load: was the whole folder copied?`);
      const script = polyscan.element("script", { src: address });
      script.addEventListener("error", () => reject(missing));
      script.addEventListener("load", function () {
        const content = taken.get(key);
        if (!content) reject(missing);
        else if (content.run !== run) reject(new Error(`${address} is of another run; draw the maps again.`));
        else resolve(content);
      });
      document.head.append(script);
    });
  }

  // Fills the columns of a map when they are asked for, each once.
  polyscan.ColumnLoader = class {
    constructor(columns, run) {
      this.columns = columns;
      this.run = run;
      this.asked = new Map();
    }

    once(key, use) {
      if (!this.asked.has(key)) this.asked.set(key, request(key, this.run).then(use));
      return this.asked.get(key);
    }

    // Resolves when the columns of these names are there; at once, as null, where they are already.
    need(names) {
      const lacking = this.columns.filter((column) => names.includes(column.name) && !column.cells);
      if (!lacking.length) return null;
      return Promise.all(lacking.map((column) => this.once(`column-${this.columns.indexOf(column)}`, function (content) {
        Object.assign(column, content.column);
      })));
    }

    names() {
      return this.once("names", (content) => content.names);
    }
  };
})();
