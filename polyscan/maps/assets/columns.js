// Loads the columns and names that the front page does not contain from the start.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const contents = new Map(); // key -> content that a script delivered

  polyscan.deliverColumn = (content) => contents.set(`column-${content.place}`, content);
  polyscan.deliverNames = (content) => contents.set("names", content);

  function request(key, run) {
    return new Promise(function (resolve, reject) {
      const address = `data/${key}.js`;
      const missing = new Error(`${address} is missing or did not load: was the whole folder copied?`);
      const script = polyscan.element("script", { src: address });
      script.addEventListener("error", () => reject(missing));
      script.addEventListener("load", function () {
        const content = contents.get(key);
        if (!content) reject(missing);
        else if (content.run !== run) reject(new Error(`${address} belongs to another run; draw the maps again.`));
        else resolve(content);
      });
      document.head.append(script);
    });
  }

  // Loads the columns of a map when they are needed, each once.
  polyscan.ColumnLoader = class {
    constructor(columns, run) {
      this.columns = columns;
      this.run = run;
      this.requests = new Map();
    }

    once(key, use) {
      if (!this.requests.has(key)) this.requests.set(key, request(key, this.run).then(use));
      return this.requests.get(key);
    }

    // A promise for the columns of these names; null if all of them have been loaded.
    need(names) {
      const missing = this.columns.filter((column) => names.includes(column.name) && !column.cells);
      if (!missing.length) return null;
      return Promise.all(missing.map((column) => this.once(`column-${this.columns.indexOf(column)}`, function (content) {
        Object.assign(column, content.column);
      })));
    }

    names() {
      return this.once("names", (content) => content.names);
    }
  };
})();
