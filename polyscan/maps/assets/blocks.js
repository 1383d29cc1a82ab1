// Units' data, 16 of one layer in a script of their own: asked for once, handed to whoever waits.
// The format stands in unit_data.py.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const BLOCK_UNITS = 16;
  const SCHEMA = 1;
  const AGAIN = "Draw the maps again: polyscan show RUN.";
  const asked = new Map();

  // Called by each data script; what it holds goes to whoever asked for that script.
  polyscan.deliver = function (block) {
    for (const entry of asked.values()) if (entry.script === document.currentScript) entry.take(block);
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
      const entry = { script: polyscan.element("script", { src: address }) };
      const file = address.slice(this.root.length);
      entry.promise = new Promise((resolve, reject) => {
        const refuse = (sentence) => reject(new Error(sentence));
        entry.take = (block) => {
          if (block.schema !== SCHEMA) refuse(`${file} was made by another version of polyscan than this page. ${AGAIN}`);
          else if (block.run !== this.index.run) refuse(`${file} is of another run than this page. ${AGAIN}`);
          else if (`${block.layer}/${block.block}` !== key) refuse(`${file} holds the data of other units. ${AGAIN}`);
          else resolve(block);
        };
        const missing = () => refuse(`${file} is missing or broken. Copy the whole folder, or draw the maps again: polyscan show RUN.`);
        entry.script.addEventListener("load", missing); // too late where it has delivered
        entry.script.addEventListener("error", missing);
      });
      document.head.append(entry.script);
      return entry;
    }
  };
})();
