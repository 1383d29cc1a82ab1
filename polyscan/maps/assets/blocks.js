// Units' data, 64 of one layer in a script of their own: asked for once, handed to whoever waits.
// The format stands in unit_data.py.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const BLOCK_UNITS = 64;
  const SCHEMA = 1;
  const asked = new Map();

  polyscan.deliver = function (block) {
    const waiting = asked.get(block.layer + "/" + block.block);
    if (waiting) waiting.take(block);
  };

  // Blocks of the network that `index` describes (the content of #unit-index); `root` leads to the maps folder.
  polyscan.Blocks = class {
    constructor(index, root) {
      this.index = index;
      this.root = root;
      this.digits = Math.max(2, String(index.layers.length - 1).length);
    }

    address(layer, channel) {
      const folder = String(layer).padStart(this.digits, "0");
      return `${this.root}data/${folder}/${Math.floor(channel / BLOCK_UNITS)}.js`;
    }

    // The block that holds that channel of the layer with that place; rejected with a sentence where it can't be had.
    load(layer, channel) {
      const key = layer + "/" + Math.floor(channel / BLOCK_UNITS);
      if (!asked.has(key)) asked.set(key, this.request(key, this.address(layer, channel)));
      return asked.get(key).promise;
    }

    request(key, address) {
      const entry = {};
      entry.promise = new Promise((resolve, reject) => {
        const missing = `${address.slice(this.root.length)} is missing or did not load: was the whole folder copied?`;
        const script = polyscan.element("script", { src: address });
        entry.take = (block) => {
          if (block.schema !== SCHEMA) reject(new Error(`${address} is of another version of polyscan; draw it again.`));
          else if (block.run !== this.index.run) reject(new Error(`${address} is of another run; draw the maps again.`));
          else resolve(block);
        };
        script.addEventListener("load", () => reject(new Error(missing))); // too late where it has delivered
        script.addEventListener("error", () => reject(new Error(missing)));
        document.head.append(script);
      });
      return entry;
    }
  };
})();
